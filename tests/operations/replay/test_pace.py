"""A replay does not run ahead of those who read what it writes; partitions are read by turns."""

import asyncio

import pytest

from operations.core.keeping_up import SPARE
from operations.replay import readers as module
from operations.replay.in_turn import InTurn
from operations.replay.pace import Pace, Wishes
from operations.replay.readers import Readers
from repo.memory_store import MemoryJobStore
from schemas.replay_plans import Place
from tests.operations.replay.made import ListSource, Made

COMMANDS = "openv.commands"
AHEAD = {(COMMANDS, 0): 1000}


@pytest.fixture(autouse=True)
def _looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)


async def _nothing() -> None:
    await asyncio.sleep(0)


async def test_it_waits_until_the_ledger_has_applied_what_was_written() -> None:
    store = MemoryJobStore()
    pace = Pace(Readers(store, [COMMANDS]), _nothing)
    waiting = asyncio.create_task(pace.wait(Wishes(), 1, AHEAD))
    await asyncio.sleep(0.1)
    assert not waiting.done(), "a thousand records lie before the ledger"
    await store.store_applied_offsets("ledger", {0: 999 - SPARE})
    async with asyncio.timeout(30):
        await waiting


async def test_it_waits_for_a_database_that_is_away() -> None:
    store = MemoryJobStore()
    await store.store_applied_offsets("ledger", {0: 999})
    store.away = True
    turns = 0

    async def meanwhile() -> None:
        nonlocal turns
        turns += 1

    waiting = asyncio.create_task(Pace(Readers(store, [COMMANDS]), meanwhile).wait(Wishes(), 1, AHEAD))
    while turns < 2:  # noqa: ASYNC110 -- of another task
        await asyncio.sleep(0.01)
    assert not waiting.done()
    store.away = False
    await waiting


async def test_a_stop_ends_the_wait() -> None:
    wishes = Wishes()
    waiting = asyncio.create_task(Pace(Readers(MemoryJobStore(), [COMMANDS]), _nothing).wait(wishes, 1, AHEAD))
    await asyncio.sleep(0)
    wishes.stop.set()
    await waiting


async def test_readers_that_stand_still_are_a_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STILL_MAX_S", 0.2)
    pace = Pace(Readers(MemoryJobStore(), [COMMANDS]), _nothing)
    assert pace.stuck is None
    await pace.wait(Wishes(), 1, AHEAD)
    assert pace.stuck is not None
    assert "ledger applied nothing" in pace.stuck


async def test_nobody_of_ours_reads_the_topic_of_another() -> None:
    readers = Readers(MemoryJobStore(), ["their.topic"])
    assert not readers
    pace = Pace(readers, _nothing)
    assert pace.at_most(Wishes()) == 2_000
    await pace.wait(Wishes(), 1, {("their.topic", 0): 1_000_000})
    await readers.settled([Place(topic="their.topic", partition=0, offset=5)], 30)


async def test_bundles_are_small_at_a_low_rate_and_before_readers() -> None:
    nobody, ledger = Readers(MemoryJobStore(), ()), Readers(MemoryJobStore(), [COMMANDS])
    assert Pace(nobody, _nothing).at_most(Wishes(rate=50)) == 1
    assert Pace(nobody, _nothing).at_most(Wishes(rate=1000)) == 20
    assert Pace(ledger, _nothing).at_most(Wishes(rate=1000)) == SPARE // 4


@pytest.mark.parametrize("at_most", [1, 2, 3, 7, 100])
async def test_partitions_by_turns_in_their_order_and_each_record_once(at_most: int) -> None:
    records = {
        at: [Made(partition=at, offset=2 * offset) for offset in range(count)] for at, count in ((0, 9), (1, 3), (2, 6))
    }
    source = InTurn(ListSource(records, dict.fromkeys(records, (0, 100))))
    after = dict.fromkeys(records, 0)
    seen: list[int] = []
    while (chunks := await source.next(at_most)) is not None:
        assert 0 < sum(len(chunk.records) for chunk in chunks) <= at_most
        for chunk in chunks:
            assert [one.offset for one in chunk.records] == list(chunk.places)
            assert after[chunk.partition] <= chunk.places[0], "it goes on where it was"
            assert chunk.places[-1] < chunk.after
            after[chunk.partition] = chunk.after
            seen += [chunk.partition] * len(chunk.records)
    assert sorted(seen) == [0] * 9 + [1] * 3 + [2] * 6
    if at_most == 1:
        assert seen[:6] == [0, 1, 0, 1, 0, 1], "what came together"
