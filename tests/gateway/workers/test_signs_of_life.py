"""Pings and stops: what keeps a lease alive, and how a worker hears that it must stop, whichever gateway it asks."""

import asyncio
from dataclasses import replace

import pytest

from gateway.workers import pings
from schemas.dispatch import WorkerState
from schemas.jobs import AttemptEnd, EarlierAttempt
from schemas.lifecycle import State
from schemas.slots import Slot
from tests.gateway.workers.pool import Pool, external_job, pool_in
from tests.gateway.world import World, started, until

OLD = Slot("echo", "pod-1", "0" * 12, 3).worker_id
OTHERS = Slot("echo", "pod-2", "1" * 12, 0).worker_id


def named(pool: Pool) -> list[tuple[str, str, str | None, int | None]]:
    beats = pool.beats(WorkerState.BUSY)
    return [(beat.worker_id, beat.session, beat.job_id, beat.attempt) for beat in beats if beat.job_id is not None]


async def test_a_ping_names_each_job_in_the_slot_that_it_was_given_to(pool: Pool) -> None:
    first, second = await pool.taken(external_job("j-1")), await pool.taken(external_job("j-2", attempt=3))
    assert (await pool.ping("j-1", "j-2")).json() == {}
    await until(lambda: len(named(pool)) == 2)
    assert named(pool) == [
        (first.worker_id, first.session, "j-1", 1),
        (second.worker_id, second.session, "j-2", 3),
    ]


async def test_a_ping_at_another_gateway_is_as_good(world: World) -> None:
    async with started(world=world) as other, pool_in(world) as here, pool_in(other) as there:
        order = await here.taken(external_job())
        await until(lambda: other.parts.workers.room.handed.find("echo", "pod-1", "j-1"))
        assert (await there.ping("j-1")).status_code == 200
        await until(lambda: named(here))
        assert named(here) == [(order.worker_id, order.session, "j-1", 1)]


async def test_a_gateway_that_was_not_there_looks_into_the_document_and_not_each_time(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "HEARD_MS", 0)
    running = external_job(state=State.PROCESSING, attempt=2, worker_id=OLD)
    assert await pool.world.store.store_job(running, 0)
    asked: list[str] = []
    read = pool.world.store.job

    async def counting(job_id: str):  # type: ignore[no-untyped-def]
        asked.append(job_id)
        return await read(job_id)

    pool.world.store.job = counting  # type: ignore[method-assign]
    for _ in range(3):
        assert (await pool.ping("j-1", "unknown")).status_code == 200
    await until(lambda: len(named(pool)) == 3)
    assert set(named(pool)) == {(OLD, "0" * 12, "j-1", 2)}
    assert asked == ["j-1", "unknown"]


async def test_a_flood_of_unknown_ids_costs_a_bounded_number_of_looks(pool: Pool) -> None:
    asked: list[str] = []

    async def counting(job_id: str) -> None:
        asked.append(job_id)

    pool.world.store.job = counting  # type: ignore[method-assign]
    assert (await pool.ping(*(f"x-{number}" for number in range(400)))).status_code == 200
    assert len(asked) == pings.LOOKS_MAX
    assert (await pool.ping("", ",", "a b", "../x", "\x00")).status_code == 200
    assert len(asked) == pings.LOOKS_MAX
    assert not named(pool)


async def test_a_flood_of_pings_is_one_sign_of_life(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pings, "HEARD_MS", 3_600_000)
    await pool.taken(external_job("j-1"))
    for _ in range(20):
        assert (await pool.ping("j-1")).status_code == 200
    await pool.taken(external_job("j-2"))
    await pool.ping("j-1", "j-2")
    await until(lambda: len(named(pool)) == 2)
    assert [job_id for _, _, job_id, _ in named(pool)] == ["j-1", "j-2"]
    monkeypatch.setattr(pings, "HEARD_MS", 0)
    await pool.ping("j-1")
    await until(lambda: len(named(pool)) == 3)


async def test_a_ping_without_a_job_is_heard(pool: Pool) -> None:
    assert (await pool.ping()).json() == {}
    assert not pool.beats()


async def test_a_ping_of_anothers_job_says_nothing_of_it(pool: Pool) -> None:
    await pool.taken(external_job())
    assert (await pool.ping("j-1", pod="pod-2")).status_code == 200
    assert await pool.world.store.store_job(external_job("j-2", State.PROCESSING, worker_id=OTHERS), 0)
    assert (await pool.ping("j-2")).status_code == 200
    await asyncio.sleep(0)
    assert not named(pool)


async def test_a_job_that_has_ended_is_stopped_where_it_is_still_pinged(pool: Pool) -> None:
    made = external_job()
    order = await pool.taken(made)
    stops = asyncio.create_task(pool.stops())
    await until(lambda: pool.world.parts.workers.room.stop_polls)
    cancelled = replace(made, version=2, state=State.CANCELLED, worker_id=order.worker_id)
    await pool.world.ledger.announce(cancelled)
    await until(lambda: pool.world.parts.workers.room.handed.find("echo", "pod-1", "j-1").over)  # type: ignore[union-attr]
    assert (await pool.ping("j-1")).status_code == 200
    assert (await stops).json() == {"jobsToStop": ["j-1"]}
    assert not named(pool)


async def test_so_is_one_that_only_the_document_knows_to_be_anothers(pool: Pool) -> None:
    lost = EarlierAttempt(attempt=1, worker_id=OLD, end=AttemptEnd.LOST)
    running = external_job(state=State.PROCESSING, attempt=2, worker_id=OTHERS, earlier_attempts=(lost,))
    assert await pool.world.store.store_job(running, 0)
    assert (await pool.ping("j-1")).status_code == 200
    assert (await pool.stops()).json() == {"jobsToStop": ["j-1"]}


async def test_the_schedulers_word_to_stop_reaches_a_poll_at_any_gateway(world: World) -> None:
    async with started(world=world) as other, pool_in(world) as here, pool_in(other) as there:
        order = await here.taken(external_job())
        waiting = asyncio.create_task(there.stops())
        await until(lambda: other.parts.workers.room.stop_polls)
        await here.stop(order)
        answer = await waiting
        assert (answer.status_code, answer.json()) == (200, {"jobsToStop": ["j-1"]})
        assert (await here.stops()).json() == {"jobsToStop": ["j-1"]}, "told twice stops nothing twice"


async def test_stops_wait_for_the_poll_and_come_all_at_once(pool: Pool) -> None:
    orders = [await pool.taken(external_job(f"j-{number}")) for number in range(3)]
    for order in orders:
        await pool.stop(order)
    room = pool.world.parts.workers.room
    await until(lambda: len(room.stops._pods.get(("echo", "pod-1"), ())) == 3)
    assert (await pool.stops()).json() == {"jobsToStop": ["j-0", "j-1", "j-2"]}
    poll = asyncio.create_task(pool.stops())
    await until(lambda: room.stop_polls)
    poll.cancel()


async def test_a_stop_of_an_older_attempt_does_not_stop_the_newer_one(pool: Pool) -> None:
    order = await pool.taken(external_job())
    await pool.stop(order)
    room = pool.world.parts.workers.room
    await until(lambda: room.stops._pods.get(("echo", "pod-1")))
    newer = await pool.taken(external_job(attempt=2))
    await pool.stop(order)
    await pool.stop(newer, job_id="j-9")
    assert (await pool.stops()).json() == {"jobsToStop": ["j-9"]}


async def test_what_is_answered_need_not_be_stopped(pool: Pool) -> None:
    order = await pool.taken(external_job())
    await pool.stop(order)
    room = pool.world.parts.workers.room
    await until(lambda: room.stops._pods.get(("echo", "pod-1")))
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    await pool.stop(order, job_id="j-9")
    await until(lambda: "j-9" in room.stops._pods.get(("echo", "pod-1"), ()))
    assert (await pool.stops()).json() == {"jobsToStop": ["j-9"]}


async def test_a_second_stop_poll_ends_the_first(pool: Pool) -> None:
    first = asyncio.create_task(pool.stops())
    await until(lambda: pool.world.parts.workers.room.stop_polls)
    second = asyncio.create_task(pool.stops())
    assert (await first).status_code == 204
    pool.world.parts.workers.room.stop(("echo", "pod-1"), "j-1")
    assert (await second).json() == {"jobsToStop": ["j-1"]}


async def test_a_job_that_moves_on_frees_the_slot_that_had_it(pool: Pool) -> None:
    made = external_job()
    order = await pool.taken(made)
    await pool.world.ledger.announce(replace(made, version=2, attempt=2, tries=2))
    seats = pool.world.parts.workers.room.pods._seating.pods
    await until(lambda: not seats)
    assert (await pool.taken(external_job("j-2"))).worker_id == order.worker_id
