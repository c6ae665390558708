"""Makes .venv as requirements/ says, then prepares the embedded servers: the second half of scripts/setup.

Standard library only; it runs before anything is installed. A stamp in .venv says for which locks, Python and GPU it
was made. Two at once wait for each other; one that was killed half-way is made again from the start.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
LOCKS = ROOT / "requirements"
STAMP = VENV / ".openv-stamp"
UNDER_WAY = VENV / ".openv-under-way"


class SetupError(Exception):
    """A sentence for a person."""


def main() -> None:
    gpu = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if is_current(gpu):
        return
    with one_at_a_time():
        if is_current(gpu):
            return
        STAMP.unlink(missing_ok=True)
        make_venv()
        UNDER_WAY.touch()  # deleted again when all is in place: one that is still there at the next start means trouble
        install(gpu)
        UNDER_WAY.unlink()
        prepare_servers()
        STAMP.write_text(stamp(gpu))
    say("Ready.")


def stamp(gpu: bool) -> str:
    """What .venv was made from. pyproject.toml counts because it names the packages and commands of this checkout."""
    digest = hashlib.sha256()
    locks = sorted(set(LOCKS.glob("*.txt")) - {LOCKS / "sdks.txt"})  # sdks.py makes another environment of that one
    for source in (*locks, ROOT / "pyproject.toml", Path(__file__)):
        digest.update(source.read_bytes())
    return f"{digest.hexdigest()} {python_version()} {ROOT} {'gpu' if gpu else 'cpu'}\n"


def python_version(venv: Path = VENV) -> str:
    """The version that ``venv`` says it was made with; reading it is faster than asking."""
    try:
        lines = (venv / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition("=")[2].strip() for line in lines if line.startswith("version")), "")


def is_current(gpu: bool) -> bool:
    try:
        return PYTHON.exists() and STAMP.read_text() == stamp(gpu)
    except OSError:
        return False


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    handle = os.open(LOCKS, os.O_RDONLY)  # a lock on the folder itself leaves no file behind
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up of this checkout is at work; waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make_venv() -> None:
    """A .venv whose Python runs and has pip and the pinned uv."""
    works = not UNDER_WAY.exists() and quietly(
        str(PYTHON), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    )
    if not works:
        say("Making .venv.")
        # Not with the Python of the .venv that is about to be deleted.
        base = os.path.realpath(sys.executable) if Path(sys.prefix) == VENV else sys.executable
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir(exist_ok=True)
        UNDER_WAY.touch()
        run("Could not make .venv", base, "-m", "venv", str(VENV))
    if not quietly(str(UV), "--version") or installed_version("uv") != pinned("uv"):
        say(f"Fetching uv {pinned('uv')} (about 25 MB).")
        pip = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run("Could not fetch uv", *pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS / "uv.txt"))


def install(gpu: bool) -> None:
    say("Fetching the Python packages that this machine does not have yet (about 250 MB in all).")
    locked("packages.txt")
    install_torch(gpu)
    # Makes the checkout importable and writes .venv/bin/openv. setuptools comes from the lock: no network is needed.
    uv_install("--no-deps", "--no-build-isolation", "--offline", "--editable", str(ROOT))


def install_torch(gpu: bool) -> None:
    """torch for this machine: on Linux the default build brings CUDA along, which a machine without a GPU can't use."""
    wanted = pinned("torch")
    name = f"torch {wanted}"
    present = installed_version("torch")
    if present == wanted or (present == f"{wanted}+cpu" and not gpu):
        return
    again = ("--reinstall-package", "torch") if present.startswith(wanted) else ()
    if sys.platform != "linux":
        say(f"Fetching {name} (about 90 MB).")
    elif not gpu and cpu_build_in_reach(wanted):
        say(f"Fetching {name} in its build without CUDA (about 200 MB): there is no NVIDIA GPU here.")
        uv_install("--no-deps", "--torch-backend=cpu", f"torch=={wanted}", *again)
        return
    else:
        why = "for the NVIDIA GPU" if gpu else "because its smaller build can't be reached from here"
        say(f"Fetching {name} with CUDA (about 3 GB, 5.5 GB on the disk), {why}.")
    locked("torch.txt", *again)


def cpu_build_in_reach(wanted: str) -> bool:
    """Asks only for the index; a machine that can't reach it shall learn so within seconds."""
    hasty = {**os.environ, "UV_HTTP_TIMEOUT": "10", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"}
    ask = (str(UV), "pip", "install", "--quiet", "--python", str(PYTHON), "--dry-run", "--no-deps", "--reinstall")
    return quietly(*ask, "--torch-backend=cpu", f"torch=={wanted}", env=hasty)


def pinned(package: str) -> str:
    """The version that the lock of the same name pins."""
    lines = (LOCKS / f"{package}.txt").read_text().splitlines()
    return next(line.split()[0].partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def installed_version(package: str) -> str:
    """The version of a package in .venv, from the name of its metadata folder; empty if there is none."""
    for folder in VENV.glob(f"lib/python3*/site-packages/{package}-*.dist-info"):
        return folder.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return ""


def prepare_servers() -> None:
    run("The embedded servers could not be prepared", str(PYTHON), "-m", "operations.stack")


def locked(lock: str, *more: str) -> None:
    # --no-deps: the lock is complete, and with one half of it the resolver would miss the other.
    uv_install("--no-deps", "--require-hashes", "-r", str(LOCKS / lock), *more)


def uv_install(*arguments: str) -> None:
    quiet = () if sys.stderr.isatty() else ("--quiet",)
    run("The packages could not be installed", str(UV), "pip", "install", *quiet, "--python", str(PYTHON), *arguments)


def run(failed: str, *argv: str, again: str = "make setup") -> None:
    try:
        code = subprocess.run(argv, cwd=ROOT, check=False).returncode
    except OSError as error:
        raise SetupError(f"{failed}: {argv[0]}: {error.strerror}.") from error
    if code != 0:
        raise SetupError(f"{failed} (see above). Run `{again}` again when that is mended; what was fetched is kept.")


def quietly(*argv: str, env: "dict[str, str] | None" = None) -> bool:
    try:
        done = subprocess.run(
            argv, env=env, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return done.returncode == 0


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program for a terminal


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"The set-up can't go on: {error}.")
    except KeyboardInterrupt:
        sys.exit(130)
