"""What a look at a deployment finds: how bad, what, why it matters, and the one command that mends it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

PROBLEM_CODE = 3  # exit code


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"  # nothing has to be done
    PROBLEM = "problem"


class Mends(StrEnum):
    """What ``--repair`` can do about a finding."""

    TOPICS = "topics"
    INDEXES = "indexes"
    BUCKET = "bucket"
    CORS = "cors"
    FILES = "files"
    DOCUMENTS = "documents"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``mend``: the one command that mends it; "" where there is nothing to mend.

    ``repair``: what of it ``openv doctor --repair`` does, to each of ``targets`` (keys, ids; bounded), or None.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    mend: str = ""
    repair: Mends | None = None
    targets: tuple[str, ...] = ()


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, what)


def note(check: str, what: str, why: str = "", mend: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Level.NOTE, what, why, mend)


def problem(
    check: str, what: str, why: str, mend: str, *, repair: Mends | None = None, targets: Iterable[str] = ()
) -> Finding:
    """Something to mend."""
    return Finding(check, Level.PROBLEM, what, why, mend, repair, tuple(targets))


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level of all."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)


def exit_code(findings: Iterable[Finding]) -> int:
    """0, or 3 where there is a problem."""
    return PROBLEM_CODE if worst(findings) is Level.PROBLEM else 0


def first(names: Iterable[str], most: int = 3) -> str:
    """The first few, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def age(ms: int) -> str:
    """A span of time in words."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * length:
            return f"{ms // length} {unit}"
    return f"{max(0, ms) // 1000} s"
