"""The worker by example: each rule of ``step`` for an attempt, for orders, and for a stop."""

import pytest

from inference_worker.core.attempt import Stage
from inference_worker.core.effects import (
    Clean,
    DropUpload,
    Generate,
    KillChild,
    Report,
    Say,
    Show,
    StartChild,
    StopChild,
    Upload,
)
from inference_worker.core.inputs import Acked, Input, Tick
from schemas.dispatch import AssignmentDeclined, WorkerState
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress
from tests.inference_worker.core.worker_world import (
    LIMITS,
    Driver,
    done,
    drain,
    failed,
    failures,
    gone,
    heartbeat,
    loading,
    media,
    not_stored,
    of,
    order,
    preview,
    progress,
    ready,
    said,
    stop,
    stopped,
    stored,
    stored_some,
    unloadable,
)

W = WorkerState


class TestOneAttempt:
    def test_from_start_to_stored_in_order(self) -> None:
        driver = Driver()
        assert of(StartChild, driver.feed(Tick())) == [StartChild(1)]
        assert driver.worker.state is W.STARTING
        driver.feed(loading(), ready())
        effects = driver.feed(order())
        assert [type(effect) for effect in effects] == [Report, Generate, Say]
        effects = driver.feed(progress(), preview(), done())
        assert of(Upload, effects) == [Upload(order(), media())]
        assert [type(show.message) for show in of(Show, effects)] == [AttemptProgress, AttemptPreview, AttemptProgress]
        assert of(Show, effects)[-1].message.phase is Phase.UPLOAD
        effects = driver.feed(stored())
        assert of(Clean, effects) == [Clean("j1", 1)]
        assert driver.reports() == ["started", "succeeded"]
        assert [beat.state for beat in driver.beats()] == [W.STARTING, W.READY, W.BUSY, W.READY]
        assert [(beat.job_id, beat.attempt) for beat in driver.beats()][1:] == [(None, None), ("j1", 1), (None, None)]
        assert driver.beats()[-1].engine == "tiny"

    def test_ready_waits_until_the_last_report_is_acknowledged(self) -> None:
        driver = Driver(acking=False).uploading()
        driver.feed(stored())
        assert driver.worker.state is W.BUSY
        driver.feed(Acked("j1:1:w1:s1:succeeded"))
        assert driver.worker.state is W.BUSY
        driver.feed(Acked("j1:1:w1:s1:started"))
        assert driver.worker.state is W.READY

    def test_a_failure_is_reported_and_the_child_trusted_once_its_heart_beats(self) -> None:
        driver = Driver().busy()
        driver.feed(failed(code=FailureCode.OUT_OF_MEMORY))
        assert failures(driver) == [FailureCode.OUT_OF_MEMORY]
        assert driver.worker.state is W.BUSY
        driver.feed(heartbeat())
        assert driver.worker.state is W.READY

    def test_a_child_that_ends_behind_its_failure_is_replaced_and_nothing_else_fails(self) -> None:
        driver = Driver().busy()
        driver.feed(failed(), gone())
        assert driver.worker.state is W.STARTING
        assert driver.reports() == ["started", "failed"]

    def test_an_attempt_stopped_by_itself_is_a_crash(self) -> None:
        driver = Driver().busy()
        driver.feed(stopped())
        assert failures(driver) == [FailureCode.WORKER_CRASHED]

    def test_files_that_could_not_be_stored_fail_it(self) -> None:
        driver = Driver().uploading()
        driver.feed(stored_some(1), not_stored())
        assert failures(driver) == [FailureCode.STORAGE_UNAVAILABLE]
        assert driver.worker.state is W.READY

    def test_upload_steps_are_shown(self) -> None:
        driver = Driver().uploading()
        effects = driver.feed(stored_some(3))
        assert [(s.message.phase, s.message.step, s.message.fraction) for s in of(Show, effects)] == [("upload", 3, 1)]

    def test_beats_come_every_five_seconds_and_numbers_only_grow(self) -> None:
        driver = Driver().busy()
        before = len(driver.beats())
        driver.wait(20_000)
        assert len(driver.beats()) == before + 4
        driver.feed(progress(), preview(), order("j2"))
        numbers = [e.message.sequence for e in driver.effects if isinstance(e, Say | Show)]
        assert numbers == sorted(set(numbers))


class TestOrders:
    def test_another_sessions_orders_are_ignored(self) -> None:
        driver = Driver().ready()
        assert driver.feed(order(session="s0")) == []
        driver.feed(order())
        assert driver.feed(stop(session="s0")) == []
        assert driver.worker.attempt

    def test_another_workers_orders_are_ignored(self) -> None:
        assert Driver().ready().feed(order(worker_id="w2")) == []

    def test_a_repeated_order_is_answered_with_a_beat(self) -> None:
        driver = Driver().busy()
        effects = driver.feed(order())
        assert [type(effect) for effect in effects] == [Say]
        assert said(effects)[0].job_id == "j1"

    def test_an_order_that_ended_here_is_declined_not_run_again(self) -> None:
        driver = Driver().uploading()
        driver.feed(stored())
        effects = driver.feed(order())
        assert of(AssignmentDeclined, said(effects))[0].reason == "it has already ended here"
        assert driver.worker.state is W.READY
        assert of(Generate, driver.feed(order(attempt=2)))

    @pytest.mark.parametrize(
        ("before", "reason"),
        [
            ([], "loading"),
            ([Tick(), ready(), order("other")], "busy"),
            ([Tick(), ready(), order("other"), drain()], "draining"),
            ([Tick(), unloadable()], "does not run"),
        ],
    )
    def test_who_cannot_take_it_declines(self, before: list[Input], reason: str) -> None:
        driver = Driver()
        driver.feed(*before)
        effects = driver.feed(order())
        [declined] = of(AssignmentDeclined, said(effects))
        assert (declined.job_id, declined.attempt) == ("j1", 1)
        assert reason in declined.reason
        assert not of(Generate, effects)


class TestStop:
    def test_stopped_at_its_next_step_and_nothing_is_reported(self) -> None:
        driver = Driver().busy()
        assert of(StopChild, driver.feed(stop())) == [StopChild(1, "j1", 1)]
        assert of(Show, driver.feed(progress(), preview())) == []
        driver.feed(stopped())
        assert driver.worker.state is W.READY
        assert driver.reports() == ["started"]

    @pytest.mark.parametrize("answer", [done(), failed(), stopped()])
    def test_whatever_it_answers_is_discarded(self, answer: Input) -> None:
        driver = Driver().busy()
        driver.feed(stop(), answer, heartbeat())
        assert driver.worker.state is W.READY
        assert driver.reports() == ["started"]
        assert of(Upload, driver.effects) == []

    def test_a_child_that_does_not_stop_is_killed_and_replaced_at_once(self) -> None:
        driver = Driver().busy()
        driver.feed(stop())
        assert of(KillChild, driver.wait(LIMITS.stop_grace_ms - 250)) == []
        assert [kill.child for kill in of(KillChild, driver.wait(250))] == [1]
        assert driver.worker.state is W.STARTING
        driver.feed(gone())
        assert of(StartChild, driver.wait(250)) == [StartChild(2)]
        assert driver.worker.child.deaths == 0
        assert driver.reports() == ["started"]

    def test_repeated_stops_do_not_prolong_the_grace(self) -> None:
        driver = Driver().busy()
        driver.feed(stop())
        driver.wait(LIMITS.stop_grace_ms - 250)
        assert driver.feed(stop()) == []
        assert of(KillChild, driver.wait(250))

    def test_a_child_that_dies_of_it_ends_it_too(self) -> None:
        driver = Driver().busy()
        driver.feed(stop(), gone())
        assert driver.reports() == ["started"]
        assert driver.worker.state is W.STARTING

    def test_during_the_upload_it_is_dropped(self) -> None:
        driver = Driver().uploading()
        assert of(DropUpload, driver.feed(stop())) == [DropUpload(order())]
        driver.feed(stored())
        assert driver.reports() == ["started"]
        assert driver.worker.state is W.READY

    @pytest.mark.parametrize("late", [stored(), not_stored()])
    def test_news_of_a_dropped_upload_come_too_late(self, late: Input) -> None:
        driver = Driver(acking=False).uploading()
        driver.feed(stop())
        assert driver.feed(late) == []
        assert driver.reports() == ["started"]

    def test_after_success_it_is_too_late_and_harmless(self) -> None:
        driver = Driver(acking=False).uploading()
        driver.feed(stored())
        assert [e for e in driver.feed(stop()) if not isinstance(e, Say)] == []
        assert driver.reports() == ["started", "succeeded"]

    def test_of_something_else_changes_nothing_but_says_how_it_stands(self) -> None:
        driver = Driver().busy()
        effects = driver.feed(stop("j2"))
        assert said(effects)[0].job_id == "j1"
        assert driver.worker.attempt
        assert driver.worker.attempt.stage is Stage.GENERATING
