"""Attempts on a fake RunPod: submitted once, followed, taken over, cancelled, fetched."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from repo.clock import now_ms
from schemas.commands import AttemptFailed, AttemptHandedBack
from schemas.dispatch import WorkerState
from schemas.failures import FailureCode
from schemas.lifecycle import State
from schemas.remote_runs import RemoteState
from tests.inference_worker.remote.fake_runpod import answering, lost
from tests.inference_worker.remote.remote_world import World, a_video, remote_world, until


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return a_video(tmp_path_factory.mktemp("video"))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with remote_world(tmp_path) as made:
        yield made


async def test_a_video_is_made_there_and_stored_here(world: World, video: bytes) -> None:
    async with world.process():
        made = await world.order()
        await world.submitted()
        there = world.fake.newest()
        assert there.body["input"]["positive_prompt"] == made.request.prompt
        assert 5_000 <= there.body["policy"]["executionTimeout"] <= made.execution_timeout_ms
        assert "webhook" not in there.body
        there.status = "IN_PROGRESS"
        await until(lambda: [one for one in world.said("progress") if getattr(one, "phase", "") == "denoise"], "runs")
        await world.fake.end(there, output={"result": world.fake.video(video), "status": "DONE"})
        output = (await world.succeeded(made)).output
        assert (output.width, output.height, output.frames, output.fps) == (96, 64, 7, 24)
        assert output.video
        assert await world.objects.read(output.video.key) == video
        assert output.poster
        assert (await world.objects.read(output.poster.key) or b"").startswith(b"\xff\xd8")
        assert output.thumbnail
        assert (await world.objects.read(output.thumbnail.key) or b"")[8:12] == b"WEBP"
        remembered = await world.remembered(made)
        assert remembered
        assert remembered.state is RemoteState.MADE
        await world.store(replace(made, state=State.COMPLETED))

        async def forgotten() -> bool:
            return await world.remembered(made) is None

        await until(forgotten, "forgotten")
        assert len(world.fake.jobs) == 1
        assert world.fake.cancelled == []
        assert await world.ready()


async def test_after_a_kill_the_same_slot_goes_on_from_its_first_beat(world: World, video: bytes) -> None:
    async with world.process(kill=True):
        made = await world.order()
        await world.submitted()

        async def known() -> bool:
            run = await world.remembered(made)
            return run is not None and run.state is RemoteState.SUBMITTED

        await until(known, "the id written down")
    world.fake.newest().status = "IN_PROGRESS"
    async with world.process():
        first = (await until(world.beats, "a beat"))[0]
        assert (first.state, first.job_id, first.attempt) == (WorkerState.BUSY, made.job_id, made.attempt)
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        assert (await world.succeeded(made)).worker_id == "w.1"
        assert len(world.fake.jobs) == 1


async def test_more_runs_than_slots_go_on_and_their_slots_then_end(world: World, video: bytes) -> None:
    async with world.process(kill=True, slots=2):
        made = await world.order("w.2")
        await world.submitted()

        async def known() -> bool:
            run = await world.remembered(made)
            return run is not None and run.remote_id is not None

        await until(known, "the id written down")
    async with world.process(slots=1):
        first = (await until(lambda: world.beats("w.2"), "a beat"))[0]
        assert (first.state, first.job_id) == (WorkerState.DRAINING, made.job_id)
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        await world.succeeded(made)
        await until(lambda: [one for one in world.said("dispatch") if type(one).__name__ == "WorkerGone"], "gone")
        assert len(world.fake.jobs) == 1


async def test_a_later_attempt_takes_over_what_an_earlier_one_began(world: World, video: bytes) -> None:
    """A clean stop hands the job back; another process, of another name, gets it."""
    async with world.process("one"):
        made = await world.order("one.1")
        await world.submitted()
    assert world.reports(made, AttemptHandedBack)
    assert world.fake.cancelled == []
    async with world.process("other"):
        again = await world.order("other.1", of=replace(made, attempt=2, state=State.QUEUED, worker_id=None))
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        assert (await world.succeeded(again)).worker_id == "other.1"
        assert len(world.fake.jobs) == 1


async def test_what_failed_there_is_submitted_again_by_the_next_attempt_alone(world: World, video: bytes) -> None:
    async with world.process():
        made = await world.order()
        await world.submitted()
        await world.fake.end(world.fake.newest(), output={"result": "FAILED: CUDA error, 500"})
        failed = await world.failed(made)
        assert failed.code is FailureCode.TRANSIENT_ERROR
        again = await world.order(of=replace(made, attempt=2, state=State.QUEUED, worker_id=None))
        await world.submitted(2)
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        await world.succeeded(again)
        assert len(world.fake.jobs) == 2


async def test_cancelled_here_is_cancelled_there_though_it_takes_several_tries(world: World) -> None:
    world.fake.odd["cancel"] = [lost, answering(500), answering(429, headers={"Retry-After": "1"})]
    async with world.process():
        made = await world.order()
        await world.submitted()
        await world.store(replace(made, state=State.CANCELLED))
        await world.stop(made)
        await world.ready()  # the slot does not wait for that
        await until(lambda: world.fake.cancelled == [world.fake.newest().remote_id], "cancelled there")

        async def forgotten() -> bool:
            return await world.remembered(made) is None

        await until(forgotten, "forgotten")
        assert not world.reports(made, AttemptFailed)


async def test_what_another_attempt_may_take_over_is_not_cancelled_by_a_stop(world: World, video: bytes) -> None:
    """Its lease was lost while the slot stood still, say."""
    async with world.process(slots=2):
        made = await world.order("w.1")
        await world.submitted()
        lost_lease = await world.store(replace(made, attempt=2, state=State.QUEUED, worker_id=None))
        await world.stop(made, "w.1")
        await world.ready("w.1")
        again = await world.order("w.2", of=lost_lease)
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        await world.succeeded(again)
        assert world.fake.cancelled == []
        assert len(world.fake.jobs) == 1


async def test_runs_whose_jobs_ended_while_nobody_was_here_are_cancelled_at_the_start(world: World) -> None:
    async with world.process(kill=True):
        made = await world.order()
        await world.submitted()

        async def known() -> bool:
            run = await world.remembered(made)
            return run is not None and run.remote_id is not None

        await until(known, "the id written down")
    await world.store(replace(made, state=State.CANCELLED))
    async with world.process():
        await until(lambda: world.fake.cancelled, "cancelled there")
        await world.ready()


async def test_what_another_engine_made_meanwhile_is_cancelled(world: World) -> None:
    async with world.process():
        made = await world.order()
        await world.submitted()
    native = replace(made, attempt=2, worker_id="gpu-1", started_at=now_ms() - 3_600_000)
    await world.store(native)
    async with world.process():
        await until(lambda: world.fake.cancelled, "cancelled there")


async def test_a_call_says_the_id_that_no_answer_said(world: World, video: bytes) -> None:
    """The submission arrives, its answer is lost; RunPod calls when it is done."""
    world.fake.odd["run"] = [world.fake.takes_and_is_lost]
    hooks = {"webhook_url": "https://gateway.example.org", "adopt_s": 600}
    async with world.process(**hooks):
        made = await world.order()
        await world.submitted()
        there = world.fake.newest()
        assert there.body["webhook"].startswith("https://gateway.example.org/api/runpod/webhook?job=")
        there.status, there.output = "COMPLETED", {"result": world.fake.video(video)}
        await world.ring(made, there.remote_id)
        await world.succeeded(made)
        assert len(world.fake.jobs) == 1


async def test_a_late_call_about_a_failed_run_is_not_taken_for_the_next_attempts(world: World, video: bytes) -> None:
    """Attempt 1's run has failed; attempt 2's submission arrives and its answer is lost."""
    hooks = {"webhook_url": "https://gateway.example.org", "adopt_s": 600}
    async with world.process(**hooks):
        made = await world.order()
        await world.submitted()
        dead = world.fake.newest()
        dead.status, dead.error = "FAILED", "503 there"
        await world.ring(made, dead.remote_id)
        assert (await world.failed(made)).code is FailureCode.TRANSIENT_ERROR
        world.fake.odd["run"] = [world.fake.takes_and_is_lost]
        again = await world.order(of=replace(made, attempt=2, state=State.QUEUED, worker_id=None))
        await world.submitted(2)
        there = world.fake.newest()
        there.status, there.output = "COMPLETED", {"result": world.fake.video(video)}
        looks = dead.looks
        await world.ring(again, dead.remote_id, signed_attempt=1)
        await world.ring(again, dead.remote_id, signed_attempt=None)  # as earlier gateways wrote it
        await world.ring(again, there.remote_id, signed_attempt=2)
        await world.succeeded(again)
        assert (len(world.fake.jobs), dead.looks) == (2, looks)


async def test_the_id_of_what_runpod_forgot_is_not_taken_for_that_of_the_next_submission(
    world: World, video: bytes
) -> None:
    hooks = {"webhook_url": "https://gateway.example.org", "adopt_s": 600}
    with structlog.testing.capture_logs() as logs:
        async with world.process(**hooks):
            made = await world.order()
            await world.submitted()
            gone = world.fake.newest()
            await world.ring(made, gone.remote_id)
            world.fake.odd["run"] = [world.fake.takes_and_is_lost]
            del world.fake.jobs[gone.remote_id]
            await until(lambda: world.fake.jobs, "submitted again")

            def waits() -> int:
                return len([line for line in logs if line["event"] == "remote_unanswered" and "waits_s" in line])

            await until(lambda: waits() == 1, "waits for a call")
            await world.ring(made)  # one that does not say the id
            await until(lambda: waits() == 2, "goes on waiting")
            there = world.fake.newest()
            there.status, there.output = "COMPLETED", {"result": world.fake.video(video)}
            await world.ring(made, there.remote_id)
            await world.succeeded(made)


async def test_a_call_wakes_up_and_proves_nothing(world: World, video: bytes) -> None:
    hooks = {"webhook_url": "https://gateway.example.org"}
    async with world.process(**hooks, poll_s=600, poll_most_s=600):
        made = await world.order()
        await world.submitted()
        there = world.fake.newest()
        await until(lambda: there.looks, "looked at")
        await world.ring(made, "there-99-e1")  # forged: nothing has happened
        await until(lambda: there.looks == 2, "looked at again")
        there.status, there.output = "COMPLETED", {"result": world.fake.video(video)}
        await world.ring(made)
        await world.succeeded(made)
        assert len(world.fake.jobs) == 1


async def test_a_submission_that_nobody_answers_is_made_again_once(world: World, video: bytes) -> None:
    world.fake.odd["run"] = [lost]
    async with world.process():
        made = await world.order()
        await world.submitted()
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        await world.succeeded(made)
        await world.store(replace(made, state=State.COMPLETED))
    world.fake.odd["run"] = [lost, lost]
    async with world.process():
        failed = await world.failed(await world.order())
        assert (failed.code, failed.message) == (FailureCode.TRANSIENT_ERROR, "RunPod did not keep what it was given.")


async def test_what_runpod_forgets_is_submitted_again_once(world: World, video: bytes) -> None:
    async with world.process():
        made = await world.order()
        await world.submitted()
        gone = world.fake.newest()
        del world.fake.jobs[gone.remote_id]
        await until(lambda: world.fake.jobs, "submitted again")
        assert world.fake.newest().remote_id != gone.remote_id
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        await world.succeeded(made)


async def test_throttling_and_outages_are_waited_out(world: World, video: bytes) -> None:
    world.fake.odd["run"] = [answering(429), answering(503)]
    world.fake.odd["status"] = [answering(500), lost, answering(429), answering(200, text="<html>"), answering(401)]
    async with world.process():
        made = await world.order()
        await world.submitted()
        await world.fake.end(world.fake.newest(), output={"result": world.fake.video(video)})
        await world.succeeded(made)
        assert len(world.fake.jobs) == 1


async def test_a_refused_request_fails_and_says_so(world: World) -> None:
    world.fake.odd["run"] = [answering(400)]
    async with world.process():
        failed = await world.failed(await world.order())
        assert (failed.code, failed.message) == (FailureCode.INVALID_INPUT, "RunPod refused the request (400).")
        assert await world.ready()


async def test_with_a_wrong_key_no_job_is_taken(world: World) -> None:
    async with world.process(api_key="wrong"):
        await until(lambda: "health" in world.fake.asked and len(world.beats()) > 2, "beats")
        await asyncio.sleep(0)
        assert {beat.state for beat in world.beats()} <= {WorkerState.STARTING, WorkerState.DEFUNCT}
        await until(lambda: world.beats()[-1].state is WorkerState.DEFUNCT, "defunct")


async def test_a_key_that_is_refused_later_fails_the_attempt_and_takes_the_slot_out(world: World) -> None:
    world.fake.odd["run"] = [answering(401)]
    async with world.process():
        made = await world.order()
        failed = await world.failed(made)
        assert (failed.code, failed.message) == (FailureCode.MODEL_UNAVAILABLE, "RunPod refuses our key.")
        await until(lambda: world.beats()[-1].state is WorkerState.DEFUNCT, "defunct")
        assert await world.remembered(made) is None  # the next attempt submits
        assert not world.fake.jobs


@pytest.mark.parametrize(
    ("status", "code"),
    [("TIMED_OUT", FailureCode.EXECUTION_TIMEOUT), ("CANCELLED", FailureCode.TRANSIENT_ERROR)],
)
async def test_how_it_ended_there(world: World, status: str, code: FailureCode) -> None:
    async with world.process():
        made = await world.order()
        await world.submitted()
        await world.fake.end(world.fake.newest(), status)
        assert (await world.failed(made)).code is code


async def test_results_that_are_no_video(world: World, video: bytes) -> None:
    odd = {
        "text/html": world.fake.file("page", answering(200, text="<html>", content_type="text/html")),
        "can't be read as a video": world.fake.file("noise", answering(200, body=b"\0" * 5_000)),
        "larger than 100000 bytes": world.fake.file("large", answering(200, body=b"\0" * 100_001)),
        "does not lead to a public address": "http://169.254.169.254/latest/meta-data",
        "must use port": "http://127.0.0.1:22/x",
    }
    async with world.process(result_bytes=100_000):
        for words, url in odd.items():
            made = await world.order()
            there = await until(lambda: world.fake.jobs and world.fake.newest(), "submitted")
            await until(lambda: world.fake.newest().status == "IN_QUEUE", "submitted")
            there = world.fake.newest()
            await world.fake.end(there, output={"result": url})
            failed = await world.failed(made)
            assert failed.code is FailureCode.ENGINE_ERROR, failed
            assert words in failed.message
            await world.store(replace(made, state=State.FAILED))
