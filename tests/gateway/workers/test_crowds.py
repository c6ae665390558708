"""Workers of one endpoint that ask for very much, or very often: they are told to come back, and nobody else waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.core.fair_queue import FairQueue, Pace
from gateway.workers import handing, orders, outbox, pod, routes
from gateway.workers.outbox import Outbox
from repo.clock import now_ms
from repo.memory_log import MemoryEventLog
from repo.stores import ObjectStores
from repo.values import store_input
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.codec import decode
from schemas.commands import AttemptStarted
from schemas.dispatch import WorkerBeat, WorkerKind, WorkerState
from schemas.endpoints import external_pool
from schemas.progress import WorkerUpdate
from schemas.requests import external_request
from schemas.slots import Slot
from schemas.topics import DISPATCH, PROGRESS
from tests.gateway.external import endpoint
from tests.gateway.workers.pool import Pool, external_job, pool_in, worker_key
from tests.gateway.world import settings, started, until

READY, AWAY = WorkerState.READY, WorkerState.DEFUNCT


@asynccontextmanager
async def room_for(slots: int) -> AsyncIterator[Pool]:
    async with started(settings(worker_poll_seconds=30, worker_slots=slots)) as world, pool_in(world) as pool:
        yield pool


def refused(answer: httpx.Response) -> bool:
    """As RunPod's SDK is told to pause for five seconds."""
    return (answer.status_code, answer.headers.get("retry-after")) == (429, "5") and "too many jobs" in answer.text


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAUSE_S", 0.0)


async def test_the_slots_of_an_endpoint_are_bounded_however_many_workers_it_has() -> None:
    async with room_for(100) as pool:
        polls = [pool.take(batch=64, pod=f"pod-{number}") for number in range(2)]
        await pool.ready(100)
        answers = await asyncio.gather(*(pool.take(batch=64, pod=f"more-{number}") for number in range(20)))
        assert all(map(refused, answers))
        assert len(pool.beats(READY)) == 100, "the second worker asks for what was left"
        assert len(pool.world.parts.workers.room.pods) == 2
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)


async def test_another_endpoint_has_slots_of_its_own() -> None:
    async with room_for(1) as pool:
        poll = pool.take()
        await pool.ready()
        assert refused(await pool.take(pod="pod-2"))
        assert await pool.world.database.endpoints.store_endpoint(endpoint("other"), 0)
        key = await worker_key(pool.world, "other")
        there = pool.http.get("/v2/other/job-take/pod-1", headers={"Authorization": key})
        other = asyncio.create_task(there)
        beats = await pool.ready(2)
        assert {beat.pool for beat in beats} == {external_pool("echo"), external_pool("other")}
        for waiting in (poll, other):
            waiting.cancel()
        await asyncio.gather(poll, other, return_exceptions=True)


async def test_slots_that_are_left_are_free_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod, "KEPT_S", 0.1)
    async with room_for(1) as pool:
        await pool.taken(external_job())
        assert refused(await pool.take(pod="pod-2")), "a job that runs has its slot"
        assert (await pool.done("j-1", {"output": 1})).status_code == 200
        other = replace(pool, pod="pod-2")
        await other.taken(external_job("j-2"))
        await other.done("j-2", {"output": 1})
        seating = pool.world.parts.workers.room.pods._seating
        await until(lambda: not len(pool.world.parts.workers.room.pods))
        assert not seating._taken


async def test_a_worker_may_always_poll_in_the_slots_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod, "KEPT_S", 60.0)
    async with room_for(3) as pool:
        first = pool.take(batch=3)
        beats = await pool.ready(3)
        second = pool.take(batch=3)  # its client gave the first one up
        assert (await first).status_code == 429
        await pool.order(beats[0], external_job())
        assert [one["id"] for one in (await second).json()] == ["j-1"]
        third = pool.take(batch=3)
        await pool.order(beats[1], external_job("j-2"))
        assert [one["id"] for one in (await third).json()] == ["j-2"]


async def test_who_comes_and_goes_too_often_is_told_to_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each poll that is given up at once costs words that the scheduler must hear."""
    monkeypatch.setattr(outbox, "SLOTS_MIN", 0)
    async with room_for(8) as pool:
        room = pool.world.parts.workers.room
        await until(lambda: room.pods.is_open)
        for number in range(40):
            poll = room.pods.poll(endpoint(), f"pod-{number}", 8)
            room.pods.finish("echo", f"pod-{number}", poll, gone=True)
        assert refused(await pool.take(pod="pod-99"))
        assert room.outbox._words.waiting("echo") <= 4 * 8


class Gated(MemoryEventLog):
    """Appends when it is let; ``batches`` are those that it got."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.batches: list[list[Any]] = []

    async def append_all(self, messages: Any) -> Any:
        self.batches.append(list(messages))
        await self.free.wait()
        return await super().append_all(messages)


def beat(endpoint_id: str, number: int) -> WorkerBeat:
    slot = Slot(endpoint_id, "pod-1", "0" * 12, number % 10_000)
    return WorkerBeat(
        pool=external_pool(endpoint_id),
        worker_id=slot.worker_id,
        session=slot.gateway,
        sequence=number,
        state=READY,
        kind=WorkerKind.SDK,
        poll_id="p",
    )


def update(endpoint_id: str, number: int) -> WorkerUpdate:
    return WorkerUpdate(
        user_id="ada",
        job_id=f"j-{number}",
        sequence=number,
        attempt=1,
        worker_id=Slot(endpoint_id, "pod-1", "0" * 12, 0).worker_id,
        value="1",
    )


@asynccontextmanager
async def saying(log: Gated, slots: int = 2_000) -> AsyncIterator[tuple[Outbox, list[str | None]]]:
    lost: list[str | None] = []
    made = Outbox(log, now_ms, lost.append, slots)
    running = asyncio.create_task(made.run())
    try:
        yield made, lost
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def said(log: Gated, topic: str = DISPATCH.name) -> list[str]:
    return [decode(record).worker_id.split(":")[1] for record in log.records(topic)]  # type: ignore[union-attr]


async def test_the_word_of_one_endpoint_does_not_wait_for_the_flood_of_another() -> None:
    log = Gated()
    async with saying(log) as (made, _):
        for number in range(50_000):
            made.say(beat("flood", number))
        for number in range(5_000):
            made.say(update("flood", number))
        await until(lambda: log.batches)  # the first is under way
        made.say(beat("quiet", 1))
        made.say(update("quiet", 1))
        log.free.set()
        await until(lambda: {"quiet"} <= set(said(log)) and {"quiet"} <= set(said(log, PROGRESS.name)))
        assert said(log).index("quiet") <= 2 * outbox.BATCH
        assert said(log, PROGRESS.name).index("quiet") <= 2 * outbox.BATCH


async def test_an_endpoint_says_no_more_than_its_slots_need_however_much_it_has_to_say() -> None:
    log = Gated()
    log.free.set()
    async with saying(log, slots=300) as (made, _):
        made._words = FairQueue(made._words_max, Pace(300, 0.001))
        for number in range(1_000):
            made.say(beat("flood", number))
        made.say(beat("quiet", 1))
        await until(lambda: len(said(log)) == 301)
        assert said(log).count("flood") == 300
        assert made.is_behind("flood")
        assert not made.is_behind("quiet")
        await made.flush()
        assert said(log).count("flood") == 1_000, "the process ends: all is said"


async def test_who_said_too_much_says_it_again_alone() -> None:
    log = Gated()
    async with saying(log) as (made, lost):
        made._words = FairQueue(10)
        for number in range(30):
            made.say(beat("flood", number))
        made.say(beat("quiet", 1))
        log.free.set()
        await until(lambda: lost)
        assert lost == ["flood"]
        assert said(log).count("quiet") == 1


async def test_an_answer_of_many_large_inputs_is_bounded_and_the_rest_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handing, "ANSWER_BYTES", 100_000)
    monkeypatch.setattr(orders, "JOIN_S", 60.0)
    async with room_for(16) as pool:
        stores = ObjectStores(pool.world.objects)
        poll = pool.take(batch=8)
        beats = await pool.ready(8)
        for number, one in enumerate(beats):
            text = b'{"input":"%b"}' % (b"x" * 60_000)
            request = external_request(key=await store_input(stores, "ada", f"j-{number}", text))
            await pool.order(one, external_job(f"j-{number}"), request=request)
        given = (await poll).json()
        assert 1 <= len(given) <= 1 + handing.READ_AT_ONCE
        await until(lambda: len(given) + len(pool.declined()) == 8)
        assert len(pool.reports(AttemptStarted)) == len(given)


async def test_large_inputs_take_room_among_all_bodies_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "READ_S", 0.2)
    async with started(settings(serverless_body_bytes=RUNSYNC_BYTES)) as world, pool_in(world) as pool:
        room, text = world.parts.serverless.room, b'{"input":"%b"}' % (b"x" * 60_000)
        request = external_request(key=await store_input(ObjectStores(world.objects), "ada", "j-1", text))
        async with room.held("ada", RUNSYNC_BYTES):
            poll = pool.take()
            (beat,) = await pool.ready()
            await pool.order(beat, external_job(), request=request)
            assert (await poll).status_code == 204
            await until(lambda: len(pool.declined()) == 1)
        monkeypatch.setattr(handing, "READ_S", 30.0)
        before = len(pool.beats(WorkerState.READY))
        poll = pool.take()
        beat = (await pool.ready(before + 1))[-1]
        await pool.order(beat, external_job(attempt=2), request=request)
        assert len((await poll).json()["input"]) == 60_000
        await until(lambda: room.taken == 0)
