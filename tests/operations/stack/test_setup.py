"""scripts/setup on machines that lack things, and prompts on their way through make."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
JAVA = "#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n"


def _setup(tmp_path: Path, programs: dict[str, str], *more: str) -> "subprocess.CompletedProcess[str]":
    """Runs a copy of the script (beside no .venv) on a machine that has a shell, some basics and ``programs``."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "sed", "head", "id"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return subprocess.run(
        ["scripts/setup", "--only-check", *more],
        cwd=tmp_path,
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def _python(version: str = "") -> str:
    """This Python, or one that says it is another version."""
    return f'#!/bin/sh\necho "{version}"\n' if version else f'#!/bin/sh\nexec {sys.executable} "$@"\n'


def test_a_bare_machine_is_told_everything_in_one_sentence(tmp_path: Path) -> None:
    done = _setup(tmp_path, {})
    root = "" if os.geteuid() == 0 else "sudo "
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "OpenV needs what this machine lacks: Python 3.11 or newer, java (17 or newer), javac, mvn (Maven). "
        f"On Debian or Ubuntu this installs it: {root}apt-get update && {root}apt-get install -y "
        "python3-venv default-jdk-headless maven\n"
    )


def test_a_whole_machine_lacks_nothing(tmp_path: Path) -> None:
    whole = {"python3": _python(), "java": JAVA.format(version="21.0.4"), "javac": "", "mvn": ""}
    assert (_setup(tmp_path, whole).returncode, list(tmp_path.glob(".venv"))) == (0, [])


@pytest.mark.parametrize(
    ("changed", "complaint", "packages"),
    [
        ({"python3": _python("3.10")}, "Python 3.11 or newer (this is 3.10).", "python3.11-venv"),
        ({"python3": _python("3.13") + "exit 1\n"}, "Python's venv module.", "python3.13-venv"),
        ({"java": JAVA.format(version="11.0.2")}, "java 17 or newer (this is 11).", "default-jdk-headless"),
        ({"java": JAVA.format(version="1.8.0_402")}, "java 17 or newer (this is 1).", "default-jdk-headless"),
        (
            {"java": JAVA.format(version="11.0.2"), "apt-cache": "#!/bin/sh\n"},
            "(this is 11).",
            "openjdk-17-jdk-headless",
        ),
        ({"mvn": None}, "mvn (Maven).", "maven"),
        ({"javac": None}, "javac.", "default-jdk-headless"),
    ],
)
def test_one_missing_thing_is_named_with_its_package(
    tmp_path: Path, changed: dict[str, str | None], complaint: str, packages: str
) -> None:
    whole = {"python3": _python(), "java": JAVA.format(version="17.0.1"), "javac": "", "mvn": "", **changed}
    done = _setup(tmp_path, {name: text for name, text in whole.items() if text is not None})
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.endswith(f"apt-get install -y {packages}\n")


WHOLE = {"python3": _python(), "java": JAVA.format(version="21.0.4"), "javac": "", "mvn": ""}
NODE = "#!/bin/sh\necho v{version}\n"
JAVASCRIPT = {"node": NODE.format(version="18.20.4"), "npm": ""}


@pytest.mark.parametrize("browser", ["chromium", "chromium-browser", "google-chrome"])
def test_tests_need_a_browser_too_whatever_it_is_called(tmp_path: Path, browser: str) -> None:
    done = _setup(tmp_path, {**WHOLE, **JAVASCRIPT, browser: ""}, "--tests")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("known", "package"),
    [(None, "chromium"), ("chromium", "chromium"), ("chromium-browser", "chromium-browser")],
)
def test_a_missing_browser_is_named_with_the_package_that_there_is(
    tmp_path: Path, known: str | None, package: str
) -> None:
    apt = {"apt-cache": f'#!/bin/sh\n[ "$2" = {known} ]\n'} if known else {}
    done = _setup(tmp_path, {**WHOLE, **JAVASCRIPT, **apt}, "--tests")
    assert done.returncode == 1
    assert "lacks: Chromium (the tests open the page in it)." in done.stderr
    assert done.stderr.endswith(f"apt-get install -y {package}\n")


@pytest.mark.parametrize(
    ("there", "complaint", "packages"),
    [
        ({}, "node (18 or newer), npm.", "nodejs npm"),
        ({"npm": ""}, "node (18 or newer).", "nodejs"),
        ({"node": NODE.format(version="20.20.2")}, "npm.", "npm"),
        ({"node": NODE.format(version="12.22.9"), "npm": ""}, "node 18 or newer (this is 12).", "nodejs"),
        ({"node": "#!/bin/sh\nexit 1\n", "npm": ""}, "node (18 or newer).", "nodejs"),
    ],
)
def test_tests_need_javascript_too(tmp_path: Path, there: dict[str, str], complaint: str, packages: str) -> None:
    done = _setup(tmp_path, {**WHOLE, "chromium": "", **there}, "--tests")
    assert done.returncode == 1
    assert f"lacks: {complaint} On Debian" in done.stderr
    assert done.stderr.endswith(f"apt-get install -y {packages}\n")


def test_who_runs_no_tests_needs_neither_browser_nor_javascript(tmp_path: Path) -> None:
    assert _setup(tmp_path, WHOLE).returncode == 0


def test_an_option_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    done = _setup(tmp_path, WHOLE, "--test")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--test" in done.stderr


@pytest.mark.parametrize(
    "prompt",
    [
        "a corgi surfing",
        'it\'s "quoted"',
        "$5 and $(shell id) and $HOME",
        "`id` & ; | < > # \\ ! %",
        "-o file",
        "two\nlines",
    ],
)
@pytest.mark.parametrize("as_argument", [True, False])
def test_make_hands_a_prompt_over_as_it_was_typed(tmp_path: Path, prompt: str, as_argument: bool) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name, text in (("scripts/setup", ""), (".venv/bin/openv", 'printf "%s\\n" "$#" "$@"\n')):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n" + text)
        program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], **({} if as_argument else {"PROMPT": prompt})}
    argv = ["make", "run", *([f"PROMPT={prompt}"] if as_argument else [])]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"2\nup\n--prompt={prompt}\n"
