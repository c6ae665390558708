"""Reading ``openv.audit``: who did what from where. Nothing here writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from operations.core.audit_trail import Sought
from repo.ports import EventLog
from schemas.audit import AuditEntry
from schemas.codec import Record, decode
from schemas.topics import AUDIT

PARTITION = 0  # the topic has one: who did what is one sequence
PIECE = 500  # records that are read at a time
LOOKED_AT_MOST = 10_000  # records, for one page


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry, and its offset in the topic. ``entry`` None: somebody put something there that is none."""

    offset: int
    entry: AuditEntry | None


@dataclass(frozen=True, slots=True)
class Trail:
    """A page, newest first. ``before``: the offset to ask for the next page with; None: there is nothing older."""

    entries: tuple[Kept, ...]
    before: int | None


async def page(log: EventLog, sought: Sought, *, limit: int, before: int | None = None) -> Trail:
    """The newest entries that are sought, of those below the offset ``before``.

    It may hold fewer than ``limit`` and yet name a next page: no page looks at more than ``LOOKED_AT_MOST`` records.
    Raises ``Unavailable``.
    """
    first = (await log.starts(AUDIT.name))[PARTITION]
    if sought.since is not None:
        # A record's time is later than its entry's, by the same clock: nothing sought lies before this offset.
        first = max(first, (await log.offsets_at(AUDIT.name, sought.since))[PARTITION])
    end = (await log.ends(AUDIT.name))[PARTITION]
    stop = end if before is None else min(before, end)
    lowest = max(first, stop - LOOKED_AT_MOST)
    found: list[Kept] = []
    while stop > lowest:
        start = max(lowest, stop - PIECE)
        for record in reversed(await log.read(AUDIT.name, PARTITION, start, stop)):
            one = _kept(record, sought)
            if one is not None:
                found.append(one)
            if len(found) == limit:
                return Trail(tuple(found), record.offset if record.offset > first else None)
        stop = start
    return Trail(tuple(found), stop if stop > first else None)


async def follow(log: EventLog, sought: Sought) -> AsyncIterator[Kept]:
    """Entries that are sought as they come, for ever, from now on. Raises ``Unavailable`` before the first."""
    start = {PARTITION: (await log.ends(AUDIT.name))[PARTITION]}
    tail = cast("AsyncGenerator[Sequence[Record]]", log.tail(AUDIT.name, start))
    async with aclosing(tail) as batches:
        async for batch in batches:
            for record in batch:
                one = _kept(record, sought)
                if one is not None:
                    yield one


def _kept(record: Record, sought: Sought) -> Kept | None:
    """What can't be read is always shown: nobody hides an entry by damaging it."""
    entry = decode(record)
    if not isinstance(entry, AuditEntry):
        return Kept(record.offset, None)
    return Kept(record.offset, entry) if sought.admits(entry) else None
