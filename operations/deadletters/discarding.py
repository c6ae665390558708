"""Discarding: a letter stays where it is until its topic drops it, and is looked at no more.

Those that are sought, not named, are discarded only as the dry run found them: it gives a word, the ``Expected``, that
says which they were.
"""

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

from operations.audit.recording import Actor, audited
from operations.core.counting import several
from operations.core.dead_letters import Seen, Sought
from operations.deadletters.claims import claim
from operations.deadletters.reading import letters, named
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.dispositions import Disposition, Fate

REASON_MAX = 500
AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class Expected:
    """What a dry run found: how many letters, at what time (ms) it looked, a digest of which they were."""

    letters: int
    at: int
    digest: str

    def __str__(self) -> str:
        return f"{self.letters}-{self.at}-{self.digest}"

    @classmethod
    def parsed(cls, text: str) -> Self:
        """As ``str`` gives it. Raises ValueError with words for a person."""
        said = re.fullmatch(r"(\d{1,12})-(\d{1,15})-([0-9a-f]{16})", text.strip(), re.ASCII)
        if said is None:
            raise ValueError(f"{text!r} is not what a dry run prints behind --expect.")
        return cls(int(said[1]), int(said[2]), said[3])


@dataclass(frozen=True, slots=True)
class Discarded:
    """``letters``: how many are discarded, or would be; ``taken``: those that somebody else was quicker with;
    ``expected``: what --expect takes to discard just these."""

    letters: int
    taken: int = 0
    expected: Expected | None = None


@dataclass(slots=True)
class _Lane:
    """Letters of one partition, in order; there may be a million. ``known``: something was said of it before."""

    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    known: bytearray = field(default_factory=bytearray)


class _Meant:
    """Which letters are meant."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}

    def add(self, seen: Seen) -> None:
        """Behind those of its partition."""
        lane = self._lanes.setdefault(seen.record.partition, _Lane())
        lane.offsets.append(seen.record.offset)
        lane.times.append(seen.record.timestamp)
        lane.known.append(seen.disposition is not None)

    def __len__(self) -> int:
        return sum(len(lane.offsets) for lane in self._lanes.values())

    def expected(self, at: int) -> Expected:
        """Of a dry run at that time."""
        whole = blake2b(digest_size=8)
        for partition, lane in sorted(self._lanes.items()):
            whole.update(f"{partition}/{len(lane.offsets)}:".encode() + lane.offsets.tobytes() + lane.times.tobytes())
        return Expected(len(self), at, whole.hexdigest())

    def slices(self) -> Iterator[list[tuple[str, int, bool]]]:
        """Place, time and whether something is known, some at a time."""
        for partition, lane in sorted(self._lanes.items()):
            for first in range(0, len(lane.offsets), AT_A_TIME):
                some = slice(first, first + AT_A_TIME)
                rows = zip(lane.offsets[some], lane.times[some], lane.known[some], strict=True)
                yield [(f"{partition}:{offset}", at, bool(known)) for offset, at, known in rows]


async def discard(
    room: Room,
    places: Sequence[str],
    sought: Sought,
    actor: Actor,
    reason: str,
    *,
    execute: bool,
    at: int | None = None,
    expected: Expected | None = None,
) -> Discarded:
    """Say of those of these ids, or of those sought, that nothing will be done with them; without ``execute`` they are
    only counted. ``expected``: what the dry run found, without which those sought are not discarded; ``at``: as of when
    (ms) their times are meant, which of those expected is the dry run's. Raises ``StackError``, ``Unavailable``."""
    if not reason.strip():
        raise StackError("Say why: --reason. Whoever looks for these letters will want to know.")
    if len(reason) > REASON_MAX:
        raise StackError(f"A reason has at most {REASON_MAX} characters.")
    if execute and not places and expected is None:
        raise StackError(
            "Run it without --execute first: it says how many there are, and the --expect that this takes."
        )
    meant = await _meant(room, places, sought)
    found = meant.expected(expected.at if expected is not None else at or now_ms())
    if not execute:
        return Discarded(found.letters, expected=found)
    if not places and found != expected:
        raise StackError(_differs(expected, found))
    target = ", ".join(places) if len(places) <= 10 else several(len(places), "letter")
    done = taken = 0
    async with audited(room.log, actor, "deadletters.discard", target=target or "as sought", reason=reason) as audit:
        for some in meant.slices():
            won = await _dispose(room, some, actor, reason)
            done, taken = done + len(won), taken + len(some) - len(won)
        audit.detail |= {"letters": str(done), "taken": str(taken)}
    return Discarded(done, taken)


async def _dispose(room: Room, some: Sequence[tuple[str, int, bool]], actor: Actor, reason: str) -> Collection[str]:
    at = now_ms()
    wanted = [
        Disposition(letter=place, letter_at=time, fate=Fate.DISCARDED, at=at, actor=actor.name, reason=reason)
        for place, time, _ in some
    ]
    return await claim(room, wanted, [place for place, _, known in some if known])


def _differs(expected: Expected | None, found: Expected) -> str:
    before = expected.letters if expected else 0
    what = f"{found.letters:,} now" if found.letters != before else "as many now, but others"
    return (
        f"The dry run found {several(before, 'letter')}, and it is {what}. Nothing was discarded: look again, without "
        "--execute."
    )


async def _meant(room: Room, places: Sequence[str], sought: Sought) -> _Meant:
    meant = _Meant()
    if places:
        for seen in await named(room, places):
            meant.add(seen)
        return meant
    async for some in letters(room, sought):
        for seen in some:
            meant.add(seen)
    return meant
