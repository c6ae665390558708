"""How every command shows rows: one way, whatever is between it and its reader.

On a terminal a table that fits: words are folded at blanks or go below their row, columns of less importance are left
out and named, and where not even the important ones fit, each row is a block. Elsewhere a line a row, with everything
in it, however long it gets. Nothing is ever cut, and no cell can steer the terminal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.core.columns import GAP, Column, Layout, layout
from operations.core.printable import printable
from repo.clock import now_ms
from schemas.instants import to_iso

NOTHING = "–"  # of a cell, where a line's words are counted

OURS = "dev.openv."
_WORD = re.compile(r"\s*\S+")  # with the blanks before it


@dataclass(frozen=True, slots=True)
class Brief:
    """A cell that has a short form, for terminals where the long one does not fit."""

    whole: str
    short: str


Cell = str | Brief
Lines = str | tuple[str, ...]


def print_rows(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    title: str = "",
    none: str = "There are none.",
) -> None:
    """The rows, in their order. ``title``: what they are, where there are several tables. ``none``: what is said, to
    stderr, where there are no rows: whoever reads the answer then reads nothing."""
    if not rows:
        _titled(console, title)
        note(none)
        return
    whole = [tuple(printable(cell.whole if isinstance(cell, Brief) else cell) for cell in row) for row in rows]
    _titled(console, title)
    if is_plain(console):
        _lines(console, columns, whole)
        return
    brief = [tuple(printable(cell.short if isinstance(cell, Brief) else cell) for cell in row) for row in rows]
    fits = layout(columns, _widths(columns, whole), _widths(columns, brief), console.width, _longest(columns, brief))
    if fits is None:
        _blocks(console, columns, whole)
        return
    _table(console, columns, brief if fits.brief else whole, fits)
    if fits.left_out:
        named = ", ".join(fits.left_out)
        note(f"Left out, for want of width: {named}. --json has all; so have a pipe and a wider terminal.")


def print_about(console: Console, about: Mapping[str, Lines], title: str = "") -> None:
    """One thing: its members by name, several lines of one below each other. Lines are folded between words; a word
    that is longer than the terminal is wide goes on in the next line by itself, and is copied whole."""
    _titled(console, title)
    width = max((cell_len(name) for name in about), default=0)
    for name, said in about.items():
        first = name
        for line in (said,) if isinstance(said, str) else said:
            print_beside(console, Text(_padded(first, width + GAP), "bold"), line)
            first = ""


def print_beside(console: Console, lead: Text, words: str, style: str = "") -> None:
    """Words beside what leads them, which holds its own blanks; folded as in ``print_about``."""
    text, room = printable(words), console.width - lead.cell_len
    folded = [text] if is_plain(console) or room < 1 else _folded(text, room)
    for number, line in enumerate(folded):
        shown = Text.assemble(Text(" " * lead.cell_len) if number else lead, (line, style))
        shown.rstrip()
        console.print(shown, soft_wrap=True)


def print_line(console: Console, words: str) -> None:
    """A sentence of the answer."""
    _whole(console, printable(words))


def is_plain(console: Console) -> bool:
    """Whether it is no terminal, or one that can do no more than print."""
    return not console.is_terminal or console.is_dumb_terminal


def note(words: str) -> None:
    """About the answer, not of it: to stderr, so that whoever reads the answer does not read this."""
    typer.echo(printable(words), err=True)


def when(at: int, now: int | None = None) -> Brief:
    """A moment (ms): as in JSON, or how long ago it was."""
    return Brief(to_iso(at), f"{age(at, now_ms() if now is None else now)} ago")


def brief_type(name: str) -> Brief:
    """A CloudEvents type; in short without what all of ours begin with: filters find it by a part."""
    return Brief(name, name.removeprefix(OURS))


def age(at: int, now: int) -> str:
    """How long ago, in one unit: ``40s``, ``5m``, ``3h``, ``12d``."""
    seconds = max(0, now - at) // 1000
    for unit, letter, most in ((1, "s", 120), (60, "m", 7_200), (3_600, "h", 172_800)):
        if seconds < most:
            return f"{seconds // unit}{letter}"
    return f"{seconds // 86_400}d"


def _titled(console: Console, title: str) -> None:
    if title:
        console.print(Text(printable(title), style="bold"), soft_wrap=True)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max((cell_len(row[at]) for row in rows), default=0) for at in range(len(columns))]


def _longest(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max((cell_len(word) for row in rows for word in row[at].split()), default=0) for at in range(len(columns))]


def _table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], fits: Layout) -> None:
    if not fits.below:
        console.print(_grid(columns, rows, fits, head=True))
        return
    for number, row in enumerate(rows):
        console.print(_grid(columns, [row], fits, head=not number))
        for at in fits.below:
            if row[at]:
                print_beside(console, Text(f"{' ' * GAP}{columns[at].name}: ", "bold"), row[at])


def _grid(columns: Sequence[Column], rows: Sequence[Sequence[str]], fits: Layout, *, head: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_header=head)
    for at, width in zip(fits.shown, fits.widths, strict=True):
        column = columns[at]
        table.add_column(
            column.name, width=width, overflow="fold", no_wrap=not column.folds,
            justify="right" if column.right else "left",
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(row[at]) for at in fits.shown))
    return table


def _lines(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    lines = [tuple(column.name for column in columns), *(tuple(cell or NOTHING for cell in row) for row in rows)]
    widths = _widths(columns, lines)
    for line in lines:
        cells = (
            _padded(cell, width, right=column.right) for cell, width, column in zip(line, widths, columns, strict=True)
        )
        _whole(console, (" " * GAP).join(cells).rstrip())


def _blocks(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    for number, row in enumerate(rows):
        if number:
            console.print()
        for column, cell in zip(columns, row, strict=True):
            if cell:
                _whole(console, f"{column.name}: {cell}")


def _whole(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def _padded(text: str, width: int, *, right: bool = False) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def _folded(text: str, width: int) -> list[str]:
    """Between words alone: a word that is wider has a line of its own, which the terminal goes on with."""
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1].strip() and cell_len(lines[-1] + word) > width:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return lines
