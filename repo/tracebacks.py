"""An exception as lines of a log: where it came from and of which type, without its words, which may quote a prompt."""

import traceback
from types import TracebackType
from typing import TextIO

Raised = tuple[type[BaseException], BaseException, TracebackType | None]
# Of the interpreter itself: names of code and of files, nothing that passes through.
TELLING = (AttributeError, ArithmeticError, ImportError, MemoryError, NameError, OSError, RecursionError, TypeError)
DEPTH = 6  # causes of causes, and groups in groups


def told(exc_info: Raised) -> str:
    """The traceback, with those of its causes and parts."""
    return "\n".join(_lines(exc_info[1], DEPTH))


def print_told(out: TextIO, exc_info: Raised) -> None:
    """As ``told``, onto a terminal's lines."""
    out.write(f"\n{told(exc_info)}")


def _lines(error: BaseException, depth: int) -> list[str]:
    if not depth:
        return ["…"]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [*_lines(cause, depth - 1), "", "and from there:", ""] if cause is not None else []
    lines.append("Traceback (most recent call last):")
    lines += "".join(traceback.format_tb(error.__traceback__)).splitlines()
    lines.append(named(error))
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions[:DEPTH]:
            lines += [f"  | {line}" for line in _lines(part, depth - 1)]
    return lines


def named(error: BaseException) -> str:
    """Its type; with its words where they can name nothing but code and files."""
    kind = type(error)
    is_plain = kind.__module__ == "builtins"
    name = kind.__qualname__ if is_plain else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}: {error}" if is_plain and isinstance(error, TELLING) else name
