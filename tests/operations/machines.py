"""Bad machines for the real command: small disks, folders of others, and what `openv` says of them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "S3_ENDPOINT_URL", "OPENV_URL", "OPENV_API_KEY")
# Root without root's privileges: what belongs to others is closed to it, as it is to any user.
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    def is_one_sentence(self, *words: str) -> bool:
        """Exit code 1, one line on stderr that begins with ``openv:`` and has all the words."""
        assert self.code == 1, self
        assert self.err.startswith("openv: "), self
        assert self.err.count("\n") == 1, self
        assert all(word in self.err for word in words), self
        return True


def environment(**changes: str) -> dict[str, str]:
    """This process's, without servers of others."""
    return {name: value for name, value in os.environ.items() if name not in ELSEWHERE} | changes


def openv(*arguments: str | Path, by: tuple[str, ...] = (), **environ: str) -> Said:
    """Run ``openv`` to its end; ``by``: a program to run it through."""
    argv = [*by, sys.executable, "-m", "operations", *(str(argument) for argument in arguments)]
    done = subprocess.run(
        argv, cwd=ROOT, env=environment(**environ), capture_output=True, text=True, timeout=120, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own at ``folder``. Skips the test where this process may not mount any."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)]
    try:
        refused = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    except OSError as error:
        refused = str(error)
    if not folder.is_mount():
        pytest.skip(f"needs a disk of its own; root may mount one, or `unshare -rm make test`: {refused.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all that is free of a disk with one file; delete it to free the disk again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast
