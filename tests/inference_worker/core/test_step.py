"""The worker by example: each rule of ``step``, then every situation against every input."""

from collections.abc import Callable

import pytest

from inference_worker.core.attempt import Stage
from inference_worker.core.child_life import ChildPhase
from inference_worker.core.effects import (
    Clean,
    DropUpload,
    Exit,
    Generate,
    KillChild,
    Report,
    Say,
    Show,
    StartChild,
    StopChild,
    Upload,
)
from inference_worker.core.inputs import Acked, Input, Leave, Tick
from inference_worker.core.step import step
from schemas.commands import AttemptFailed, AttemptSucceeded
from schemas.dispatch import AssignmentDeclined, WorkerBeat, WorkerGone, WorkerState
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress
from tests.inference_worker.core.worker_world import (
    LIMITS,
    Driver,
    done,
    drain,
    failed,
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
    stop,
    stopped,
    stored,
    stored_some,
    unloadable,
)

W = WorkerState


def said(effects: list) -> list:
    return [effect.message for effect in effects if isinstance(effect, Say)]


def failures(driver: Driver) -> list[FailureCode]:
    return [report.command.code for report in of(Report, driver.effects) if isinstance(report.command, AttemptFailed)]


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


Situation = Callable[[], Driver]


def fed(*inputs: Input, acking: bool = True) -> Situation:
    def made() -> Driver:
        driver = Driver(acking=acking)
        driver.feed(*inputs)
        return driver

    return made


def killed() -> Driver:
    driver = Driver(acking=False).busy()
    driver.feed(stop())
    driver.wait(LIMITS.stop_grace_ms)
    return driver


UP = (Tick(), ready())
SITUATIONS: dict[str, Situation] = {
    "new": fed(),
    "loading": fed(Tick()),
    "child lost while loading": fed(Tick(), gone()),
    "ready": fed(*UP),
    "child lost while ready": fed(*UP, gone()),
    "generating": fed(*UP, order()),
    "stopping": fed(*UP, order(), stop()),
    "uploading": fed(*UP, order(), done()),
    "ending": fed(*UP, order(), done(), stored(), acking=False),
    "failed and doubted": fed(*UP, order(), failed()),
    "crashed and unacknowledged": fed(*UP, order(), gone(), acking=False),
    "killed": killed,
    "defunct": fed(Tick(), unloadable()),
    "defunct, child gone": fed(Tick(), unloadable(), gone()),
    "draining while generating": fed(*UP, order(), drain()),
    "draining while uploading": fed(*UP, order(), done(), drain()),
    "leaving": fed(*UP, order(), Leave(), acking=False),
    "exited": fed(*UP, Leave()),
}
INPUTS: dict[str, Input] = {
    "tick": Tick(),
    "leave": Leave(),
    "loading": loading(),
    "ready": ready(),
    "unloadable": unloadable(),
    "heartbeat": heartbeat(),
    "progress": progress(),
    "preview": preview(),
    "done": done(),
    "failed": failed(),
    "stopped": stopped(),
    "child gone": gone(),
    "run": order(),
    "run another": order("j2"),
    "stop": stop(),
    "stop another": stop("j2"),
    "drain": drain(),
    "drain now": drain(now=True),
    "stored some": stored_some(),
    "stored": stored(),
    "not stored": not_stored(),
    "acked": Acked("j1:1:w1:s1:succeeded"),
    "acked something": Acked("who knows"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("waited_ms", [0, 250, 3_000])
def test_every_situation_meets_every_input(situation: str, name: str, waited_ms: int) -> None:
    driver = SITUATIONS[situation]()
    before = driver.worker
    after, effects = step(before, INPUTS[name], driver.now + waited_ms)
    again, same_effects = step(before, INPUTS[name], driver.now + waited_ms)
    assert (after, effects) == (again, same_effects)
    assert after.sequence >= before.sequence
    if before.exited:
        assert (after, effects) == (before, ())
        return
    assert not (after.state is W.READY and after.child.phase is not ChildPhase.UP)
    assert (after.attempt is not None) == (after.state is W.BUSY) or after.state is W.DRAINING
    assert len(of(Generate, list(effects))) == (situation == "ready" and name.startswith("run"))
    verdicts = [e for e in of(Report, list(effects)) if not e.command.command_id.endswith("started")]
    assert len(verdicts) <= 1
    if any(isinstance(report.command, AttemptSucceeded) for report in verdicts):
        assert name == "stored"
    if after.state is not before.state and not after.exited:
        assert of(WorkerBeat, said(list(effects)))[-1].state is after.state
