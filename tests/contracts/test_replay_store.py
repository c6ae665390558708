"""What ``ReplayStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from repo.memory_replays import MemoryReplayStore
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from repo.replays import ReplayStore
from schemas.replay_plans import Checkpoint, Lease, Place, ReplayPlan, ReplayState, Span

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> ReplayStore:
    if request.param == "memory":
        return MemoryReplayStore()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found.replays


def a_plan(**changes: Any) -> ReplayPlan:
    made = ReplayPlan(
        replay_id=f"r-{uuid.uuid4().hex[:8]}",
        version=1,
        state=ReplayState.PLANNED,
        created_at=NOW,
        updated_at=NOW,
        source="openv.events",
        target="file:/tmp/a b.$x",
        asked={"source": "openv.events", "--where": '["a.b == `1`", "$x; y"]', "odd.na$me": "1"},
        asked_digest=uuid.uuid4().hex,
        digest="d",
        spans=(Span(partition=0, first=3, end=2**40), Span(partition=7, first=0, end=1)),
        report='{"read": 1}',
        chosen=("0/5", "1/6"),
    )
    return replace(made, **changes)


async def test_a_replay_is_one_compared_document(store: ReplayStore) -> None:
    first = a_plan()
    assert await store.replay(first.replay_id) is None
    assert await store.store_replay(first, 0)
    assert await store.store_replay(first, 0)  # the answer to the first try was lost
    assert not await store.store_replay(replace(first, target="x"), 0)
    checkpoint = Checkpoint(
        read=(Place(topic="", partition=0, offset=9),),
        ends=(Place(topic="openv.commands", partition=3, offset=12),),
        written=4,
        quarantined=1,
        clean=True,
    )
    lease = Lease(holder="host/1/2/x", until=NOW + 1)
    second = replace(first, version=2, state=ReplayState.RUNNING, checkpoint=checkpoint, lease=lease, reason="…")
    assert await store.store_replay(second, 1)
    assert not await store.store_replay(replace(second, reason="another"), 1)
    assert await store.replay(first.replay_id) == second
    with pytest.raises(ValueError, match="does not come after"):
        await store.store_replay(second, 2)


async def test_what_a_dry_run_has_fixed_stays_and_what_moves_comes_and_goes(store: ReplayStore) -> None:
    first = a_plan()
    assert await store.store_replay(first, 0)
    lease = Lease(holder="h", until=NOW + 1)
    begun = replace(
        first, version=2, state=ReplayState.RUNNING, updated_at=NOW + 5, checkpoint=Checkpoint(written=1), lease=lease,
        reason="…",
    )  # fmt: skip
    assert await store.store_replay(begun, 1)
    assert await store.store_replay(begun, 1)  # the answer to the first try was lost
    assert await store.replay(first.replay_id) == begun
    given_back = replace(begun, version=3, lease=None, reason="", checkpoint=None)
    assert not await store.store_replay(given_back, 1)
    assert await store.store_replay(given_back, 2)
    assert await store.replay(first.replay_id) == given_back
    assert not await store.store_replay(replace(given_back, replay_id="r-nobody", version=9), 3)
    assert await store.replay("r-nobody") is None


async def test_of_many_executors_one_is_first(store: ReplayStore) -> None:
    plan = a_plan()
    assert await store.store_replay(plan, 0)
    leases = [Lease(holder=f"h{n}", until=NOW) for n in range(8)]
    tries = [store.store_replay(replace(plan, version=2, lease=lease), 1) for lease in leases]
    assert (await asyncio.gather(*tries)).count(True) == 1


async def test_the_newest_come_first(store: ReplayStore) -> None:
    words = uuid.uuid4().hex
    base = NOW + uuid.uuid4().int % 10**9
    plans = [a_plan(created_at=base + n, asked_digest=words if n % 2 else "other") for n in range(4)]
    for plan in plans:
        assert await store.store_replay(plan, 0)
    assert await store.planned_as(words) == [plans[3], plans[1]]
    assert await store.planned_as(words, limit=1) == [plans[3]]
    assert await store.planned_as("nobody's") == []
    ours = [one for one in await store.replays(1_000) if one in plans]
    assert ours == plans[::-1]


async def test_what_nobody_has_touched_for_long_is_forgotten(store: ReplayStore) -> None:
    old, new = a_plan(updated_at=10_000), a_plan(updated_at=20_000)
    for plan in (old, new):
        assert await store.store_replay(plan, 0)
    assert await store.forget_replays(20_000) == 1
    assert await store.replay(old.replay_id) is None
    assert await store.replay(new.replay_id) == new
    assert await store.forget_replays(20_001) == 1


async def test_the_twin_can_be_away() -> None:
    store = MemoryReplayStore()
    store.away = True
    for ask in (store.replay("x"), store.replays(), store.planned_as("x"), store.forget_replays(1)):
        with pytest.raises(Unavailable):
            await ask
    with pytest.raises(Unavailable):
        await store.store_replay(a_plan(), 0)
