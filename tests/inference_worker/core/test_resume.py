"""An attempt of the session before: busy from the first beat on, its child told once there is one."""

from inference_worker.core.effects import Effect, Exit, Generate, Report, Say, StartChild
from inference_worker.core.inputs import Leave, Resume, Tick
from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptStarted
from schemas.dispatch import WorkerBeat, WorkerState
from schemas.failures import FailureCode
from tests.inference_worker.core.worker_world import Driver, done, drain, order, ready, stop, stored


def beats(effects: list[Effect]) -> list[WorkerBeat]:
    return [one.message for one in effects if isinstance(one, Say) and isinstance(one.message, WorkerBeat)]


def reports(effects: list[Effect], kind: type) -> list[object]:
    return [one.command for one in effects if isinstance(one, Report) and isinstance(one.command, kind)]


def test_the_first_beat_names_it_and_no_beat_says_that_the_worker_is_free() -> None:
    driver = Driver()
    effects = driver.feed(Resume(order(), age_ms=5_000), Tick(), ready())
    said = beats(effects)
    assert {(beat.state, beat.job_id, beat.attempt) for beat in said} == {(WorkerState.BUSY, "j1", 1)}
    assert len(reports(effects, AttemptStarted)) == 1
    assert [type(one) for one in effects if isinstance(one, StartChild | Generate)] == [StartChild, Generate]
    driver.feed(done(), stored())
    assert driver.worker.state is WorkerState.READY


def test_its_time_began_before_this_process() -> None:
    driver = Driver()
    made = order(execution_timeout_ms=60_000)
    driver.feed(Resume(made, age_ms=69_000), Tick(), ready())
    assert driver.worker.attempt
    assert driver.worker.attempt.verdict is None
    driver.wait(1_000)
    verdict = driver.worker.attempt.verdict if driver.worker.attempt else None
    assert isinstance(verdict, AttemptFailed)
    assert verdict.code is FailureCode.EXECUTION_TIMEOUT


def test_a_worker_that_only_finishes_what_it_had_starts_a_child_for_that_and_ends() -> None:
    driver = Driver()
    effects = driver.feed(Resume(order(), age_ms=0), drain(), Tick(), ready())
    assert [one for one in effects if isinstance(one, Generate)]
    assert Exit(0) in driver.feed(done(), stored())


def test_it_can_be_stopped_and_handed_back_before_there_is_a_child() -> None:
    driver = Driver()
    driver.feed(Resume(order(), age_ms=0), stop())
    driver.wait(15_000, heart=False)
    assert driver.worker.attempt is None
    other = Driver()
    effects = other.feed(Resume(order(), age_ms=0), Leave())
    assert len(reports(effects, AttemptHandedBack)) == 1
    assert Exit(0) in effects


def test_nothing_is_resumed_later() -> None:
    driver = Driver()
    driver.feed(Tick(), ready(), Resume(order(), age_ms=0))
    assert driver.worker.state is WorkerState.READY
    assert driver.worker.attempt is None
