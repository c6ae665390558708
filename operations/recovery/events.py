"""All of a topic up to where it ends now, in bounded stretches."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from repo.ports import EventLog
from schemas.codec import Record

RECORDS_AT_ONCE = 2_000
BYTES_AT_ONCE = 8 * 1024 * 1024
READ_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Span:
    """What is read of a topic: by partition from ``first`` on, before ``end``. ``cut``: records before ``first`` that
    were wanted and are no longer kept."""

    first: Mapping[int, int]
    end: Mapping[int, int]
    cut: int

    @property
    def records(self) -> int:
        """How many there are at most."""
        return sum(max(0, end - self.first[partition]) for partition, end in self.end.items())


async def span(event_log: EventLog, topic: str, wanted: Mapping[int, int] | None) -> Span:
    """From the wanted positions (None: from the first that is kept) to the present end. Positions past the end mean
    that the topic was made anew: it is read whole."""
    ends, starts = await event_log.ends(topic), await event_log.starts(topic)
    first, cut = {}, 0
    for partition, end in ends.items():
        begin = starts[partition] if wanted is None else wanted.get(partition, starts[partition])
        if begin > end:
            begin = starts[partition]
        cut += max(0, starts[partition] - begin)
        first[partition] = max(begin, starts[partition])
    return Span(first, ends, cut)


async def stretches(event_log: EventLog, topic: str, of: Span) -> AsyncIterator[Sequence[Record]]:
    """Its records, in order within a partition; some thousand at a time."""
    at = {partition: first for partition, first in of.first.items() if first < of.end[partition]}
    if not at:
        return
    gathered: list[Record] = []
    size = idle = 0
    tail = cast("AsyncGenerator[Sequence[Record]]", event_log.tail(topic, at))
    async with aclosing(tail) as batches:
        async for batch in batches:
            idle = 0 if batch else idle + 1
            for record in batch:
                if record.offset < of.end[record.partition]:
                    gathered.append(record)
                    size += len(record.value)
                at[record.partition] = max(at[record.partition], record.offset + 1)
            missing = {partition: begin for partition, begin in at.items() if begin < of.end[partition]}
            if len(gathered) >= RECORDS_AT_ONCE or size >= BYTES_AT_ONCE:
                yield gathered
                gathered, size = [], 0
            if not missing or (idle and await _nothing_more(event_log, topic, missing, of.end)):
                break
    if gathered:
        yield gathered


async def _nothing_more(event_log: EventLog, topic: str, missing: Mapping[int, int], end: Mapping[int, int]) -> bool:
    """Whether the offsets that were not delivered have no records: marks of a transaction, or cut off meanwhile."""
    for partition, begin in missing.items():
        for start in range(begin, end[partition], READ_AT_ONCE):
            if await event_log.read(topic, partition, start, min(start + READ_AT_ONCE, end[partition])):
                return False
    return True
