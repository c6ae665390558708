"""Order, repeats and conflation of what is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from inference_worker.outbox import Outbox
from repo.memory import MemoryEventLog
from repo.ports import Position, Unavailable
from schemas.codec import Encoded
from schemas.dispatch import AssignmentDeclined, WorkerBeat, WorkerState
from tests.inference_worker.parent_world import read, until


class Flaky(MemoryEventLog):
    """Fails as often as told; where ``landed``, the message got through although the answer did not."""

    def __init__(self, failures: int = 0, *, landed: bool = False) -> None:
        super().__init__()
        self.failures = failures
        self.landed = landed
        self.tries = 0

    async def append(self, message: Encoded, *, partition: int | None = None) -> Position:
        self.tries += 1
        if self.failures:
            self.failures -= 1
            if self.landed:
                await super().append(message, partition=partition)
            raise Unavailable("kafka", "for a moment")
        return await super().append(message, partition=partition)


def beat(sequence: int) -> WorkerBeat:
    return WorkerBeat(pool="p", worker_id="w", session="s", sequence=sequence, state=WorkerState.READY)


def declined(sequence: int) -> AssignmentDeclined:
    return AssignmentDeclined(pool="p", worker_id="w", session="s", sequence=sequence, job_id="j", attempt=1)


@asynccontextmanager
async def sending(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def numbers(log: MemoryEventLog) -> list[int]:
    return [one.sequence for one in read(log.records("openv.dispatch"))]  # type: ignore[union-attr]


async def test_all_of_it_in_order_and_each_acknowledged() -> None:
    log, acked = MemoryEventLog(), []
    outbox = Outbox("test", log, "/workers/w", acked.append)
    async with sending(outbox):
        for sequence in range(5):
            outbox.put(declined(sequence))
        await asyncio.wait_for(outbox.empty(), 10)
    assert numbers(log) == [0, 1, 2, 3, 4]
    assert acked == [f"w:s:{sequence}" for sequence in range(5)]


async def test_it_repeats_until_it_is_there_and_nothing_overtakes() -> None:
    log = Flaky(3, landed=True)
    outbox = Outbox("test", log, "/workers/w")
    async with sending(outbox):
        outbox.put(declined(1))
        outbox.put(declined(2))
        await until(lambda: log.tries >= 5, "the repeats")
        await asyncio.wait_for(outbox.empty(), 10)
    assert numbers(log) == [1, 1, 1, 1, 2]


async def test_in_a_slot_only_the_newest_waits() -> None:
    log, acked = Flaky(1), []
    outbox = Outbox("test", log, "/workers/w", acked.append)
    async with sending(outbox):
        outbox.put(beat(1), "beat")
        await until(lambda: log.tries == 1, "a first try")
        outbox.put(declined(2))
        for sequence in range(3, 9):
            outbox.put(beat(sequence), "beat")
        await asyncio.wait_for(outbox.empty(), 10)
    assert numbers(log) == [2, 8]
    assert acked == ["w:s:2", "w:s:8"]


async def test_one_replaced_while_it_is_on_its_way_does_not_take_the_newer_one_along() -> None:
    log = MemoryEventLog()
    outbox = Outbox("test", log, "/workers/w")
    append, under_way, go_on = log.append, asyncio.Event(), asyncio.Event()

    async def slow(message: Encoded, *, partition: int | None = None) -> Position:
        under_way.set()
        await go_on.wait()
        return await append(message, partition=partition)

    log.append = slow  # type: ignore[method-assign]
    async with sending(outbox):
        outbox.put(beat(1), "beat")
        await under_way.wait()
        outbox.put(beat(2), "beat")
        go_on.set()
        await asyncio.wait_for(outbox.empty(), 10)
    assert numbers(log) == [1, 2]
