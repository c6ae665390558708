"""How commands end: interrupted in one line, with nobody to ask, into a pipe that is closed."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from operations import cli, entry, running
from operations.cli import app
from operations.stack.errors import StackError
from repo.ports import Unavailable


def ended(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(cli, "app", work)
    with pytest.raises(SystemExit) as left:
        entry.main()
    return left.value.code


def test_a_server_that_is_away_is_told_with_both_places_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    async def asks() -> None:
        raise Unavailable("mongodb", "ServerSelectionTimeoutError")

    with pytest.raises(typer.Exit) as left:
        running.run(asks())
    assert left.value.exit_code == 1
    said = capsys.readouterr().err
    assert "MONGODB_URI" in said
    assert "`openv status`" in said


@pytest.mark.parametrize("while_it", ["runs", "begins"])
def test_an_interrupt_is_one_line(
    while_it: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    def runs() -> None:
        with pytest.raises(typer.Exit) as left:
            running.run(interrupted())
        sys.exit(left.value.exit_code)

    def begins() -> None:
        raise KeyboardInterrupt

    assert ended(runs if while_it == "runs" else begins, monkeypatch) == entry.INTERRUPTED
    assert capsys.readouterr() == ("", "openv: interrupted.\n")


def test_a_refusal_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        raise StackError("Say which.")

    assert ended(refused, monkeypatch) == 1
    assert capsys.readouterr() == ("", "openv: Say which.\n")


@pytest.mark.parametrize("module", ["operations", "operations.closed"])
def test_into_a_closed_pipe_nothing_is_said(module: str) -> None:
    program = [sys.executable, "-m", "operations", "topics", "acls"]
    if module != "operations":  # a table, as lists print it
        words = "from operations.tables import *; print_rows(Console(), (Column('a'),), [('x' * 99,)] * 2000)"
        program = [sys.executable, "-c", words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written: the program is still loading
        said = process.stderr.read().decode()
        assert process.wait(60) == 1
    assert said == ""


@pytest.mark.parametrize(
    "words",
    [
        ("users", "delete", "bob"),
        ("jobs", "delete", "j-1"),
        ("restore", "none.gz", "--replace"),
    ],
)
def test_where_nobody_can_be_asked_it_is_said_how_to_do_without(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--data-dir", "nowhere"], input="")
    assert result.exit_code == 1
    assert "say --yes" in result.stderr
    assert "nothing was done" in result.stderr
    assert result.stdout == "", "a question is no answer"
    assert CliRunner().invoke(app, [*words, "--data-dir", "nowhere"], input="n\n").exit_code == 1
