"""What runs in a second process is reported as if it had run here; what does not tell has failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.streams.streams_process import REPOSITORY

CONFTEST = """
from tests import beside

def pytest_configure(config):
    config.addinivalue_line("markers", beside.WORDS)
    config.pluginmanager.register(beside.Beside())
"""
HERE = """
import os, pathlib

def test_here(request):
    (request.config.rootpath / "here").write_text(str(os.getppid()))
"""
THERE = """
import os, pytest

pytestmark = pytest.mark.beside

@pytest.fixture
def broken():
    raise LookupError("no such stage")

@pytest.mark.parametrize("number", [1, 2])
def test_there(request, number):
    (request.config.rootpath / f"there-{number}").write_text(str(os.getppid()))

def test_fails():
    assert "what it is" == "what it should be"

def test_is_skipped():
    pytest.skip("not today")

def test_is_not_set_up(broken):
    pass

def test_dies():
    os._exit(3)

def test_has_no_turn():
    pass
"""


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """The tests of somebody else."""
    for name, text in (("pytest.ini", "[pytest]\n"), ("conftest.py", CONFTEST), ("test_here.py", HERE)):
        (tmp_path / name).write_text(text)
    (tmp_path / "test_a_there.py").write_text(THERE)
    return tmp_path


def run(tests: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of pytest on them."""
    argv = [sys.executable, "-m", "pytest", "-c", str(tests / "pytest.ini"), "--rootdir", str(tests), str(tests)]
    environ = {
        **os.environ,
        "PYTEST_ADDOPTS": "--import-mode=importlib -p no:cacheprovider -p no:asyncio -ra",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [*argv, *arguments], cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_each_is_reported_as_it_ended_there(tests: Path) -> None:
    code, said = run(tests)
    assert code == 1, said
    assert "3 failed, 3 passed, 1 skipped, 1 error" in said
    for words in (
        "test_a_there.py::test_fails - AssertionError: assert 'what it is' == 'what it should be'",
        "test_a_there.py::test_is_not_set_up - LookupError: no such stage",
        "test_a_there.py::test_dies",
        "test_a_there.py::test_has_no_turn",
        "The process beside this one ended",
        "not today",
    ):
        assert words in said
    there = {(tests / f"there-{number}").read_text() for number in (1, 2)}
    assert len(there) == 1
    assert there != {(tests / "here").read_text()} == {str(os.getpid())}


def test_where_nothing_else_was_asked_for_they_run_here(tests: Path) -> None:
    code, said = run(tests, "-k", "test_there")
    assert code == 0, said
    assert "2 passed" in said
    assert (tests / "there-1").read_text() == str(os.getpid())


def test_the_first_failure_may_end_it_all(tests: Path) -> None:
    code, said = run(tests, "-x", "-k", "not dies")
    assert code != 0
    assert "stopping after 1 failures" in said
    assert "test_has_no_turn" not in said
