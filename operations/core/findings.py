"""What a look at a deployment finds: how bad, what, why it matters, and the one command that mends it. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from operations.core.counting import several

PROBLEM_CODE = 3  # exit code


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"  # nothing has to be done
    FOLLOWS = "follows"  # from a problem that is told beside: mended with it, or not looked at because of it
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
    ``about``: the thing that has the problem ("server kafka", "process streams", "role ledger"); ``after``: things
    whose problem would explain this one. ``because``: the problem that this one follows from, in words.
    """

    check: str
    level: Level
    what: str
    why: str = ""
    mend: str = ""
    repair: Mends | None = None
    targets: tuple[str, ...] = ()
    about: str = ""
    after: tuple[str, ...] = ()
    because: str = ""


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, what)


def note(check: str, what: str, why: str = "", mend: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Level.NOTE, what, why, mend)


def problem(
    check: str,
    what: str,
    why: str,
    mend: str,
    *,
    repair: Mends | None = None,
    targets: Iterable[str] = (),
    about: str = "",
    after: Iterable[str] = (),
) -> Finding:
    """Something to mend."""
    return Finding(check, Level.PROBLEM, what, why, mend, repair, tuple(targets), about, tuple(after))


def folded(findings: Sequence[Finding]) -> list[Finding]:
    """Problems that another one explains follow from it: they say so, and name no command of their own.

    A cause that itself follows from another one is told as that one.
    """
    causes: dict[str, Finding] = {}
    for one in findings:
        if one.level is Level.PROBLEM and one.about:
            causes.setdefault(one.about, one)
    return [_as_it_follows(one, causes) for one in findings]


def _as_it_follows(one: Finding, causes: Mapping[str, Finding]) -> Finding:
    if one.level is not Level.PROBLEM:
        return one
    cause = _cause(one, causes)
    if cause is one or _cause(cause, causes) is not cause:  # those that explain each other stay
        return one
    return replace(one, level=Level.FOLLOWS, why="", mend="", repair=None, targets=(), because=cause.what)


def _cause(one: Finding, causes: Mapping[str, Finding]) -> Finding:
    """The first in the chain of causes; itself where it has none."""
    chain = [one]
    while following := [causes[name] for name in chain[-1].after if name in causes and causes[name] not in chain]:
        chain.append(following[0])
    return chain[-1]


def summary(findings: Iterable[Finding]) -> str:
    """How many there are of each level: ``2 problems, 3 that follow, 1 note, 14 fine``."""
    counts = Counter(one.level for one in findings)
    problems = counts[Level.PROBLEM]
    words = [several(problems, "problem") if problems else "no problems"]
    if follow := counts[Level.FOLLOWS]:
        words.append(f"{follow} that {'follows' if follow == 1 else 'follow'}")
    if notes := counts[Level.NOTE]:
        words.append(several(notes, "note"))
    return ", ".join([*words, f"{counts[Level.OK]} fine"])


def digest(findings: Iterable[Finding]) -> str:
    """Of what a repair would do, and to what: another one, if it would be anything else. "" where there is nothing."""
    lines = ["\t".join((one.check, one.repair, *one.targets)) for one in findings if one.repair is not None]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16] if lines else ""


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level of all."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)


def exit_code(findings: Iterable[Finding]) -> int:
    """0, or 3 where there is a problem."""
    return PROBLEM_CODE if worst(findings) is Level.PROBLEM else 0


def first(names: Iterable[str], most: int = 3, *, of: int = 0) -> str:
    """The first few, and how many more; ``of``: how many there are, where not all are named."""
    listed = list(names)
    count = max(of, len(listed))
    more = f" and {count - most} more" if count > most else ""
    return ", ".join(listed[:most]) + more


def age(ms: int) -> str:
    """A span of time in words."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * length:
            return f"{ms // length} {unit}"
    return f"{max(0, ms) // 1000} s"
