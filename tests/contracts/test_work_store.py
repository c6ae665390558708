"""What ``WorkStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from repo.memory_works import MemoryWorkStore
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from repo.works import WorkStore
from schemas.works import Work, WorkState

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> WorkStore:
    if request.param == "memory":
        return MemoryWorkStore()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found.works


def a_work(**changes: Any) -> Work:
    made = Work(
        work_id=str(uuid.uuid4()),
        kind="doctor.examine",
        arguments='{"only":["kafka"],"a.b$c":1}',
        actor="root/ov_abcdef",
        address="192.0.2.1",
        state=WorkState.WAITING,
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


async def test_a_work_is_one_compared_document(store: WorkStore) -> None:
    first = a_work()
    assert await store.work(first.work_id) is None
    assert await store.store_work(first, 0)
    assert await store.store_work(first, 0), "the answer to the first try was lost"
    assert not await store.store_work(replace(first, kind="backup.make"), 0)
    second = replace(first, version=2, state=WorkState.RUNNING, holder="a", leased_until=NOW + 1, tries=1)
    assert await store.store_work(second, 1)
    assert not await store.store_work(replace(second, holder="b"), 1)
    assert await store.work(first.work_id) == second
    with pytest.raises(ValueError, match="does not come after"):
        await store.store_work(second, 2)


async def test_of_many_who_take_it_one_has_it(store: WorkStore) -> None:
    work = a_work()
    await store.store_work(work, 0)
    tries = [store.store_work(replace(work, version=2, holder=f"h{n}"), 1) for n in range(8)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 7 + [True]


async def test_pages_are_newest_first(store: WorkStore) -> None:
    made = [a_work(created_at=NOW + 10_000_000 + number // 2, result='{"large":1}') for number in range(6)]
    for one in made:
        assert await store.store_work(one, 0)
    bare = [replace(one, arguments="{}", result=None) for one in made]
    ordered = sorted(bare, key=lambda one: (one.created_at, one.work_id), reverse=True)
    first = await store.works(limit=4)
    assert first == ordered[:4]
    last = first[-1]
    rest = await store.works(limit=50, before=(last.created_at, last.work_id))
    assert rest[:2] == ordered[4:]
    assert not set(first) & set(rest)
    assert await store.work(made[0].work_id) == made[0], "it is left out of lists alone"


async def test_what_waits_or_runs_is_found_and_what_ended_is_forgotten_in_time(store: WorkStore) -> None:
    states = {state: a_work(state=state, created_at=NOW - 5, updated_at=NOW - 5) for state in WorkState}
    young = a_work(state=WorkState.DONE, updated_at=NOW)
    for one in (*states.values(), young):
        assert await store.store_work(one, 0)
    found = {one.work_id for one in await store.unfinished_works()}
    assert {states[WorkState.WAITING].work_id, states[WorkState.RUNNING].work_id} <= found
    assert not {states[WorkState.DONE].work_id, states[WorkState.FAILED].work_id} & found
    assert await store.unfinished_works(1) != []
    await store.forget_works(NOW)
    for state, one in states.items():
        kept = await store.work(one.work_id)
        assert (kept is not None) == (state in (WorkState.WAITING, WorkState.RUNNING)), state
    assert await store.work(young.work_id) == young


async def test_the_twin_says_an_outage() -> None:
    store = MemoryWorkStore()
    store.away = True
    for asked in (store.work("x"), store.works(limit=1), store.unfinished_works(), store.forget_works(1)):
        with pytest.raises(Unavailable):
            await asked
    with pytest.raises(Unavailable):
        await store.store_work(a_work(), 0)


@pytest.mark.servers
async def test_one_that_is_damaged_stands_in_nobodys_way(mongo: MongoDatabase) -> None:
    store, made = mongo.works, [a_work(created_at=NOW + number) for number in range(4)]
    collection = mongo.connection.collection("works")
    await collection.delete_many({})
    for work in made:
        await store.store_work(work, 0)
    for work in made[1:3]:
        await collection.update_one({"_id": work.work_id}, {"$set": {"version": "seven"}})
    await collection.insert_one({"_id": "by hand", "state": "waiting"})
    assert [one.work_id for one in await store.unfinished_works()] == [made[0].work_id, made[3].work_id]
    first = await store.works(limit=2)
    assert [one.work_id for one in first] == [made[3].work_id, made[0].work_id], "a page that is full, or the last"
    assert await store.works(limit=5) == first
    assert await store.works(limit=5, before=(NOW, made[0].work_id)) == []
    await collection.delete_many({})
