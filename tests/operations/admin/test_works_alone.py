"""Works of which one of a kind is done at a time, whichever of several processes were asked for them."""

import asyncio
import random
from typing import Any

import pytest

from operations.admin import works as module
from operations.admin.works import Kind, Works
from operations.core.works import LEASE_MS
from repo.memory_works import MemoryWorkStore
from schemas.works import Work, WorkState
from tests.operations.admin.test_works import ROOT, Clock, ended


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.01)


class Lone:
    """What must never run twice at a time."""

    def __init__(self) -> None:
        self.now, self.most, self.runs = 0, 0, 0

    async def __call__(self, *_: Any) -> Any:
        self.now += 1
        self.runs += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.03)
        finally:
            self.now -= 1
        return {}


class Raced(MemoryWorkStore):
    """Each answer may come at any later moment, as a server's."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)

    async def store_work(self, work: Work, expected: int) -> bool:
        await self._later()
        done = await super().store_work(work, expected)
        await self._later()
        return done

    async def unfinished_works(self, limit: int = 100) -> list[Work]:
        await self._later()
        found = await super().unfinished_works(limit)
        await self._later()
        return found

    async def _later(self) -> None:
        await asyncio.sleep(self._chance.choice((0, 0.001, 0.005)))


@pytest.mark.parametrize("seed", range(25))
async def test_of_two_processes_that_begin_in_one_instant_one_at_most_does_it(seed: int) -> None:
    lone, store, slow, fast = Lone(), Raced(seed), Clock(), Clock()
    fast.now += seed % 3 - 1  # their clocks differ: who comes later may be earlier in the order
    kinds = {"dear": Kind(lone, resumable=True, alone=True)}
    one, other = Works(store, kinds, slow), Works(store, kinds, fast)
    async with one.running(), other.running():
        came = await asyncio.gather(one.begin("dear", {}, ROOT), other.begin("dear", {}, ROOT), return_exceptions=True)
        begun = [await ended(store, work) for work in came if isinstance(work, Work)]
    assert lone.most == 1
    done = [work for work in begun if work.state is WorkState.DONE]
    assert len(done) == lone.runs >= 1
    for work in begun:
        if work not in done:
            (first,) = done
            assert work.error == f"One at a time: work {first.work_id} does that now."


async def test_of_two_that_were_taken_at_once_none_is_done_beside_the_other() -> None:
    lone, store, clock = Lone(), MemoryWorkStore(), Clock()
    kinds = {"dear": Kind(lone, resumable=True, alone=True)}
    processes = [Works(store, kinds, clock) for _ in range(2)]
    works = [one._new("dear", {}, ROOT) for one in processes]
    works.sort(key=lambda work: work.work_id)
    taken = [module.taken(at, one._holder, clock(), resumable=True) for one, at in zip(processes, works, strict=True)]
    for work, mine in zip(works, taken, strict=True):  # each was looked for before the other was there
        assert mine is not None
        await store.store_work(work, 0)
        await store.store_work(mine, 1)
    first, second = taken
    assert first is not None
    assert second is not None
    assert not await processes[0]._is_alone(first)
    assert await processes[1]._is_alone(second), "the other one has been given back by now"
    (back, held) = await store.unfinished_works()
    assert (back.state, back.tries, back.holder) == (WorkState.WAITING, 0, None)
    await processes[0]._look()
    assert await store.unfinished_works() == [back, held], "it waits, though it was asked for first"
    assert lone.runs == 0


@pytest.mark.parametrize("dead", [0, 1])
async def test_one_whose_process_died_goes_on_before_the_other_that_waits(dead: int) -> None:
    lone, store, clock = Lone(), MemoryWorkStore(), Clock()
    works = Works(store, {"dear": Kind(lone, resumable=True, alone=True)}, clock)
    made = [works._new("dear", {}, ROOT)]
    clock.now += 1
    made.append(works._new("dear", {}, ROOT))
    for work in made:
        await store.store_work(work, 0)
    held = module.taken(made[dead], "elsewhere", clock(), resumable=True)
    assert held is not None
    assert await store.store_work(held, 1)
    await works._look()
    assert await store.work(held.work_id) == held, "it is not ours while the lease lasts"
    assert lone.runs == 0
    clock.now += LEASE_MS
    async with works.running():
        ends = [await ended(store, work) for work in made]
    assert ends[dead].state is WorkState.DONE
    assert ends[1 - dead].state is (WorkState.FAILED if dead == 0 else WorkState.DONE)
    assert lone.most == 1


async def test_two_whose_processes_died_are_done_one_after_the_other() -> None:
    lone, store, clock = Lone(), MemoryWorkStore(), Clock()
    works = Works(store, {"dear": Kind(lone, resumable=True, alone=True)}, clock)
    made = [works._new("dear", {}, ROOT) for _ in range(2)]
    for work in made:
        held = module.taken(work, "elsewhere", clock(), resumable=True)
        assert held is not None
        await store.store_work(work, 0)
        await store.store_work(held, 1)
    clock.now += LEASE_MS
    async with works.running():
        ends = [await ended(store, work) for work in made]
    assert {work.state for work in ends} == {WorkState.DONE}
    assert (lone.most, lone.runs) == (1, 2)
