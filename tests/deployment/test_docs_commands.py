"""Every command line that the documents quote is one that `openv` takes: the commands exist, and so do the options.

Looked at: README.md and docs/, in `code` and in blocks. `…` stands for something left out, words in capitals for the
reader's own, `a|b` for either.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from operations.cli import app

ROOT = Path(__file__).parents[2]
FILES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_ENDS = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1"}
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")
_PLACEHOLDER = re.compile(r"…|\.\.\.|\[.*|.*\]")
CONTAINER = ("docker", "compose", "run", "--rm", "gateway")  # its entry point is `openv`


@dataclass(frozen=True)
class Line:
    """One command line, and where it stands."""

    where: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: openv {' '.join(self.words)}"


def lines_of(file: Path) -> Iterator[Line]:
    """The command lines of one document, without `openv` itself."""
    text = file.read_text()
    name = str(file.relative_to(ROOT))
    for block in _BLOCK.finditer(text):
        for raw in re.sub(r"\\\n\s*", " ", block[2]).splitlines():
            yield from _commands(raw.strip().removeprefix("$ "), name)
    for quoted in _INLINE.finditer(_BLOCK.sub("", text)):
        yield from _commands(quoted[1].replace("\n", " "), name)


def _commands(text: str, where: str) -> Iterator[Line]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # an apostrophe: prose, or another language
        return
    for part in _parts(words):
        command = list(dropwhile(_ASSIGNED.fullmatch, part))
        if tuple(command[: len(CONTAINER)]) == CONTAINER:
            command[: len(CONTAINER)] = ["openv"]
        if len(command) > 1 and command[0] == "openv":
            for choice in command[1].split("|"):
                yield Line(where, (choice, *command[2:]))


def _parts(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in _ENDS or word.endswith(";"):
            yield [*part, *([word[:-1]] if word not in _ENDS else [])]
            part = []
        else:
            part.append(word)
    yield part


def wrong_with(line: Line) -> str | None:
    """What `openv` would say of it, or None."""
    command: Any = get_command(app)
    rest = list(line.words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if _PLACEHOLDER.fullmatch(rest[0]):
            return None
        word = rest.pop(0)
        if word not in command.commands:
            return f"there is no `{word}`"
        command = command.commands[word]
    options = {"--help"}
    options |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        name = word.strip("[]").partition("=")[0]
        if name.startswith("--") and name != "--" and name not in options:
            return f"there is no option {name}"
    if hasattr(command, "commands") or "--help" in rest or any(_PLACEHOLDER.fullmatch(word) for word in rest):
        return None
    # A command or an option that is only named need not have its arguments.
    return _parsed(command, rest) if rest and not (len(rest) == 1 and rest[0] in options) else None


def _parsed(command: Any, rest: list[str]) -> str | None:
    """The whole line, as it would be parsed."""
    try:
        command.make_context(command.name, [*rest])
    except Exception as error:  # noqa: BLE001 -- whatever it says is what a reader would be told
        return error.format_message() if hasattr(error, "format_message") else str(error)
    return None


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_quoted_commands_exist(file: Path) -> None:
    wrong = {str(line): why for line in lines_of(file) if (why := wrong_with(line)) is not None}
    assert wrong == {}


def test_there_are_some() -> None:
    """Or the documents are read wrongly."""
    assert len([line for file in FILES for line in lines_of(file)]) > 20


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("`openv nothing`", "there is no `nothing`"),
        ("`openv jobs nothing`", "there is no `nothing`"),
        ("`openv jobs|nothing show …`", "there is no `nothing`"),
        ("`openv backup --colour red FILE`", "there is no option --colour"),
        ("```\nA=1 openv keys create --name x | sh\n```", "'--user'"),
        ("```\n$ true && openv topics apply \\\n    --loudly\n```", "there is no option --loudly"),
        ("`docker compose run --rm gateway keys forge`", "there is no `forge`"),
    ],
)
def test_a_wrong_one_is_found(text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "a.md").write_text(f"Before. {text} After.\n" if text[1] != "`" else f"{text}\n")
    found = [wrong_with(line) for line in lines_of(tmp_path / "a.md")]
    assert any(why in (one or "") for one in found), found


@pytest.mark.parametrize(
    "text",
    [
        "`openv`",
        "`openv …`",
        "`openv up`",
        "`openv jobs show …`",
        "`openv jobs show JOB`",
        "it's `openv.events`",
        "`openv jobs`",
    ],
)
def test_a_right_one_is_not(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "a.md").write_text(text)
    assert [wrong_with(line) for line in lines_of(tmp_path / "a.md") if wrong_with(line)] == []
