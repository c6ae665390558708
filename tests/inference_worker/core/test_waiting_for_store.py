"""An attempt whose files no store takes: it says so, keeps its lease, and ends at once when it is told to."""

from inference_worker.core.effects import DropUpload, KillChild, Report, Say, Show
from inference_worker.core.inputs import Leave, StoreAway
from schemas.dispatch import WorkerState
from schemas.phases import Phase
from schemas.progress import AttemptProgress
from tests.inference_worker.core.worker_world import (
    LIMITS,
    Driver,
    done,
    not_stored,
    of,
    order,
    progress,
    stop,
    stored,
    stored_some,
)

AWAY = StoreAway("j1", 1)
HOUR_MS = 3_600_000


def shown(effects: list[object]) -> list[AttemptProgress]:
    return of(AttemptProgress, [show.message for show in of(Show, effects)])


def waiting() -> Driver:
    driver = Driver().uploading()
    driver.feed(AWAY)
    return driver


def test_that_it_waits_is_said_at_once_and_no_time_is_promised() -> None:
    driver = Driver().busy()
    driver.feed(progress(1), progress(10), done())
    assert shown(driver.effects)[-1].eta_ms is not None
    [said] = shown(driver.feed(AWAY))
    assert (said.phase, said.step, said.steps, said.waits_for, said.eta_ms) == (Phase.UPLOAD, 0, 3, "s3", None)


def test_it_is_said_again_and_again_with_the_time_that_has_passed() -> None:
    driver = waiting()
    begin = shown(driver.effects)[-1]
    again = shown(driver.wait(3 * LIMITS.waiting_ms))
    assert [(one.step, one.waits_for) for one in again] == [(0, "s3")] * 3
    assert [one.elapsed_ms - begin.elapsed_ms for one in again] == [LIMITS.waiting_ms * n for n in (1, 2, 3)]
    assert {one.fraction for one in again} == {begin.fraction}


def test_a_file_that_is_taken_ends_the_wait_and_the_next_may_wait_again() -> None:
    driver = waiting()
    driver.wait(LIMITS.waiting_ms)
    [said] = shown(driver.feed(stored_some(1)))
    assert (said.step, said.waits_for) == (1, None)
    assert shown(driver.wait(2 * LIMITS.waiting_ms)) == [], "nothing waits, nothing is said"
    [said] = shown(driver.feed(AWAY))
    assert (said.step, said.waits_for) == (1, "s3")
    driver.feed(stored())
    assert driver.reports() == ["started", "succeeded"]
    assert shown(driver.wait(2 * LIMITS.waiting_ms)) == []


def test_an_hour_of_it_renews_the_lease_all_the_while_and_the_idle_child_is_left_alone() -> None:
    driver = waiting()
    effects = driver.wait(HOUR_MS)
    assert not of(KillChild, effects), "a child without work need not get on"
    beats = [say.message for say in of(Say, effects)]
    assert len(beats) == HOUR_MS // LIMITS.beat_ms
    assert {(beat.job_id, beat.attempt, beat.state) for beat in beats} == {("j1", 1, WorkerState.BUSY)}  # type: ignore[union-attr]
    assert not of(Report, effects)
    driver.feed(stored())
    assert driver.reports() == ["started", "succeeded"]


def test_past_its_execution_timeout_the_ledgers_word_ends_it_and_not_the_worker() -> None:
    """The video is made: should the scheduler not say stop (it is away itself), it is still worth delivering."""
    driver = waiting()
    assert not of(Report, driver.wait(order().execution_timeout_ms + 2 * LIMITS.overtime_ms))
    effects = driver.feed(stop())
    assert [type(effect) for effect in effects if isinstance(effect, DropUpload | Report)] == [DropUpload]
    assert driver.worker.state is WorkerState.READY


def test_a_cancel_meanwhile_frees_the_worker_at_once() -> None:
    driver = waiting()
    effects = driver.feed(stop())
    assert of(DropUpload, effects) == [DropUpload(order())]
    assert driver.worker.state is WorkerState.READY
    assert driver.worker.attempt is None
    assert shown(driver.feed(AWAY, not_stored())) == [], "news of a dropped upload"
    assert driver.reports() == ["started"]


def test_sigterm_meanwhile_hands_the_job_back_in_time() -> None:
    driver = waiting()
    driver.feed(Leave())
    effects = driver.wait(LIMITS.leave_upload_ms)
    assert of(DropUpload, effects) == [DropUpload(order())]
    assert driver.reports() == ["started", "handed_back"]
