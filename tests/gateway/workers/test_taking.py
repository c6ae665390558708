"""Polls for jobs: who waits, who is given what, and what the scheduler is told when nobody is there to take it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from gateway.core.slots import NUMBERS
from gateway.workers import asking, orders, outbox, pod, routes
from repo.stores import ObjectStores
from repo.values import store_input
from schemas.commands import AttemptFailed, AttemptStarted
from schemas.dispatch import WorkerKind, WorkerState
from schemas.failures import FailureCode
from schemas.requests import external_request
from schemas.slots import slot_of
from tests.gateway.workers.pool import POOL, Pool, endpoint, external_job, pool_in
from tests.gateway.world import World, settings, started, until

READY, BUSY, AWAY = WorkerState.READY, WorkerState.BUSY, WorkerState.DEFUNCT


async def test_a_poll_says_ready_and_is_answered_with_the_job_that_its_slot_is_given(pool: Pool) -> None:
    poll = pool.take()
    (beat,) = await pool.ready()
    slot = slot_of(beat.worker_id)
    assert slot is not None
    assert (slot.endpoint_id, slot.pod_id, slot.gateway) == ("echo", "pod-1", beat.session)
    assert (beat.kind, beat.pool) == (WorkerKind.SDK, POOL)
    assert beat.poll_id
    await pool.order(beat, external_job(given={"word": "hello", "n": [1, None]}))
    answer = await poll
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "id": "j-1",
        "input": {"word": "hello", "n": [1, None]},
        "policy": {"executionTimeout": 600_000},
    }
    (started_,) = pool.reports(AttemptStarted)
    assert (started_.job_id, started_.attempt, started_.worker_id) == ("j-1", 1, beat.worker_id)
    assert not pool.beats(BUSY), "only a ping says that the worker has it"


async def test_the_start_is_recorded_before_the_worker_hears_of_the_job(pool: Pool) -> None:
    appending, asked = asyncio.Event(), 0
    append_all = pool.world.log.append_all

    async def held(messages: Any) -> Any:
        nonlocal asked
        if any(b"attempt.started" in dict(one.headers)["ce_type"] for one in messages):
            asked += 1
            await appending.wait()
        return await append_all(messages)

    pool.world.log.append_all = held  # type: ignore[method-assign]
    poll = pool.take()
    (beat,) = await pool.ready()
    await pool.order(beat, external_job())
    await until(lambda: pool.world.parts.workers.room.handed.find("echo", "pod-1", "j-1"))
    await until(lambda: asked == 1)
    assert not poll.done()
    appending.set()
    assert (await poll).json()["id"] == "j-1"


async def test_an_input_without_one_s3_config_and_webhook_reach_the_handler(pool: Pool) -> None:
    poll = pool.take()
    (beat,) = await pool.ready()
    text = orjson.dumps({"input": None, "s3Config": {"accessId": "a"}}).decode()
    await pool.order(beat, external_job(), request=external_request(text=text), webhook="https://a.test/told")
    assert (await poll).json() == {
        "id": "j-1",
        "input": None,
        "s3Config": {"accessId": "a"},
        "policy": {"executionTimeout": 600_000},
        "webhook": "https://a.test/told",
    }


@pytest.mark.parametrize("value", [b"1e400", b'{"a":1,"a":2}', b"0.10", b"123456789012345678901234567890"])
@pytest.mark.parametrize("batch", [None, 2])
async def test_an_input_is_passed_on_as_it_was_stored(pool: Pool, value: bytes, batch: int | None) -> None:
    poll = pool.take(batch=batch)
    (beat, *_) = await pool.ready()
    await pool.order(beat, external_job(), request=external_request(text=f'{{"input":{value.decode()}}}'))
    answer = await poll
    assert answer.headers["content-type"] == "application/json"
    job = b'{"input":%b,"id":"j-1","policy":{"executionTimeout":600000}}' % value
    assert answer.content == (job if batch is None else b"[%b]" % job)


async def test_a_large_input_is_not_read_on_its_way(pool: Pool) -> None:
    """Every member twice: whoever read it would keep one of each, and would write the numbers otherwise."""
    value = b"{%b}" % b",".join(b'"n%d":1.50,"n%d":2.50' % (number, number) for number in range(200_000))
    key = await store_input(ObjectStores(pool.world.objects), "ada", "j-1", b'{"input":%b}' % value)
    poll = pool.take()
    (beat,) = await pool.ready()
    await pool.order(beat, external_job(), request=external_request(key=key))
    assert value in (await poll).content


async def test_what_was_never_stored_as_an_input_fails_its_job(pool: Pool) -> None:
    await pool.world.objects.put_bytes("ada/inputs/j-1/damaged", b"\x00damaged", "application/json")
    poll = pool.take()
    (beat,) = await pool.ready()
    await pool.order(beat, external_job(), request=external_request(key="ada/inputs/j-1/damaged"))
    assert (await poll).status_code == 204
    assert [one.code for one in pool.reports(AttemptFailed)] == [FailureCode.INVALID_INPUT]


async def test_a_large_input_comes_from_the_object_store(pool: Pool) -> None:
    stores = ObjectStores(pool.world.objects)
    request = external_request(
        key=await store_input(stores, "ada", "j-1", b'{"input":{"text":"%b"}}' % (b"x" * 1_000_000))
    )
    poll = pool.take()
    (beat,) = await pool.ready()
    await pool.order(beat, external_job(), request=request)
    assert len((await poll).json()["input"]["text"]) == 1_000_000


async def test_a_job_whose_input_is_gone_fails_with_words_and_the_worker_asks_again(pool: Pool) -> None:
    poll = pool.take()
    (beat,) = await pool.ready()
    await pool.order(beat, external_job(), request=external_request(key="ada/inputs/j-1/request.json"))
    assert (await poll).status_code == 204
    (failed,) = pool.reports(AttemptFailed)
    assert (failed.job_id, failed.code) == ("j-1", FailureCode.INVALID_INPUT)
    assert "object store" in failed.message
    assert not pool.reports(AttemptStarted)
    await pool.taken(external_job("j-2"))


async def test_while_the_input_cant_be_read_the_job_is_declined(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = ObjectStores(pool.world.objects)
    request = external_request(key=await store_input(stores, "ada", "j-1", b'{"input":"%b"}' % (b"x" * 100_000)))
    poll = pool.take()
    (beat,) = await pool.ready()
    pool.world.objects.away = True
    await pool.order(beat, external_job(), request=request)
    assert (await poll).status_code == 204
    await until(pool.declined)
    assert [(one.job_id, one.worker_id) for one in pool.declined()] == [("j-1", beat.worker_id)]
    assert not pool.reports(AttemptStarted)
    pool.world.objects.away = False
    await pool.taken(external_job(request=request))


async def test_what_cant_be_recorded_is_not_handed_over(pool: Pool) -> None:
    poll = pool.take()
    (beat,) = await pool.ready()
    append_all = pool.world.log.append_all

    async def failing(messages: Any) -> Any:
        if any(b"attempt.started" in dict(one.headers)["ce_type"] for one in messages):
            pool.world.log.away = True
        try:
            return await append_all(messages)
        finally:
            pool.world.log.away = False

    pool.world.log.append_all = failing  # type: ignore[method-assign]
    await pool.order(beat, external_job())
    assert (await poll).status_code == 204
    await until(pool.declined)


async def test_without_a_job_a_poll_ends_with_204_and_the_next_takes_the_same_slot() -> None:
    async with started(settings(worker_poll_seconds=1)) as world, pool_in(world) as pool:
        assert (await pool.take()).status_code == 204
        first = pool.beats(READY)[0]
        poll = pool.take()
        second = (await pool.ready(2))[-1]
        assert second.worker_id == first.worker_id
        assert second.poll_id == first.poll_id, "it was given nothing yet: the same question"
        assert second.sequence > first.sequence
        assert not pool.beats(AWAY)
        assert (await poll).status_code == 204
        await until(lambda: pool.beats(AWAY))  # nobody came back
        assert not len(world.parts.workers.room.pods)


async def test_an_order_that_comes_between_two_polls_waits_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod, "KEPT_S", 30.0)
    async with started(settings(worker_poll_seconds=1)) as world, pool_in(world) as pool:
        assert (await pool.take()).status_code == 204
        await pool.order(pool.beats(READY)[0], external_job())
        await until(lambda: world.parts.workers.room.handed.find("echo", "pod-1", "j-1"))
        assert (await pool.take()).json()["id"] == "j-1"
        assert not pool.declined()


async def test_an_order_that_nobody_comes_for_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(settings(worker_poll_seconds=1)) as world, pool_in(world) as pool:
        assert (await pool.take()).status_code == 204
        beat = pool.beats(READY)[0]
        await pool.order(beat, external_job())
        await until(pool.declined)
        await pool.order(beat, external_job("j-2"))
        await until(lambda: len(pool.declined()) == 2)
        assert {one.session for one in pool.declined()} == {beat.session}
        assert not pool.reports(AttemptStarted)


async def test_an_order_is_handed_over_once_however_often_it_is_told(pool: Pool) -> None:
    order = await pool.taken(external_job())
    await pool.append(order)
    await pool.append(order)
    poll = pool.take()
    second = (await pool.ready(2))[-1]
    assert second.worker_id != order.worker_id, "the first slot has its job"
    await pool.append(order)
    await pool.order(second, external_job("j-2"))
    assert (await poll).json()["id"] == "j-2"
    assert not pool.declined()
    assert len(pool.reports(AttemptStarted)) == 2


async def test_a_batch_takes_so_many_slots_and_is_answered_with_what_is_there(pool: Pool) -> None:
    poll = pool.take(batch=3)
    beats = await pool.ready(3)
    assert len({beat.worker_id for beat in beats}) == 3
    for number, beat in enumerate(beats[:2]):
        await pool.order(beat, external_job(f"j-{number}"))
    answer = await poll
    assert sorted(one["id"] for one in answer.json()) == ["j-0", "j-1"]
    again = pool.take(batch=1)
    third = (await pool.ready(4))[-1]
    assert third.worker_id == beats[2].worker_id, "the slot that got nothing waits again"
    await pool.order(third, external_job("j-3"))
    assert [one["id"] for one in (await again).json()] == ["j-3"]


async def test_a_full_batch_does_not_wait_for_more(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "JOIN_S", 60.0)
    poll = pool.take(batch=2)
    for number, beat in enumerate(await pool.ready(2)):
        await pool.order(beat, external_job(f"j-{number}"))
    assert len((await poll).json()) == 2


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", "", "9" * 30])
async def test_a_batch_of_no_size_is_refused(pool: Pool, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAUSE_S", 0.0)
    answer = await pool.http.get(pool.url("job-take-batch"), params={"batch_size": size})
    assert answer.status_code == 400
    assert "batch_size" in answer.json()["error"]


async def test_a_batch_is_never_larger_than_a_gateway_likes(pool: Pool) -> None:
    poll = pool.take(batch=999_999)
    await pool.ready(routes.BATCH_MAX)
    poll.cancel()
    assert len(pool.beats(READY)) == routes.BATCH_MAX < NUMBERS


async def test_a_second_poll_of_a_worker_ends_the_first_so_that_twins_do_not_race(pool: Pool) -> None:
    first = pool.take()
    await pool.ready()
    second = pool.take()
    answer = await first
    assert answer.status_code == 429
    assert "RUNPOD_POD_ID" in answer.json()["error"]
    beat = (await pool.ready(2))[-1]
    await pool.order(beat, external_job())
    assert (await second).json()["id"] == "j-1"


async def test_workers_of_other_names_wait_side_by_side(pool: Pool) -> None:
    polls = [pool.take(pod=f"pod-{number}") for number in range(3)]
    beats = await pool.ready(3)
    for beat in beats:
        slot = slot_of(beat.worker_id)
        assert slot is not None
        await pool.order(beat, external_job(f"for-{slot.pod_id}"))
    answers = await asyncio.gather(*polls)
    assert [one.json()["id"] for one in answers] == ["for-pod-0", "for-pod-1", "for-pod-2"]


async def asgi_poll(pool: Pool, receive: Any, send: Any) -> None:
    key = pool.http.headers["Authorization"].encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": pool.url("job-take"),
        "raw_path": pool.url("job-take").encode(),
        "query_string": b"",
        "headers": [(b"authorization", key), (b"host", b"videos.test")],
        "scheme": "http",
        "server": ("videos.test", 80),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
        "root_path": "",
    }
    await pool.world.app(scope, receive, send)


async def test_a_client_that_has_gone_is_no_longer_ready(pool: Pool) -> None:
    left = asyncio.Event()
    sent: list[Any] = []
    first = True

    async def receive() -> Any:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    poll = asyncio.create_task(asgi_poll(pool, receive, send))
    (beat,) = await pool.ready()
    left.set()
    await poll
    await until(lambda: pool.beats(AWAY))
    assert pool.beats(AWAY)[0].worker_id == beat.worker_id
    await pool.order(beat, external_job())
    await until(pool.declined)
    assert not pool.reports(AttemptStarted)


async def test_a_client_that_goes_as_its_order_comes_costs_nothing(pool: Pool) -> None:
    """The connection is lost and nobody has noticed yet: it is looked at once more before the job is given."""
    waited = asyncio.Event()
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        if asked == 2:
            await waited.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    poll = asyncio.create_task(asgi_poll(pool, receive, send))
    (beat,) = await pool.ready()
    await pool.order(beat, external_job())
    await poll
    await until(pool.declined)
    assert not pool.reports(AttemptStarted)


async def test_who_waits_says_so_again_and_again(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BEAT_S", 0.05)
    poll = pool.take()
    beats = await pool.ready(4)
    assert {beat.poll_id for beat in beats} == {beats[0].poll_id}
    assert [beat.sequence for beat in beats] == sorted({beat.sequence for beat in beats})
    poll.cancel()


async def test_what_an_outage_swallowed_is_said_again(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RETRY_S", 0.05)
    append_all, tried = pool.world.log.append_all, 0

    async def counted(messages: Any) -> Any:
        nonlocal tried
        tried += 1
        return await append_all(messages)

    pool.world.log.append_all = counted  # type: ignore[method-assign]
    with pool.world.kafka_away():
        poll = pool.take()
        await until(lambda: tried >= 2)
        assert not pool.beats()
    beat = (await pool.ready())[0]
    await pool.order(beat, external_job())
    assert (await poll).json()["id"] == "j-1"


@pytest.fixture
async def without_kafka() -> AsyncIterator[World]:
    async with started() as outside:
        outside.log.away = True
        async with started(world=outside) as made:
            yield made


async def test_nobody_is_ready_before_every_order_is_seen(
    without_kafka: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool_in(without_kafka) as pool:
        poll = pool.take()
        await until(lambda: len(without_kafka.parts.workers.room.pods) == 1)
        assert not without_kafka.parts.workers.room.pods.is_open
        without_kafka.log.away = False
        beat = (await pool.ready())[0]
        await pool.order(beat, external_job())
        assert (await poll).json()["id"] == "j-1"


async def test_a_slot_of_a_gateway_that_died_is_declined_for_it_where_its_worker_waits_now(world: World) -> None:
    async with started(world=world) as other, pool_in(world) as here, pool_in(other) as there:
        dead = there.take()
        ghost = (await there.ready())[0]
        dead.cancel()
        await until(lambda: there.beats(AWAY))
        poll = here.take()
        beat = (await here.ready(2))[-1]
        assert beat.session != ghost.session
        order = await here.order(ghost, external_job())
        await until(here.declined)
        assert {(one.worker_id, one.session) for one in here.declined()} == {(order.worker_id, order.session)}
        await here.order(beat, external_job())
        assert (await poll).json()["id"] == "j-1"


async def test_an_orderly_end_answers_polls_and_says_good_bye_for_those_who_waited(pool: Pool) -> None:
    order = await pool.taken(external_job())
    poll, stops = pool.take(), asyncio.create_task(pool.stops())
    beat = (await pool.ready(2))[-1]
    room = pool.world.parts.workers.room
    await until(lambda: room.stop_polls)
    await room.leave()
    assert (await poll).status_code == 204
    assert (await stops).status_code == 204
    assert [one.worker_id for one in pool.gone()] == [beat.worker_id]
    assert beat.worker_id != order.worker_id, "what runs goes on"
    assert (await pool.take()).status_code == 204
    assert len(pool.beats(READY)) == 2


async def test_more_polls_than_a_gateway_takes_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAUSE_S", 0.0)
    async with started(settings(worker_polls=1)) as world, pool_in(world) as pool:
        poll = pool.take()
        await pool.ready()
        answer = await pool.take(pod="pod-2")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        poll.cancel()
        stopping = asyncio.create_task(pool.stops())
        await until(lambda: world.parts.workers.room.stop_polls)
        refused = await pool.http.get(pool.url("job-stop", pod="pod-2"))
        assert refused.status_code == 429
        stopping.cancel()


@pytest.mark.parametrize("pod", ["a b", "-a", "x" * 65, "a.b", "%C3%A4"])
async def test_a_worker_must_have_a_name_that_a_slot_can_carry(
    pool: Pool, pod: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "PAUSE_S", 0.0)
    answer: httpx.Response = await pool.http.get(pool.url("job-take", pod=pod))
    assert (answer.status_code, "RUNPOD_POD_ID" in answer.text) == (400, True)


async def test_an_endpoint_that_is_deleted_keeps_its_workers_for_the_jobs_that_it_has(pool: Pool) -> None:
    deleted = endpoint(version=2, deleted_at=5)
    assert await pool.world.database.endpoints.store_endpoint(deleted, 1)
    await pool.taken(external_job())
    assert (await pool.done("j-1", {"output": 1})).status_code == 200


async def test_what_can_never_be_said_does_not_silence_the_rest(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RETRY_S", 0.05)
    append_all = pool.world.log.append_all
    raised = False

    async def broken_once(messages: Any) -> Any:
        nonlocal raised
        if not raised:
            raised = True
            raise ValueError("too large")
        return await append_all(messages)

    pool.world.log.append_all = broken_once  # type: ignore[method-assign]
    await pool.taken(external_job())
    assert raised
