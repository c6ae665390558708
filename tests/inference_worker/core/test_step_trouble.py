"""The worker by example when time runs out, its child dies, or it is to leave."""

import pytest

from inference_worker.core.effects import (
    Clean,
    DropUpload,
    Exit,
    KillChild,
    Report,
    Say,
    StartChild,
    StopChild,
)
from inference_worker.core.inputs import Acked, Input, Leave, Tick
from schemas.dispatch import AssignmentDeclined, WorkerGone, WorkerState
from schemas.failures import FailureCode
from tests.inference_worker.core.worker_world import (
    LIMITS,
    Driver,
    done,
    drain,
    failed,
    failures,
    gone,
    heartbeat,
    of,
    order,
    ready,
    said,
    stop,
    stopped,
    stored,
    unloadable,
)

W = WorkerState


class TestTime:
    def test_overtime_stops_it_and_reports_the_timeout(self) -> None:
        driver = Driver().ready()
        driver.feed(order(execution_timeout_ms=60_000))
        assert of(StopChild, driver.wait(69_750)) == []
        assert of(StopChild, driver.wait(250)) == [StopChild(1, "j1", 1)]
        driver.feed(stopped())
        assert failures(driver) == [FailureCode.EXECUTION_TIMEOUT]
        assert driver.worker.state is W.READY

    def test_overtime_with_a_deaf_child_kills_it(self) -> None:
        driver = Driver().ready()
        driver.feed(order(execution_timeout_ms=1_000))
        assert of(KillChild, driver.wait(1_000 + LIMITS.overtime_ms + LIMITS.stop_grace_ms))
        assert failures(driver) == [FailureCode.EXECUTION_TIMEOUT]

    def test_a_stop_after_overtime_leaves_the_verdict_to_the_ledger(self) -> None:
        driver = Driver().ready()
        driver.feed(order(execution_timeout_ms=1_000))
        driver.wait(1_000 + LIMITS.overtime_ms)
        driver.feed(stop(), stopped())
        assert driver.reports() == ["started"]

    def test_a_silent_child_is_killed_and_the_attempt_has_crashed(self) -> None:
        driver = Driver().busy()
        assert of(KillChild, driver.wait(LIMITS.silent_ms, heart=False))
        assert failures(driver) == [FailureCode.WORKER_CRASHED]
        assert driver.worker.state is W.STARTING

    def test_a_child_that_does_not_get_on_is_killed(self) -> None:
        driver = Driver().ready()
        driver.wait(LIMITS.stalled_ms * 2)
        driver.feed(order(execution_timeout_ms=10**9))
        driver.feed(heartbeat(1, 10**9))
        for _ in range(LIMITS.stalled_ms // 1000):
            driver.now += 1000
            driver.feed(heartbeat(1, 10**9), Tick())
        assert [kill.words for kill in of(KillChild, driver.effects)] == [
            "The model's process lives but did not get on for 900 s."
        ]
        assert failures(driver) == [FailureCode.WORKER_CRASHED]

    def test_a_silent_idle_child_takes_no_job_on_its_way_out(self) -> None:
        driver = Driver().ready()
        driver.wait(LIMITS.silent_ms, heart=False)
        assert driver.worker.state is W.STARTING
        assert of(AssignmentDeclined, said(driver.feed(order())))

    def test_after_standing_still_itself_it_blames_nobody(self) -> None:
        driver = Driver().busy()
        driver.now += 3_600_000
        assert of(KillChild, driver.feed(Tick())) == []
        assert of(StopChild, driver.effects) == []


class TestDeaths:
    def test_a_death_midway_is_reported_and_the_next_child_started(self) -> None:
        driver = Driver().busy()
        driver.feed(gone())
        [_, report] = of(Report, driver.effects)
        assert report.command.code is FailureCode.WORKER_CRASHED
        assert "SIGKILL" in report.command.message
        assert of(StartChild, driver.wait(1_000)) == [StartChild(2)]
        driver.feed(ready(2))
        assert driver.worker.state is W.READY

    def test_a_child_that_is_up_again_before_the_ack_makes_it_ready(self) -> None:
        driver = Driver(acking=False).busy()
        driver.feed(gone())
        driver.wait(1_000)
        driver.feed(ready(2))
        assert driver.worker.state is W.BUSY
        driver.feed(Acked("j1:1:w1:s1:started"), Acked("j1:1:w1:s1:failed"))
        assert driver.worker.state is W.READY

    def test_five_in_a_row_make_it_defunct_and_it_still_heals(self) -> None:
        driver = Driver()
        for number in range(1, 6):
            driver.wait(60_000)
            assert driver.worker.child.number == number
            driver.feed(gone(number))
        assert driver.worker.state is W.DEFUNCT
        assert driver.beats()[-1].state is W.DEFUNCT
        assert of(StartChild, driver.wait(59_750)) == []
        assert of(StartChild, driver.wait(250)) == [StartChild(6)]
        driver.feed(ready(6))
        assert driver.worker.state is W.READY
        driver.feed(order(), done(6), stored())
        assert driver.worker.child.deaths == 0

    def test_five_attempts_that_each_kill_the_child_make_it_defunct(self) -> None:
        driver = Driver().ready()
        for attempt in range(1, 6):
            driver.feed(order(attempt=attempt), gone(attempt))
            driver.wait(60_000 if attempt < 5 else 0)
            driver.feed(ready(attempt + 1))
        assert driver.worker.state is W.DEFUNCT
        assert failures(driver) == [FailureCode.WORKER_CRASHED] * 5

    def test_a_model_that_cannot_load_makes_it_defunct_until_it_can(self) -> None:
        driver = Driver()
        driver.feed(Tick(), unloadable(), gone())
        assert driver.worker.state is W.DEFUNCT
        driver.wait(LIMITS.defunct_ms)
        driver.feed(ready(2))
        assert driver.worker.state is W.READY

    def test_what_a_replaced_child_still_says_is_ignored(self) -> None:
        driver = Driver().busy()
        driver.feed(gone())
        driver.wait(1_000)
        driver.feed(ready(2), order(attempt=2))
        assert driver.feed(done(1, attempt=2), failed(1, attempt=2), gone(1)) == []
        assert driver.worker.state is W.BUSY

    def test_a_death_during_the_upload_costs_the_attempt_nothing(self) -> None:
        driver = Driver().uploading()
        driver.feed(gone())
        driver.wait(1_000)
        driver.feed(ready(2), stored())
        assert driver.reports() == ["started", "succeeded"]
        assert driver.worker.state is W.READY

    def test_it_is_gone_once(self) -> None:
        driver = Driver().ready()
        driver.feed(gone(), gone(), gone())
        assert driver.worker.child.deaths == 1


class TestLeaving:
    @pytest.mark.parametrize("before", [[], [Tick(), ready()], [Tick(), unloadable()]])
    def test_an_idle_worker_says_so_and_ends(self, before: list[Input]) -> None:
        driver = Driver()
        driver.feed(*before)
        effects = driver.feed(Leave())
        assert [type(message) for message in said(effects)] == [WorkerGone]
        assert effects[-1] == Exit(0)

    def test_a_busy_one_kills_its_child_hands_back_and_ends(self) -> None:
        driver = Driver(acking=False).busy()
        driver.feed(Acked("j1:1:w1:s1:started"))
        effects = driver.feed(Leave())
        assert [type(effect) for effect in effects] == [KillChild, Report, Say]
        assert driver.worker.state is W.DRAINING
        effects = driver.feed(Acked("j1:1:w1:s1:handed_back"))
        assert [type(effect) for effect in effects] == [Clean, Say, Exit]
        assert driver.reports() == ["started", "handed_back"]

    def test_a_second_signal_ends_it_at_once(self) -> None:
        driver = Driver(acking=False).busy()
        driver.feed(Leave())
        assert driver.feed(Leave()) == [Exit(1)]
        assert driver.feed(Tick(), order(), Leave()) == []

    def test_nothing_holds_it_longer_than_its_supervisor_bears(self) -> None:
        driver = Driver(acking=False).busy()
        driver.feed(Leave())
        assert of(Exit, driver.wait(LIMITS.leave_ms)) == [Exit(0)]
        assert LIMITS.leave_ms < 4_000

    def test_an_upload_may_end_in_the_moment_that_is_left(self) -> None:
        driver = Driver().uploading()
        assert of(DropUpload, driver.feed(Leave())) == []
        assert of(Exit, driver.feed(stored())) == [Exit(0)]
        assert driver.reports() == ["started", "succeeded"]

    def test_an_upload_that_takes_longer_is_handed_back(self) -> None:
        driver = Driver().uploading()
        driver.feed(Leave())
        effects = driver.wait(LIMITS.leave_upload_ms)
        assert of(DropUpload, effects)
        assert of(Exit, effects) == [Exit(0)]
        assert driver.reports() == ["started", "handed_back"]

    def test_a_drain_finishes_what_runs_and_then_ends(self) -> None:
        driver = Driver().busy()
        driver.feed(drain())
        assert driver.beats()[-1].state is W.DRAINING
        assert driver.beats()[-1].job_id == "j1"
        driver.wait(60_000)
        assert of(Exit, driver.feed(done(), stored())) == [Exit(0)]
        assert driver.reports() == ["started", "succeeded"]

    def test_a_drain_now_hands_back(self) -> None:
        driver = Driver().busy()
        assert of(Exit, driver.feed(drain(now=True))) == [Exit(0)]
        assert driver.reports() == ["started", "handed_back"]

    def test_a_signal_while_draining_hands_back(self) -> None:
        driver = Driver().busy()
        driver.feed(drain())
        assert of(Exit, driver.feed(Leave())) == [Exit(0)]
        assert driver.reports() == ["started", "handed_back"]

    def test_a_stopped_attempt_is_not_handed_back(self) -> None:
        driver = Driver().busy()
        driver.feed(stop(), Leave())
        assert driver.reports() == ["started"]
        assert driver.worker.exited

    def test_a_child_that_dies_while_draining_is_not_replaced(self) -> None:
        driver = Driver(acking=False).busy()
        driver.feed(drain(), gone())
        assert of(StartChild, driver.wait(120_000)) == []
        assert driver.reports() == ["started", "failed"]
