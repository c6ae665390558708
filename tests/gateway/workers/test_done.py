"""What workers post as the end of a job: which attempt it counts for, what it becomes, and how it can be wrong."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.core.handouts import HandOut
from gateway.workers import fencing, results, throttle
from repo.stores import ObjectStores
from repo.values import stored_word
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.commands import AttemptFailed, AttemptSucceeded
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, EarlierAttempt, Job, Output
from schemas.lifecycle import State
from schemas.progress import WorkerUpdate
from schemas.slots import Slot
from tests.gateway.workers.pool import Pool, external_job
from tests.gateway.world import until

OLD = Slot("echo", "pod-1", "0" * 12, 3).worker_id  # a slot at a gateway that is no more
OTHERS = Slot("echo", "pod-2", "1" * 12, 0).worker_id


async def word(pool: Pool, output: Output | None) -> dict[str, Any] | None:
    text = await stored_word(ObjectStores(pool.world.objects), output)
    return None if text is None else dict(orjson.loads(text))


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"output": {"a": 1}}, {"output": {"a": 1}}),
        ({"output": None}, {"output": None}),
        ({"output": False, "stopPod": True}, {"output": False}),
        ({}, {}),
        ({"stopPod": True}, {}),
        ({"output": [1], "error": None}, {"output": [1]}),
        (b'{"output": NaN, "x": -Infinity}', {"output": None}),
        ('{"output": "\u00e9\u4f60"}'.encode(), {"output": "\u00e9\u4f60"}),
    ],
)
async def test_a_result_completes_the_attempt_that_this_worker_was_given(pool: Pool, body: Any, kept: Any) -> None:
    order = await pool.taken(external_job())
    answer = await pool.done("j-1", body)
    assert (answer.status_code, answer.json()) == (200, {})
    (report,) = pool.reports(AttemptSucceeded)
    assert (report.user_id, report.job_id, report.attempt) == ("ada", "j-1", 1)
    assert report.worker_id == order.worker_id
    assert await word(pool, report.output) == kept


@pytest.mark.parametrize(
    "body", [{"error": "it broke"}, {"error": {"a": 1}, "output": 2}, {"error": '{"error_type":""}'}]
)
async def test_an_error_fails_it_in_the_handlers_own_words(pool: Pool, body: dict[str, Any]) -> None:
    await pool.taken(external_job())
    assert (await pool.done("j-1", body)).status_code == 200
    (report,) = pool.reports(AttemptFailed)
    assert (report.code, report.message) == (FailureCode.HANDLER_ERROR, "")
    assert await word(pool, report.output) == body


async def test_a_large_result_goes_by_the_object_store(pool: Pool) -> None:
    order = await pool.taken(external_job())
    assert (await pool.done("j-1", {"output": "x" * 15_000_000})).status_code == 200
    (report,) = pool.reports(AttemptSucceeded)
    assert report.output.value is None
    found = await word(pool, report.output)
    assert found is not None
    assert len(found["output"]) == 15_000_000
    assert (report.output.value_key or "").startswith(f"ada/outputs/j-1/1/{order.worker_id.replace(':', '%3A')}/")


async def test_a_second_answer_changes_nothing(pool: Pool) -> None:
    await pool.taken(external_job())
    assert (await pool.done("j-1", {"output": "x" * 20_000})).status_code == 200
    assert (await pool.done("j-1", {"output": "y" * 20_000})).status_code == 200
    assert (await pool.done("j-1", {"error": "no"})).status_code == 200
    assert len(pool.reports(AttemptSucceeded)) == 1
    assert not pool.reports(AttemptFailed)
    assert len(pool.world.objects.objects) == 1


async def test_two_answers_at_once_are_one(pool: Pool) -> None:
    await pool.taken(external_job())
    free = asyncio.Event()
    append = pool.world.log.append

    async def held(message: Any, **how: Any) -> Any:
        await free.wait()
        return await append(message, **how)

    pool.world.log.append = held  # type: ignore[method-assign]
    first = asyncio.create_task(pool.done("j-1", {"output": 1}))
    await until(lambda: _handed(pool).settling)
    second = await pool.done("j-1", {"output": 2})
    assert (second.status_code, "being recorded" in second.text) == (503, True)
    free.set()
    assert (await first).status_code == 200
    assert (await pool.done("j-1", {"output": 2})).status_code == 200
    (report,) = pool.reports(AttemptSucceeded)
    assert report.output.value == '{"output":1}'


def _handed(pool: Pool) -> HandOut:
    found = pool.world.parts.workers.room.handed.find("echo", "pod-1", "j-1")
    assert found is not None
    return found


@pytest.mark.parametrize("server", ["kafka", "s3"])
async def test_an_outage_is_waited_out_inside_the_request(pool: Pool, server: str) -> None:
    await pool.taken(external_job())
    down = pool.world.log if server == "kafka" else pool.world.objects
    name = "append" if server == "kafka" else "put_bytes"
    ask, asked = getattr(down, name), 0

    async def counted(*given: Any, **how: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*given, **how)

    setattr(down, name, counted)
    down.away = True
    answer = asyncio.create_task(pool.done("j-1", {"output": "x" * 20_000}))
    await until(lambda: asked >= 2)
    assert not answer.done()
    down.away = False
    assert (await answer).status_code == 200
    assert len(pool.reports(AttemptSucceeded)) == 1


async def test_one_that_lasts_is_a_503_and_the_answer_may_come_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PATIENCE_S", 0.1)
    await pool.taken(external_job())
    with pool.world.kafka_away():
        answer = await pool.done("j-1", {"output": 1})
        assert (answer.status_code, answer.json()["missing"]) == (503, ["kafka"])
    monkeypatch.setattr(results, "PATIENCE_S", 30.0)
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    assert len(pool.reports(AttemptSucceeded)) == 1


async def test_the_slot_is_free_when_its_job_is_done(pool: Pool) -> None:
    order = await pool.taken(external_job())
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    assert (await pool.taken(external_job("j-2"))).worker_id == order.worker_id


async def put(pool: Pool, made: Job) -> None:
    assert await pool.world.store.store_job(replace(made, version=1), 0)


async def test_a_gateway_that_was_not_there_finds_the_attempt_in_the_document(pool: Pool) -> None:
    await put(pool, external_job(state=State.PROCESSING, attempt=4, worker_id=OLD))
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    (report,) = pool.reports(AttemptSucceeded)
    assert (report.attempt, report.worker_id, report.user_id) == (4, OLD, "ada")


async def test_a_late_answer_is_reported_for_the_attempt_that_this_worker_had(pool: Pool) -> None:
    lost = EarlierAttempt(attempt=1, worker_id=OLD, end=AttemptEnd.LOST)
    await put(pool, external_job(attempt=2, earlier_attempts=(lost,)))
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    (report,) = pool.reports(AttemptSucceeded)
    assert (report.attempt, report.worker_id) == (1, OLD)


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT])
async def test_an_answer_after_the_end_is_harmless(pool: Pool, state: State) -> None:
    await put(pool, external_job(state=state, worker_id=OLD))
    assert (await pool.done("j-1", {"output": "x" * 20_000})).status_code == 200
    assert not pool.reports(AttemptSucceeded)
    assert not pool.world.objects.objects, "nothing is stored for nobody"


async def test_an_answer_to_an_attempt_that_another_worker_has_by_now_is_dropped(pool: Pool) -> None:
    lost = EarlierAttempt(attempt=1, worker_id=OLD, end=AttemptEnd.LOST)
    await put(pool, external_job(state=State.PROCESSING, attempt=2, worker_id=OTHERS, earlier_attempts=(lost,)))
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    assert not pool.reports(AttemptSucceeded)


@pytest.mark.parametrize(
    "foreign",
    [
        external_job(state=State.PROCESSING, worker_id=OTHERS),
        external_job(state=State.COMPLETED, worker_id=OTHERS),
        external_job(state=State.PROCESSING, worker_id=OLD, endpoint="other"),
        external_job(state=State.PROCESSING, worker_id=OLD, external=False),
        external_job(state=State.PROCESSING, worker_id="native-worker"),
        None,
    ],
)
async def test_anothers_job_is_404_and_nothing_is_reported(pool: Pool, foreign: Job | None) -> None:
    if foreign is not None:
        await put(pool, foreign)
    for body in ({"output": 1}, {"error": "no"}, {"status": "IN_PROGRESS", "output": 1}):
        answer = await pool.done("j-1", body)
        assert (answer.status_code, "no such job" in answer.json()["error"]) == (404, True)
    assert (await pool.stream("j-1", {"output": 1})).status_code == 404
    assert not pool.reports(AttemptSucceeded)
    assert not pool.reports(AttemptFailed)
    assert not pool.progress(WorkerUpdate)


async def test_a_job_that_still_waits_is_waited_for(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "WAIT_S", 0.2)
    queued = external_job()
    await put(pool, queued)
    assert (await pool.world.parts.workers.fencing.find(("echo", "pod-1"), "j-1", 0.2)) is None
    answer = asyncio.create_task(pool.done("j-1", {"output": 1}))
    started = replace(queued, version=2, state=State.PROCESSING, worker_id=OLD)
    assert await pool.world.store.store_job(started, 1)
    assert (await answer).status_code == 200
    assert [one.worker_id for one in pool.reports(AttemptSucceeded)] == [OLD]


async def test_thirty_megabytes_fail_the_job_with_words_instead_of_leaving_it(pool: Pool) -> None:
    await pool.taken(external_job())
    answer = await pool.done("j-1", b'{"output":"' + b"x" * 30_000_000 + b'"}')
    assert (answer.status_code, answer.json()["limitBytes"]) == (413, RUNSYNC_BYTES)
    (report,) = pool.reports(AttemptFailed)
    assert report.code is FailureCode.HANDLER_ERROR
    assert "20 MB" in report.message
    assert not pool.world.objects.objects
    await pool.taken(external_job("j-2"))


async def test_nor_do_they_when_nobody_says_how_long_the_body_is(pool: Pool) -> None:
    await pool.taken(external_job())

    async def parts() -> Any:
        yield b'{"output":"'
        for _ in range(30):
            yield b"x" * 1_000_000

    answer = await pool.http.post(pool.url("job-done", "j-1"), content=parts())
    assert answer.status_code == 413
    assert len(pool.reports(AttemptFailed)) == 1


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b'"text"', b'{"output":' + b"[" * 100_000, b"\xff\xfe{}"])
async def test_what_is_no_answer_fails_the_job_for_nothing_else_will_come(pool: Pool, body: bytes) -> None:
    await pool.taken(external_job())
    answer = await pool.done("j-1", body)
    assert answer.status_code == 400
    (report,) = pool.reports(AttemptFailed)
    assert report.message in answer.json()["error"]


async def test_what_nests_deeper_than_can_be_written_down_is_no_answer(pool: Pool) -> None:
    await pool.taken(external_job())
    answer = await pool.done("j-1", b'{"output":' + b"[" * 600 + b"]" * 600 + b"}")
    assert answer.status_code == 400
    assert len(pool.reports(AttemptFailed)) == 1


async def test_what_takes_too_long_to_read_is_no_answer(pool: Pool) -> None:
    await pool.taken(external_job())
    answer = await pool.done("j-1", b'{"output":[' + b"[]," * 1_000_000 + b"1]}")
    assert (answer.status_code, "too many lists" in answer.json()["error"]) == (400, True)
    (report,) = pool.reports(AttemptFailed)
    assert "too many lists" in report.message
    assert not pool.world.objects.objects


@pytest.mark.parametrize("first", [1, 20, 63])
async def test_an_update_that_is_too_large_is_known_however_its_first_bytes_come(pool: Pool, first: int) -> None:
    await pool.taken(external_job())
    head = b'{"status": "IN_PROGRESS", "output": "' + b"x" * 100

    async def parts() -> Any:
        yield head[:first]
        yield head[first:]

    declared = {"content-length": str(RUNSYNC_BYTES + 1)}
    answer = await pool.http.post(pool.url("job-done", "j-1"), content=parts(), headers=declared)
    assert (answer.status_code, answer.json()["limitBytes"]) == (413, 65_536)
    assert not pool.reports(AttemptFailed)


async def test_progress_is_passed_on_with_its_attempt(pool: Pool) -> None:
    order = await pool.taken(external_job())
    answer = await pool.done("j-1", {"status": "IN_PROGRESS", "output": {"step": [1, 2]}})
    assert answer.status_code == 200
    await until(lambda: pool.progress(WorkerUpdate))
    (update,) = pool.progress(WorkerUpdate)
    assert (update.user_id, update.job_id, update.attempt) == ("ada", "j-1", 1)
    assert (update.worker_id, orjson.loads(update.value)) == (order.worker_id, {"step": [1, 2]})
    assert not pool.reports(AttemptSucceeded)


async def test_of_many_updates_the_newest_is_passed_on(pool: Pool) -> None:
    await pool.taken(external_job())
    for number in range(200):
        await pool.done("j-1", {"status": "IN_PROGRESS", "output": number})
    await until(lambda: [one.value for one in pool.progress(WorkerUpdate)][-1:] == ["199"])
    assert len(pool.progress(WorkerUpdate)) < 100


async def test_after_the_end_no_update_is_passed_on(pool: Pool) -> None:
    await pool.taken(external_job())
    await pool.done("j-1", {"status": "IN_PROGRESS", "output": 1})
    await pool.done("j-1", {"status": "IN_PROGRESS", "output": 2})
    assert (await pool.done("j-1", {"output": 3})).status_code == 200
    assert (await pool.done("j-1", {"status": "IN_PROGRESS", "output": 4})).status_code == 200
    updates = pool.world.parts.workers.room.updates
    await until(lambda: not updates._newest)
    assert [update.value for update in pool.progress(WorkerUpdate)] == ["1"]


async def test_an_update_of_64_kb_is_the_largest_and_a_larger_one_ends_nothing(pool: Pool) -> None:
    await pool.taken(external_job())
    for size in (65_536, 25_000_000):
        answer = await pool.done("j-1", b'{"status": "IN_PROGRESS", "output": "' + b"x" * size + b'"}')
        assert (answer.status_code, answer.json()["limitBytes"]) == (413, 65_536)
    assert not pool.reports(AttemptFailed)
    assert (await pool.done("j-1", {"output": 1})).status_code == 200


async def test_two_answers_at_once_to_a_job_that_only_the_document_knows_are_one(pool: Pool) -> None:
    """Both look into the store before either has found it."""
    assert await pool.world.store.store_job(external_job(state=State.PROCESSING, worker_id=OLD), 0)
    look, looking, both = pool.world.store.job, 0, asyncio.Event()

    async def together(job_id: str) -> Any:
        nonlocal looking
        looking += 1
        if looking == 2:
            both.set()
        await both.wait()
        return await look(job_id)

    pool.world.store.job = together  # type: ignore[method-assign]
    answers = await asyncio.gather(*(pool.done("j-1", {"output": number}) for number in range(2)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len(pool.reports(AttemptSucceeded)) == 1


async def test_updates_of_too_many_jobs_at_once_are_dropped(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "JOBS_MAX", 1)
    monkeypatch.setattr(throttle, "EVERY_S", 60.0)
    for number in range(3):
        await pool.taken(external_job(f"j-{number}"))
        assert (await pool.done(f"j-{number}", {"status": "IN_PROGRESS", "output": 1})).status_code == 200
    await until(lambda: pool.progress(WorkerUpdate))
    poll = pool.take()
    await pool.ready(4)  # said after all updates
    assert [update.job_id for update in pool.progress(WorkerUpdate)] == ["j-0"]
    poll.cancel()
