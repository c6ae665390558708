"""Makes .sdks: other services' own SDKs, unmodified, which the tests run against OpenV in processes of their own.

.sdks/python is an environment with the Python that .venv has and the packages of requirements/sdks.txt, kept apart
because they want other versions than ours. .sdks/node_modules is what tests/sdks/package-lock.json says. A stamp says
what both were made of; when that has changed, or the last time was cut short, all is made anew.

Run by .venv's Python, after scripts/setup.
"""

import hashlib
import shutil
import sys
from pathlib import Path

from environment import LOCKS, PYTHON, ROOT, UV, SetupError, one_at_a_time, python_version, run, say

SDKS = ROOT / ".sdks"
VENV = SDKS / "python"
STAMP = SDKS / ".openv-stamp"
NPM_FILES = (ROOT / "tests" / "sdks" / "package.json", ROOT / "tests" / "sdks" / "package-lock.json")


def main() -> None:
    if is_current():
        return
    with one_at_a_time():
        if is_current():
            return
        shutil.rmtree(SDKS, ignore_errors=True)
        SDKS.mkdir(exist_ok=True)
        say("Fetching the SDKs of RunPod and OpenAI that the tests run (about 50 MB).")
        install_python()
        install_javascript()
        STAMP.write_text(stamp())


def stamp() -> str:
    digest = hashlib.sha256()
    for source in (LOCKS / "sdks.txt", *NPM_FILES, Path(__file__)):
        digest.update(source.read_bytes())
    return f"{digest.hexdigest()} {python_version()} {ROOT}\n"


def is_current() -> bool:
    try:
        return (VENV / "bin" / "python").exists() and STAMP.read_text() == stamp()
    except OSError:
        return False


def install_python() -> None:
    fetch("Python", str(PYTHON), "-m", "venv", "--without-pip", str(VENV))
    # Seen from this checkout, uv would put the versions that pyproject.toml overrides for ours in the lock's place.
    install = (str(UV), "--directory", "/", "pip", "install", "--quiet", "--python", str(VENV / "bin" / "python"))
    fetch("Python", *install, "--no-deps", "--require-hashes", "-r", str(LOCKS / "sdks.txt"))


def install_javascript() -> None:
    if shutil.which("npm") is None:
        raise SetupError("The JavaScript SDKs need npm: `scripts/setup --tests --only-check` says what brings it.")
    for source in NPM_FILES:
        shutil.copy(source, SDKS)
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    # No package of these needs a script of its own to be run at installation.
    fetch("JavaScript", "npm", "ci", "--prefix", str(SDKS), "--ignore-scripts", *quiet)


def fetch(language: str, *argv: str) -> None:
    run(f"The {language} SDKs could not be installed", *argv, again="make sdks")


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"The SDKs can't be installed: {error}.")
    except KeyboardInterrupt:
        sys.exit(130)
