"""Which columns of a table are shown where there are so many terminal columns, and how wide each is. Pure.

Nothing that is shown is cut: a column is shown whole, or folded between words, or on lines of its own below each row,
or left out, and then it is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

GAP = 2  # blanks between two columns
UNBROKEN = 40  # ids, times, and a comma: no column is so narrow that it breaks a word of up to so many characters


@dataclass(frozen=True, slots=True)
class Column:
    """``rank``: 0 is always shown, the higher the sooner it is left out. ``folds``: down to how many terminal columns
    its words may be folded; 0: never, because people copy what is in it. ``right``: numbers. ``below``: where it finds
    no room beside the others, it has lines of its own below each row instead of being left out."""

    name: str
    rank: int = 0
    folds: int = 0
    right: bool = False
    below: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """``shown``: which columns, in order, and ``widths`` of them; ``brief``: cells are given in their short form.
    ``left_out``: names of those that hold something and are not shown; ``below``: which go below each row, in order."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    brief: bool = False
    left_out: tuple[str, ...] = ()
    below: tuple[int, ...] = ()


def layout(
    columns: Sequence[Column], whole: Sequence[int], brief: Sequence[int], width: int, longest: Sequence[int] = ()
) -> Layout | None:
    """``whole`` and ``brief``: how wide the widest cell of each column is, in its long and in its short form; 0: all
    are empty. ``longest``: how wide each column's longest word is; without, words may be broken. None: not even those
    of rank 0 fit, so that there is no table."""
    every = tuple(range(len(columns)))
    widths = [max(size, len(column.name)) for column, size in zip(columns, whole, strict=True)]
    if _total(widths) <= width:
        return Layout(every, tuple(widths))
    holding = [at for at in every if whole[at]]
    short = {at: max(brief[at], len(columns[at].name)) for at in holding}
    unbroken = [min(size, UNBROKEN) for size in longest] or [0] * len(columns)
    least = {
        at: min(size, max(columns[at].folds or size, len(columns[at].name), unbroken[at])) for at, size in short.items()
    }
    kept: list[int] = []
    for at in sorted(holding, key=lambda one: (columns[one].rank, one)):
        if _total([*(least[one] for one in kept), least[at]]) <= width:
            kept.append(at)
        elif not columns[at].rank and not columns[at].below:
            return None
    spare = width - _total([least[at] for at in kept])
    for at in kept:
        more = min(spare, short[at] - least[at])
        least[at] += more
        spare -= more
    shown = tuple(sorted(kept))
    below = tuple(at for at in holding if at not in kept and columns[at].below)
    left_out = tuple(columns[at].name for at in holding if at not in kept and at not in below)
    return Layout(shown, tuple(least[at] for at in shown), brief=True, left_out=left_out, below=below)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(0, len(widths) - 1)
