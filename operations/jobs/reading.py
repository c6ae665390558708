"""Reading what a topic still has about something: bounded, to its present end, and honest about what is missing."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from repo.ports import EventLog
from schemas.codec import Record
from schemas.instants import to_iso

IDLE_MAX = 5  # empty batches in a row, about a second each, before the rest is given up
BEFORE_MS, AFTER_MS = 60_000, 120_000  # of a moment: clocks differ, and what follows from it takes its time

Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Read:
    """What was found. ``gap``: in words, what could not be read; None where everything was."""

    records: tuple[Record, ...]
    gap: str | None = None


@dataclass(slots=True)
class _Reading:
    """One topic being read. ``room``: how many records may yet be looked at."""

    log: EventLog
    topic: str
    wanted: Callable[[Record], bool]
    room: int
    found: list[Record] = field(default_factory=list)
    last: int = 0

    async def span(self, begins: Offsets, ends: Offsets) -> bool:
        """Look at what lies from ``begins`` to before ``ends``; whether all of it was looked at."""
        left = {one for one, begin in begins.items() if begin < ends[one]}
        if not left or not self.room:
            return not left
        idle = 0
        tail = self.log.tail(self.topic, {one: begins[one] for one in left})
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            async for batch in batches:
                idle = 0 if batch else idle + 1
                for record in batch:
                    self._look_at(record, ends, left)
                if not left or idle == IDLE_MAX or not self.room:
                    break
        return not left

    def _look_at(self, record: Record, ends: Offsets, left: set[int]) -> None:
        if not self.room or record.partition not in left:
            return
        if record.offset >= ends[record.partition] - 1:
            left.discard(record.partition)
        if record.offset < ends[record.partition]:
            self.room -= 1
            self.last = record.timestamp
            if self.wanted(record):
                self.found.append(record)


async def read_since(
    log: EventLog, topic: str, partitions: Sequence[int], since: int, wanted: Callable[[Record], bool], most: int
) -> Read:
    """The wanted records of these partitions that were written at or after ``since`` (ms), of the first ``most``.

    Raises ``Unavailable``.
    """
    return await read_around(log, topic, partitions, (since,), wanted, most, from_the_first=True)


async def read_around(
    log: EventLog,
    topic: str,
    partitions: Sequence[int],
    moments: Iterable[int],
    wanted: Callable[[Record], bool],
    most: int,
    *,
    from_the_first: bool = False,
) -> Read:
    """The wanted records since the first of these moments (ms); where that would be more than ``most`` records to look
    at, those near the moments alone, unless ``from_the_first`` asks for the oldest. Raises ``Unavailable``."""
    times = sorted(moments)
    since = times[0]
    kept, ends = await log.starts(topic), await log.ends(topic)
    begins = await _at(log, topic, since, partitions, kept)
    reading = _Reading(log, topic, wanted, most, last=since)
    gaps = []
    if any(0 < kept[one] == begins[one] for one in partitions):
        gaps.append(f"{topic} is no longer kept from that time on: its oldest records are gone")
    if from_the_first or sum(max(0, ends[one] - begins[one]) for one in partitions) <= most:
        whole = await reading.span(begins, ends)
    else:
        gaps.append(f"{topic} is long: only what lies near the times that the document tells of was read")
        whole = True
        for first, last in windows(times):
            from_here = await _at(log, topic, first, partitions, begins)
            whole = await reading.span(from_here, await _at(log, topic, last, partitions, begins)) and whole
    if not whole:
        gaps.append(f"{topic} was read up to {to_iso(reading.last)} alone, {most} records at most")
    return Read(tuple(reading.found), "; ".join(gaps) or None)


def windows(moments: Iterable[int]) -> list[tuple[int, int]]:
    """From a while before each moment to a while after it; those that meet are one."""
    found: list[tuple[int, int]] = []
    for moment in sorted(moments):
        first, last = max(0, moment - BEFORE_MS), moment + AFTER_MS
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


async def _at(log: EventLog, topic: str, at: int, partitions: Sequence[int], least: Offsets) -> dict[int, int]:
    offsets = await log.offsets_at(topic, at)
    return {one: max(offsets[one], least[one]) for one in partitions}
