"""What is shown to be typed can be typed: every example of a command's help, and every command in the documents."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from operations.cli import app

ROOT = Path(__file__).parents[2]
GROUP = typer.main.get_command(app)
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_COMMAND = re.compile(r"\s*([A-Z_0-9]+=\S+ )*openv [a-z]")
_QUOTED = re.compile(r"`((?:[A-Z_0-9]+=\S+ )*openv [a-z](?:[^`\n]|\n(?!\n))*)`")
_ENDS = ("|", "&&", "||", ";", ">", ">>", "<", "2>", "#", "&")
_SYNOPSIS = re.compile(r"\[| \| |…$")
_NAMED_ONLY = ("MissingParameter", "BadOptionUsage")  # what it is called, without what it would be given
# Stand for what somebody has to fill in: of the kind that is asked for there.
_STANDS_FOR = {
    "JOB": "0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55", "ID": "0:17", "…": "x", "r-…": "r-k3m8x2pq", "NAME": "upscale",
    "FILE": "/backups/openv.gz", "USER": "alice", "KEY": "ov_Ab3x", "WORKER": "gpu-3", "ENDPOINT": "upscale",
}  # fmt: skip


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))  # type: ignore[arg-type]
        else:
            yield (*path, name), command


def words_of(line: str) -> list[str]:
    """Of a shell's line, what ``openv`` is given: up to where another command or a file begins."""
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "x", " ".join(line.split())), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = list(lexer)
    begin = next(at for at, word in enumerate(words) if word == "openv") + 1
    end = next((at for at, word in enumerate(words) if at >= begin and word in _ENDS), len(words))
    return [_STANDS_FOR.get(word, word) for word in words[begin:end]]


def parsed(line: str, *, mentioned: bool = False) -> None:
    """As it would be at a terminal, up to where the command begins: raises what it would say. ``mentioned``: it may be
    the name of a group."""
    at, words = GROUP, words_of(line)
    context = click.Context(at, info_name="openv")
    while hasattr(at, "commands"):
        if mentioned and not words:
            return
        assert words, line
        assert words[0] in at.commands, f"there is no {words[0]}: {line}"
        at = at.commands[words.pop(0)]
        context = typer.Context(at, parent=context)
    at.make_context(at.name, words, parent=context)


REFUSALS = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
COMMANDS = dict(leaves(GROUP))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_example_is_one(path: tuple[str, ...]) -> None:
    _, _, examples = (COMMANDS[path].help or "").partition("Example: ")
    quoted = _QUOTED.findall(examples)
    assert any(f"openv {' '.join(path)}" in one for one in quoted)
    for one in quoted:
        parsed(one)


def lines_of(text: str) -> Iterator[str]:
    """Of shell blocks, fenced or indented, those that begin with the command."""
    fenced = re.findall(r"```(?:sh|bash|shell|console)\n(.*?)```", text, re.DOTALL)
    indented = re.findall(r"(?:^    \S.*\n?)+", text, re.MULTILINE)
    for block in (*fenced, *indented):
        for line in block.replace("\\\n", " ").splitlines():
            if _COMMAND.match(line):
                yield line


def mentions_of(text: str) -> Iterator[str]:
    """What is quoted within sentences: what it is called, or a whole command; no synopsis."""
    prose = re.sub(r"^    .*$", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    yield from (one for one in _QUOTED.findall(prose) if not _SYNOPSIS.search(one))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_documents_tell_to_type_can_be_typed(document: Path) -> None:
    text = document.read_text()
    for line in lines_of(text):
        parsed(line)
    for line in mentions_of(text):
        said = refusal(line)
        assert said is None or type(said).__name__ in _NAMED_ONLY, (line, said)


def refusal(line: str) -> click.ClickException | None:
    try:
        parsed(line, mentioned=True)
    except REFUSALS as error:
        return error
    return None
