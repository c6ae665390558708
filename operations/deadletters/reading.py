"""Reading dead letters: those that are meant, with what became of each, in order within each partition."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop

from aiokafka import ConsumerRecord

from operations.core.dead_letters import By, Counts, Seen, Sought, Standing, parsed_place, standing_of
from operations.replay.room import CLIENT_ID, Room
from operations.stack.errors import StackError
from repo.database import Database
from repo.topic_reader import TopicReader
from schemas.codec import Record
from schemas.dispositions import Disposition
from schemas.letters import letter_of
from schemas.replay_plans import ReplayPlan
from schemas.topics import DEADLETTER

AT_A_TIME = 1_000
LIST_MAX = 10_000


@dataclass(slots=True)
class Listing:
    """``newest``: the newest of those meant, newest first; ``counts``: of all of them.

    Of those that are not meant because of their state: ``passed``: how many, by state; ``waiting``: how many a replay
    has that is not over, by its id.
    """

    newest: list[Seen] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    waiting: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)


class Fates:
    """What became of letters; replays that have some are looked up once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plans: dict[str, ReplayPlan | None] = {}

    async def seen(self, records: Sequence[Record]) -> list[Seen]:
        """These letters as they stand. Raises ``Unavailable``."""
        places = [f"{one.partition}:{one.offset}" for one in records]
        known = await self._database.dispositions.dispositions(places)
        return [await self._one(record, known.get(place)) for record, place in zip(records, places, strict=True)]

    async def _one(self, record: Record, disposition: Disposition | None) -> Seen:
        plan = None
        if disposition is not None and disposition.replay_id is not None:
            plan = await self._plan(disposition.replay_id)
        standing = standing_of(record, disposition, plan)
        current = disposition if disposition is not None and disposition.letter_at == record.timestamp else None
        return Seen(record, letter_of(record.headers), standing, current)

    async def _plan(self, replay_id: str) -> ReplayPlan | None:
        if replay_id not in self._plans:
            self._plans[replay_id] = await self._database.replays.replay(replay_id)
        return self._plans[replay_id]


async def letters(room: Room, sought: Sought) -> AsyncIterator[list[Seen]]:
    """Those that are meant, of the letters that are there now, some at a time. Raises ``Unavailable``."""
    async for some in _in_any_state(room, sought):
        yield [seen for seen in some if seen.standing in sought.standings]


async def _in_any_state(room: Room, sought: Sought) -> AsyncIterator[list[Seen]]:
    fates = Fates(room.database)
    async with TopicReader(room.settings, CLIENT_ID) as reader:
        starts, ends = await reader.starts(DEADLETTER.name), await reader.ends(DEADLETTER.name)
        if not ends:
            raise StackError(f"There is no topic {DEADLETTER.name}: `openv topics apply` makes it.")
        first = starts if sought.since is None else await reader.offsets_at(DEADLETTER.name, sought.since)
        reader.begin(DEADLETTER.name, {at: (max(starts[at], first[at]), end) for at, end in ends.items()})
        while (batches := await reader.next(AT_A_TIME)) is not None:
            records = [as_record(one) for found in batches.values() for one in found]
            meant = [record for record in records if sought.meets(record, letter_of(record.headers))]
            yield await fates.seen(meant)


async def listing(room: Room, sought: Sought, by: By, limit: int) -> Listing:
    """The newest so many, and counts of all. Holds no more letters than ``limit``."""
    found = Listing()
    newest: list[tuple[int, int, int, Seen]] = []
    async for some in _in_any_state(room, sought):
        for seen in some:
            if seen.standing not in sought.standings:
                found.passed[seen.standing.value] += 1
                if seen.standing is Standing.REDRIVING and seen.disposition is not None:
                    found.waiting[str(seen.disposition.replay_id)] += 1
                continue
            found.counts.add(seen, by)
            entry = (seen.record.timestamp, seen.record.partition, seen.record.offset, seen)
            if len(newest) < min(limit, LIST_MAX):
                heappush(newest, entry)
            elif newest:
                heappushpop(newest, entry)
    found.newest = [entry[3] for entry in sorted(newest, key=lambda one: one[:3], reverse=True)]
    return found


async def named(room: Room, places: Sequence[str]) -> list[Seen]:
    """The letters of these ids, in the order of their places. Raises ``StackError`` for one that is not there."""
    try:
        wanted = sorted({parsed_place(one) for one in places})
    except ValueError as error:
        raise StackError(str(error)) from None
    records: list[Record] = []
    for partition, offset in wanted:
        if partition >= DEADLETTER.partitions:
            raise StackError(f"{DEADLETTER.name} has no partition {partition}.")
        found = await room.log.read(DEADLETTER.name, partition, offset, offset + 1)
        if not found:
            raise StackError(f"There is no dead letter {partition}:{offset} (any more).")
        records += found
    return await Fates(room.database).seen(records)


async def those(room: Room, places: Collection[tuple[int, int]]) -> list[Seen]:
    """These letters (partition, offset), in order within each partition; those that are not kept any more are missing.
    Raises ``Unavailable``."""
    wanted, fates, found = frozenset(places), Fates(room.database), []
    spans = {at: [offset for p, offset in wanted if p == at] for at, _ in wanted}
    async with TopicReader(room.settings, CLIENT_ID) as reader:
        starts, ends = await reader.starts(DEADLETTER.name), await reader.ends(DEADLETTER.name)
        here = {
            at: (max(starts[at], min(offsets)), min(ends[at], max(offsets) + 1))
            for at, offsets in spans.items()
            if at in ends
        }
        reader.begin(DEADLETTER.name, here)
        while (batches := await reader.next(AT_A_TIME)) is not None:
            records = [as_record(one) for some in batches.values() for one in some]
            found += await fates.seen([one for one in records if (one.partition, one.offset) in wanted])
    return sorted(found, key=lambda seen: (seen.record.partition, seen.record.offset))


def as_record(one: ConsumerRecord) -> Record:
    """As the rest of us has it: what is missing reads as empty."""
    headers = tuple((name, value if value is not None else b"") for name, value in one.headers)
    return Record(one.topic, one.partition, one.offset, one.timestamp, one.key or b"", one.value or b"", headers)
