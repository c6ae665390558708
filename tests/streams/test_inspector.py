"""The second look at topics that many read: what is no message is put aside once, by whoever owns its partition."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from repo.memory import MemoryEventLog, MemoryJobStore
from schemas.codec import Encoded, Record, encode
from schemas.dispatch import StopAttempt
from schemas.topics import ASSIGNMENTS, DEADLETTER, EVENTS, Topic
from streams.board import Board
from streams.inspector import Inspector, consumer_of
from streams.offsets import AppliedOffsets
from streams.patience import Patience
from streams.reader import Reader
from streams.settings import Role
from streams.vitals import new_vitals
from tests.streams.rig import Recording
from tests.streams.streams_process import eventually

GOOD = encode(StopAttempt(worker_id="w", session="s", job_id="j", attempt=1), source="/t", at=0)


class Process:
    """The janitor's half of a streams process over memory twins."""

    def __init__(self, log: MemoryEventLog, store: MemoryJobStore, topic: Topic = ASSIGNMENTS) -> None:
        vitals = new_vitals((Role.JANITOR,))
        self.board = Board(vitals, ready=lambda _: None, waiting=lambda _: None)
        offsets = AppliedOffsets(Role.JANITOR, EVENTS, store, log)
        self.janitor = Reader(Role.JANITOR, EVENTS, Recording(), offsets, log, self.board, vitals.roles[Role.JANITOR])
        own = AppliedOffsets(consumer_of(topic), topic, store, log)
        self.inspector = Inspector(topic, self.janitor, own, log, Patience(Role.JANITOR, self.board))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.inspector.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def poison(text: str) -> Encoded:
    return Encoded(ASSIGNMENTS.name, b"w", text.encode(), (("ce_type", StopAttempt.TYPE.encode()),))


def letters(log: MemoryEventLog) -> list[bytes]:
    return sorted(record.value for record in log.records(DEADLETTER.name))


async def seen(log: MemoryEventLog, *texts: str) -> None:
    async def look() -> bool:
        return letters(log) == sorted(text.encode() for text in texts)

    await eventually(look, 20, what=f"{texts} among {letters(log)}")


async def test_only_what_is_no_message_in_partitions_that_are_ours() -> None:
    log, store = MemoryEventLog(), MemoryJobStore()
    one = Process(log, store)
    async with one.running():
        for partition in (3, 4, 11):
            await log.append(GOOD, partition=partition)
            await log.append(poison(f"before {partition}"), partition=partition)
        one.janitor.on_assigned([3])
        await seen(log, "before 3", "before 11")
        await log.append(poison("after 11"), partition=11)
        await log.append(GOOD, partition=11)
        await seen(log, "before 3", "before 11", "after 11")
    letter: Record = log.records(DEADLETTER.name)[0]
    assert letter.header("openv_reason") == "not valid: value: json_invalid"
    assert letter.header("kafka_dlt-original-topic") == ASSIGNMENTS.name
    assert letter.header("kafka_dlt-original-consumer-group") == "openv-janitor"


async def test_a_partition_that_moves_is_looked_through_once() -> None:
    log, store = MemoryEventLog(), MemoryJobStore()
    one, other = Process(log, store), Process(log, store)
    async with one.running(), other.running():
        one.janitor.on_assigned([5])
        await log.append(poison("first"), partition=5)
        await seen(log, "first")
        one.janitor.on_revoked()
        await log.append(poison("second"), partition=5)
        other.janitor.on_assigned([5])
        await seen(log, "first", "second")
        await log.append(poison("third"), partition=5)
        await seen(log, "first", "second", "third")


async def test_what_is_left_to_another_owner_in_the_middle_of_a_batch_is_not_passed_over() -> None:
    log, store = MemoryEventLog(), MemoryJobStore()
    one, other = Process(log, store), Process(log, store)
    bury = one.janitor.bury

    async def bury_and_lose(record: Record, error: Exception) -> None:
        await bury(record, error)
        one.janitor.on_revoked()

    one.janitor.bury = bury_and_lose  # type: ignore[method-assign,assignment]
    for one_record in (poison("first"), poison("second"), poison("third"), GOOD):
        await log.append(one_record, partition=5)
    async with one.running():
        one.janitor.on_assigned([5])
        await seen(log, "first")

        async def let_go() -> bool:
            return await store.applied_offsets(consumer_of(ASSIGNMENTS)) == {5: 0}

        await eventually(let_go, 20, what="the place of the first")
    async with other.running():
        other.janitor.on_assigned([5])
        await seen(log, "first", "second", "third")


async def test_servers_that_are_away_are_waited_for() -> None:
    log, store = MemoryEventLog(), MemoryJobStore()
    one = Process(log, store)
    store.away = True
    async with one.running():
        await log.append(poison("kept"), partition=0)
        one.janitor.on_assigned([0])

        async def waits() -> bool:
            return one.janitor.vitals.waiting_for == "mongodb"

        await eventually(waits, 20, what="word of the wait")
        store.away = False
        await seen(log, "kept")
