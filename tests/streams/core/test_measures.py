"""What a write adds to the numbers: by hand where it is plain, and over whole lives where sums must come out."""

from dataclasses import replace

import pytest

from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, ChargeState, EarlierAttempt, Failure, Job, Refusal
from schemas.lifecycle import State
from streams.core.measures import Measures, measures_of
from tests.repo.jobs import NOW, a_job

QUEUED = a_job("somebody", due_at=NOW + 1_000)
RUNNING = replace(QUEUED, state=State.PROCESSING, started_at=NOW + 4_000, worker_id="w")
SECONDS = QUEUED.charge.seconds


def charged(job: Job, state: ChargeState, seconds: float = SECONDS) -> Job:
    return replace(job, charge=replace(job.charge, state=state, seconds=seconds))


def test_an_admission_reserves() -> None:
    assert measures_of(None, QUEUED) == Measures(admitted=True, reserved=SECONDS)


def test_a_start_ends_the_wait_which_began_when_the_job_was_due() -> None:
    assert measures_of(QUEUED, RUNNING) == Measures(waited=3_000)


def test_a_success_is_an_attempt_a_run_and_a_charge() -> None:
    done = charged(replace(RUNNING, state=State.COMPLETED, finished_at=NOW + 9_000), ChargeState.CAPTURED)
    made = measures_of(RUNNING, done)
    assert made == Measures(
        ended=(State.COMPLETED, ""), attempts=(("succeeded", ""),), ran=5_000, took=9_000, charged=SECONDS
    )
    again = measures_of(replace(RUNNING, run=2), replace(done, run=2))
    assert again.took is None, "how long its user thought it over is no makespan"


@pytest.mark.parametrize("end", [AttemptEnd.FAILED, AttemptEnd.LOST, AttemptEnd.HANDED_BACK])
def test_an_attempt_that_is_made_again_ends_no_run(end: AttemptEnd) -> None:
    code = FailureCode.WORKER_LOST if end is AttemptEnd.LOST else None
    ended = EarlierAttempt(attempt=1, worker_id="w", end=end, code=code)
    again = replace(QUEUED, attempt=2, earlier_attempts=(ended,))
    assert measures_of(RUNNING, again) == Measures(attempts=((str(end), str(code or "")),))


def test_a_failure_gives_back() -> None:
    ended = EarlierAttempt(attempt=1, worker_id="w", end=AttemptEnd.FAILED, code=FailureCode.ENGINE_ERROR)
    failure = Failure(code=FailureCode.ENGINE_ERROR, message="")
    gone = replace(RUNNING, state=State.FAILED, earlier_attempts=(ended,), failure=failure, finished_at=NOW + 9_000)
    made = measures_of(RUNNING, charged(gone, ChargeState.REFUNDED))
    assert made == Measures(
        ended=(State.FAILED, "engine_error"), attempts=(("failed", "engine_error"),), refunded=SECONDS
    )


@pytest.mark.parametrize(("before", "attempts"), [(QUEUED, ()), (RUNNING, (("stopped", "cancelled"),))])
def test_a_cancel_stops_what_runs_and_keeps_what_was_used(before: Job, attempts: tuple[tuple[str, str], ...]) -> None:
    failure = Failure(code=FailureCode.CANCELLED, message="")
    after = charged(replace(before, state=State.CANCELLED, failure=failure), ChargeState.CAPTURED, SECONDS / 4)
    made = measures_of(before, after)
    assert (made.ended, made.attempts) == ((State.CANCELLED, "cancelled"), attempts)
    assert made.charged == pytest.approx(SECONDS / 4)
    assert made.refunded == pytest.approx(SECONDS * 3 / 4)


def test_a_refused_job_that_is_asked_for_again_is_let_in_then() -> None:
    refusal = Refusal(command_id="c", code=FailureCode.QUOTA_EXCEEDED)
    refused = charged(replace(QUEUED, state=State.REJECTED, refusal=refusal), ChargeState.NONE)
    assert measures_of(refused, replace(QUEUED, version=2)) == Measures(admitted=True, reserved=SECONDS)
    assert measures_of(refused, replace(refused, version=2)) == Measures()


def test_a_refusal_is_an_end_that_cost_nothing() -> None:
    refusal = Refusal(command_id="c", code=FailureCode.QUOTA_EXCEEDED)
    refused = charged(replace(QUEUED, state=State.REJECTED, refusal=refusal), ChargeState.NONE)
    assert measures_of(None, refused) == Measures(ended=(State.REJECTED, "quota_exceeded"))


def test_a_manual_retry_is_admitted_and_counts_no_old_attempt_again() -> None:
    stopped = EarlierAttempt(attempt=1, worker_id="w", end=AttemptEnd.STOPPED)
    cancelled = charged(replace(RUNNING, state=State.CANCELLED), ChargeState.REFUNDED)
    again = replace(QUEUED, run=2, attempt=2, earlier_attempts=(stopped,))
    assert measures_of(cancelled, again) == Measures(admitted=True, reserved=SECONDS)


def test_the_deletion_of_what_had_ended_counts_nothing() -> None:
    done = charged(replace(RUNNING, state=State.COMPLETED), ChargeState.CAPTURED)
    assert measures_of(done, replace(done, state=State.DELETED, output=None)) == Measures()
