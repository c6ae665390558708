"""The parent over memory twins: one attempt's whole way, outages, deaths and departures."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from inference_worker.core.limits import Limits
from inference_worker.messages import AttemptStopped, Preview, Progress, Unloadable
from repo import notify
from repo.core.object_keys import file_key
from schemas.commands import AttemptFailed, AttemptSucceeded
from schemas.dispatch import AssignmentDeclined, DrainSession, StopAttempt, WorkerBeat, WorkerGone, WorkerState
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress
from tests.inference_worker.parent_world import ME, World, order, running, send, until


def stop_of(job_id: str = "j1", attempt: int = 1) -> StopAttempt:
    return StopAttempt(worker_id=ME.worker_id, session=ME.session, job_id=job_id, attempt=attempt)


async def reported(world: World, what: str) -> None:
    await until(lambda: what in world.reports(), f"report {what}; seen {world.reports()}")


async def test_an_order_becomes_stored_files_and_reports(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        world.child.say(
            Progress(job_id="j1", attempt=1, phase=Phase.DENOISE, step=1, steps=2, elapsed_ms=5, phase_ms=5)
        )
        world.child.say(Preview(job_id="j1", attempt=1, step=1, steps=2, jpeg=b"\xff\xd8"))
        directory = world.child.asked[0][2]
        media = world.child.finish()
        await reported(world, "succeeded")
        await world.ready()
        [done] = [one for one in world.said("commands") if isinstance(one, AttemptSucceeded)]
        assert done.command_id == "j1:1:w1:s1:succeeded"
        assert done.output.video
        assert done.output.video.sha256 == media.video.sha256
        assert done.output.frames == 7
        for kind in ("video", "poster", "thumbnail"):
            stored = getattr(done.output, kind)
            assert stored.key == file_key("u1", "j1", 1, "w1", "s1", kind)
            assert hashlib.sha256(world.objects.objects[stored.key][0]).hexdigest() == stored.sha256
        await until(lambda: not directory.exists(), "the attempt's directory gone")
        states = [beat.state for beat in world.beats()]
        assert WorkerState.BUSY in states
        assert states[-1] is WorkerState.READY
        await until(
            lambda: (
                any(isinstance(one, AttemptProgress) for one in world.said("progress"))
                and any(isinstance(one, AttemptPreview) for one in world.said("progress"))
            ),
            "progress and a preview",
        )


async def test_in_a_hurry_no_phase_and_no_last_step_is_skipped(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        for phase in (Phase.ENCODE_PROMPT, Phase.DENOISE, Phase.DECODE, Phase.ENCODE):
            for step in range(5):
                world.child.say(
                    Progress(job_id="j1", attempt=1, phase=phase, step=step, steps=4, elapsed_ms=0, phase_ms=0)
                )
        world.child.finish()
        await reported(world, "succeeded")

        def last_steps() -> bool:
            shown = [one for one in world.said("progress") if isinstance(one, AttemptProgress)]
            return {one.phase for one in shown if one.step == one.steps} == set(Phase) - {Phase.LOAD}

        await until(last_steps, "the last step of every phase")
        sequences = [one.sequence for one in world.said("progress") if isinstance(one, AttemptProgress)]
        assert sequences == sorted(sequences)


async def test_orders_from_before_the_start_and_for_others_are_not_taken(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as world:
        await send(world.log, order("before"))
        world.running = asyncio.create_task(world.parent.run())
        await world.ready()
        await send(world.log, order("other session", session="s0"))
        await send(world.log, order("other worker", worker_id="w2"))
        await world.busy(order("mine"))
        assert [job_id for job_id, _, _ in world.child.asked] == ["mine"]


async def test_a_busy_worker_declines_and_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy(order("j1"), order("j2"))
        declined = await until(
            lambda: next((one for one in world.said("dispatch") if isinstance(one, AssignmentDeclined)), None),
            "declined",
        )
        assert declined.job_id == "j2"
        world.child.finish()
        await reported(world, "succeeded")
        assert [job_id for job_id, _, _ in world.child.asked] == ["j1"]


async def test_a_stop_reaches_the_child_and_nothing_is_reported(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        await send(world.log, stop_of())
        await until(lambda: world.child.stops == [("j1", 1)], "the child told")
        world.child.say(AttemptStopped(job_id="j1", attempt=1))
        await world.ready()
        assert world.reports() == ["started"]


async def test_a_stop_during_the_upload_deletes_what_was_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        stored = asyncio.Event()
        first = world.objects.put_file

        async def slow(key: str, path: Path, media_type: str):  # type: ignore[no-untyped-def]
            if key.endswith(".mp4"):
                return await first(key, path, media_type)
            stored.set()
            return await asyncio.Event().wait()

        world.objects.put_file = slow  # type: ignore[method-assign]
        world.child.finish()
        await stored.wait()
        assert world.objects.objects
        await send(world.log, stop_of())
        await until(lambda: not world.objects.objects, "the stored files deleted")
        await world.ready()
        assert world.reports() == ["started"]


async def test_a_child_that_dies_midway_fails_the_attempt_and_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        world.child.die()
        await reported(world, "failed")
        [failed] = [one for one in world.said("commands") if isinstance(one, AttemptFailed)]
        assert failed.code is FailureCode.WORKER_CRASHED
        assert "SIGSEGV" in failed.message
        await until(lambda: len(world.children) == 2, "another child")
        await world.ready()
        assert world.children[0].closed


async def test_a_model_that_does_not_load_makes_it_defunct_and_it_heals(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as world:
        world.loads = False
        world.running = asyncio.create_task(world.parent.run())
        await until(lambda: world.children, "a child")
        world.loads = True
        world.child.say(Unloadable(engine="mochi", code=FailureCode.MODEL_UNAVAILABLE, message="no weights"))
        await until(lambda: WorkerState.DEFUNCT in [beat.state for beat in world.beats()], "a DEFUNCT beat")
        await world.ready()
        assert len(world.children) == 2


async def test_during_an_outage_of_the_log_the_attempt_goes_on_and_every_report_arrives_in_order(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, Limits(beat_ms=50)) as world:
        await world.busy()
        await reported(world, "started")
        world.log.away = True
        beats = len(world.beats())
        world.child.finish()
        await until(lambda: len(world.objects.objects) == 3, "the files stored")
        await until(lambda: world.parent.worker.attempt and world.parent.worker.attempt.unacked, "a report waiting")
        sequence = world.parent.worker.sequence
        await until(lambda: world.parent.worker.sequence > sequence + 5, "beats that could not be sent")
        assert world.state is WorkerState.BUSY
        world.log.away = False
        await reported(world, "succeeded")
        await world.ready()
        assert world.reports() == ["started", "succeeded"]
        numbers = [beat.sequence for beat in world.beats()]
        assert numbers == sorted(numbers)
        assert numbers[beats] > sequence, "the beats of the outage were dropped, but for the newest"


async def test_an_outage_of_the_store_is_waited_out(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        world.objects.away = True
        world.child.finish()
        await until(lambda: world.parent.worker.attempt and world.parent._uploads, "the upload begun")
        world.objects.away = False
        await reported(world, "succeeded")


async def test_a_store_that_stays_away_fails_the_attempt_in_words(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        world.objects.away = True
        world.child.finish()
        await reported(world, "failed")
        [failed] = [one for one in world.said("commands") if isinstance(one, AttemptFailed)]
        assert failed.code is FailureCode.STORAGE_UNAVAILABLE
        await world.ready()


async def test_it_waits_for_its_servers_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(notify, "notify", told.append)
    async with running(tmp_path, start=False) as world:
        world.log.away = world.objects.away = True
        world.running = asyncio.create_task(world.parent.run())
        await until(lambda: "STATUS=waiting for Kafka" in told, "word of Kafka")
        assert not world.children
        world.log.away = False
        await until(lambda: "STATUS=waiting for S3" in told, "word of S3")
        world.objects.away = False
        await world.ready()
        assert told[-1] == "READY=1\nSTATUS=engine played on nothing, pool mochi-1"
        assert "STATUS=waiting for the model to load" in told


async def test_told_to_leave_while_waiting_it_ends(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as world:
        world.log.away = True
        world.running = asyncio.create_task(world.parent.run())
        await asyncio.sleep(0)
        world.parent.leave()
        assert await world.ended() == 0


async def test_sigterm_hands_back_says_gone_and_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        world.parent.leave()
        assert await world.ended() == 0
        assert world.reports() == ["started", "handed_back"]
        assert isinstance(world.said("dispatch")[-1], WorkerGone)
        assert world.child.killed
        assert world.child.closed
        assert list(world.work.path.iterdir()) == []


async def test_sigterm_when_idle_just_says_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.ready()
        world.parent.leave()
        assert await world.ended() == 0
        assert isinstance(world.said("dispatch")[-1], WorkerGone)
        assert world.reports() == []
        assert world.child.closed


async def test_sigterm_during_an_outage_does_not_wait_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, Limits(leave_ms=300)) as world:
        await world.busy()
        world.log.away = True
        world.parent.leave()
        assert await world.ended() == 0


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        world.log.away = True
        world.parent.leave()
        world.parent.leave()
        assert await world.ended() == 1
        assert world.child.closed


async def test_a_drain_finishes_and_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.busy()
        await send(world.log, DrainSession(worker_id=ME.worker_id, session=ME.session))
        await until(lambda: world.beats()[-1].state is WorkerState.DRAINING, "a DRAINING beat")
        world.child.finish()
        assert await world.ended() == 0
        assert world.reports() == ["started", "succeeded"]


async def test_no_room_for_a_directory_fails_the_attempt_as_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as world:
        await world.ready()

        def full() -> Path:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(world.work, "attempt_dir", full)
        await send(world.log, order())
        await reported(world, "failed")
        [failed] = [one for one in world.said("commands") if isinstance(one, AttemptFailed)]
        assert failed.code is FailureCode.TRANSIENT_ERROR
        assert "No space left" in failed.message


async def test_a_fault_in_a_task_ends_the_process_not_just_the_task(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.ready()

        def broken(_: object) -> None:
            raise RuntimeError("a fault")

        world.parent._keeper._take = broken
        world.child.say(AttemptStopped(job_id="j1", attempt=1))
        with pytest.raises(RuntimeError, match="a fault"):
            await world.ended()
        assert world.child.closed


async def test_beats_go_on_while_nothing_happens(tmp_path: Path) -> None:
    async with running(tmp_path, Limits(beat_ms=20)) as world:
        await world.ready()
        known = len(world.beats())
        await until(lambda: len(world.beats()) >= known + 3, "three more beats")
        assert all(isinstance(one, WorkerBeat) for one in world.said("dispatch"))
