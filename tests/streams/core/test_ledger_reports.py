"""What becomes of attempts: retries, late successes, two workers on one attempt."""

import pytest

from schemas.events import FilesDiscarded
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, ChargeState
from schemas.lifecycle import State
from schemas.slots import Slot
from streams.core.policy import Policy
from tests.streams.core.ledger_documents import (
    NOON,
    SECOND,
    USER,
    Documents,
    cancel,
    delete,
    failed,
    gone,
    handed_back,
    lost,
    retry,
    started,
    submit,
    succeeded,
)

C = FailureCode


def queued(**policy: object) -> Documents:
    documents = Documents(Policy(**policy))  # type: ignore[arg-type]
    documents.do(submit())
    return documents


def test_a_job_from_queue_to_video() -> None:
    documents = queued()
    documents.do(started(), now=NOON + 1)
    job = documents.job()
    assert (job.state, job.worker_id, job.started_at) == (State.PROCESSING, "w1", NOON + 1)
    documents.do(succeeded(), now=NOON + 9)
    job = documents.job()
    assert (job.state, job.winning_attempt, job.worker_id, job.finished_at) == (State.COMPLETED, 1, "w1", NOON + 9)
    assert job.charge.state is ChargeState.CAPTURED
    assert job.output == succeeded().output
    assert documents.discarded == []


def test_a_success_implies_that_it_started() -> None:
    documents = queued()
    documents.do(succeeded(), now=NOON + 9)
    assert (documents.job().state, documents.job().started_at) == (State.COMPLETED, NOON + 9)


def test_two_workers_on_one_attempt_the_second_is_told_to_stop_and_never_seen() -> None:
    documents = queued()
    documents.do(started("w1"))
    second = documents.do(started("w2"))
    assert (second.write, second.jobs, gone(second)) == (None, (documents.job(),), {(1, "w2")})
    assert gone(documents.do(succeeded("w2"))) == {(1, "w2")}
    assert documents.job().state is State.PROCESSING
    documents.do(succeeded("w1"))
    assert gone(documents.do(succeeded("w2"))) == {(1, "w2")}
    assert gone(documents.do(succeeded("w1"))) == set(), "told twice, the winner's files stay"
    assert documents.job().output == succeeded("w1").output


def test_retries_wait_and_end() -> None:
    documents = queued(max_retries=2, backoff_base_ms=1_000, backoff_factor=4)
    due = []
    for attempt in (1, 2, 3):
        documents.do(started(attempt=attempt))
        decision = documents.do(failed(attempt=attempt, code=C.WORKER_CRASHED))
        assert (attempt, "w1") in gone(decision)
        due.append(documents.job().due_at - NOON)
        if attempt < 3:
            job = documents.job()
            assert (job.state, job.attempt, job.tries) == (State.QUEUED, attempt + 1, attempt + 1)
            assert (job.worker_id, job.previous_worker_id, job.failure) == (None, "w1", None)
            assert job.charge.state is ChargeState.RESERVED
    assert 500 <= due[0] <= 1_000
    assert 2_000 <= due[1] <= 4_000
    job = documents.job()
    assert (job.state, job.charge.state, job.attempt) == (State.FAILED, ChargeState.REFUNDED, 3)
    assert [e.end for e in job.earlier_attempts] == [AttemptEnd.FAILED] * 3
    assert job.failure is not None
    assert job.failure.message == "The model's process ended while it made this video."


@pytest.mark.parametrize(
    ("code", "message", "state"),
    [
        (C.ENGINE_ERROR, "CUDA said no", State.FAILED),
        (C.ENGINE_ERROR, "upstream: Internal Error", State.QUEUED),
        (C.ENGINE_ERROR, "HTTP 503", State.QUEUED),
        (C.INVALID_INPUT, "timeout must be a number", State.FAILED),
        (C.OUT_OF_MEMORY, "", State.FAILED),
        (C.STORAGE_UNAVAILABLE, "", State.QUEUED),
    ],
)
def test_what_is_worth_another_try(code: C, message: str, state: State) -> None:
    documents = queued()
    documents.do(started())
    documents.do(failed(code=code, message=message))
    assert documents.job().state is state


def test_a_text_is_kept_and_cut() -> None:
    documents = queued()
    documents.do(failed(code=C.ENGINE_ERROR, message="x" * 9_000))
    failure = documents.job().failure
    assert failure is not None
    assert failure.message == "x" * 500


def test_a_hand_back_costs_no_try_and_is_due_at_once() -> None:
    documents = queued(max_retries=0)
    documents.do(started())
    assert gone(documents.do(handed_back(), now=NOON + 7)) == set(), "it may have finished after all"
    job = documents.job()
    assert (job.state, job.attempt, job.tries, job.due_at, job.worker_id) == (State.QUEUED, 2, 1, NOON + 7, None)


@pytest.mark.parametrize("end", [lost, handed_back])
def test_a_late_success_counts_while_the_newer_attempt_waits(end: object) -> None:
    documents = queued()
    documents.do(started("w1"), now=NOON + 1)
    documents.do(end("w1"))  # type: ignore[operator]
    assert gone(documents.do(succeeded("w2", 1))) == {(1, "w2")}, "another worker's does not"
    decision = documents.do(succeeded("w1", 1), now=NOON + 9)
    job = documents.job()
    assert (job.state, job.attempt, job.winning_attempt, job.worker_id) == (State.COMPLETED, 2, 1, "w1")
    assert job.started_at == NOON + 1, "when that attempt began"
    assert gone(decision) == set()
    newer = documents.do(started("w2", 2))
    assert (newer.write, gone(newer)) == (None, {(2, "w2")})
    assert gone(documents.do(succeeded("w2", 2))) == {(2, "w2")}
    assert gone(documents.do(succeeded("w1", 1))) == set()


def test_a_late_success_comes_too_late_once_the_newer_attempt_runs() -> None:
    documents = queued()
    documents.do(started("w1"))
    assert gone(documents.do(lost("w1"))) == set()
    assert gone(documents.do(started("w2", 2))) == {(1, "w1")}
    assert gone(documents.do(succeeded("w1", 1))) == {(1, "w1")}
    assert documents.job().state is State.PROCESSING
    documents.do(succeeded("w2", 2))
    assert documents.job().winning_attempt == 2


def test_an_attempt_called_failed_cannot_succeed_any_more() -> None:
    """Its files are being deleted."""
    documents = queued()
    documents.do(started("w1"))
    assert gone(documents.do(failed("w1"))) == {(1, "w1")}
    assert gone(documents.do(succeeded("w1", 1))) == {(1, "w1")}
    assert documents.job().state is State.QUEUED


def test_the_attempt_before_the_last_cannot_succeed_any_more() -> None:
    documents = queued()
    for attempt in (1, 2):
        documents.do(started(f"w{attempt}", attempt))
        documents.do(lost(f"w{attempt}", attempt))
    assert documents.job().attempt == 3
    assert (1, "w1") in {(f.attempt, f.worker_id) for f in documents.discarded}
    assert gone(documents.do(succeeded("w1", 1))) == {(1, "w1")}
    assert documents.job().state is State.QUEUED


def test_a_success_of_an_earlier_run_does_not_count() -> None:
    documents = queued()
    documents.do(started("w1"))
    documents.do(cancel())
    documents.do(retry(), now=NOON + 1)
    assert documents.job().run_first_attempt == 2
    assert gone(documents.do(succeeded("w1", 1))) == {(1, "w1")}
    assert documents.job().state is State.QUEUED


def test_a_lost_and_given_up_job_refunds() -> None:
    documents = queued(max_retries=0)
    documents.do(started())
    assert gone(documents.do(lost())) == {(1, "w1")}
    job = documents.job()
    assert (job.state, job.charge.state) == (State.FAILED, ChargeState.REFUNDED)
    assert job.failure is not None
    assert job.failure.code is C.WORKER_LOST


def test_every_late_report_of_a_deleted_job_has_its_files_deleted() -> None:
    documents = queued()
    documents.do(started("w1"))
    documents.do(delete())
    for report in (started("w1"), succeeded("w1"), failed("w1"), succeeded("w9", 4)):
        decision = documents.do(report)
        assert decision.write is None
        assert decision.discarded == (
            FilesDiscarded(user_id=USER, job_id="j1", attempt=report.attempt, worker_id=report.worker_id),
        )


def test_a_report_about_an_unknown_job_does_nothing() -> None:
    """Least of all does it delete files: the documents may have been restored from a backup."""
    decision = Documents().do(succeeded())
    assert (decision.write, decision.jobs, decision.discarded, decision.answer) == (None, (), (), None)


def test_reports_are_not_answered() -> None:
    documents = queued()
    assert [documents.do(r).answer for r in (started(), failed(), succeeded(attempt=2))] == [None, None, None]


def test_an_external_worker_that_takes_a_job_and_is_never_heard_of_with_it_costs_tries_in_the_end() -> None:
    """It may run the job each time and be unable to say so: it must not be handed out for ever."""
    documents, slot = queued(), Slot("captions", "pod", "0123456789ab", 0).worker_id
    seen = []
    for attempt in range(1, 7):
        at = NOON + attempt * 60 * SECOND
        documents.do(started(slot, attempt), now=at)
        documents.do(handed_back(slot, attempt), now=at + SECOND)
        job = documents.job()
        seen.append((job.state, job.tries))
        if job.state is State.FAILED:
            break
    assert seen == [(State.QUEUED, 1), (State.QUEUED, 1), (State.QUEUED, 2), (State.QUEUED, 3), (State.FAILED, 3)]
    assert documents.job().failure is not None
    assert documents.job().failure.code is FailureCode.WORKER_LOST
    assert [e.end for e in documents.job().earlier_attempts] == [AttemptEnd.HANDED_BACK] * 2 + [AttemptEnd.LOST] * 3


@pytest.mark.parametrize("start", [True, False])
def test_our_own_workers_and_those_that_never_began_hand_back_at_no_cost(start: bool) -> None:
    documents = queued()
    worker = "w1" if start else Slot("captions", "pod", "0123456789ab", 0).worker_id
    for attempt in range(1, 7):
        if start:
            documents.do(started(worker, attempt), now=NOON + attempt * 60 * SECOND)
        documents.do(handed_back(worker, attempt), now=NOON + attempt * 60 * SECOND + SECOND)
    assert (documents.job().state, documents.job().tries) == (State.QUEUED, 1)


def test_what_is_kept_of_earlier_attempts_is_bounded() -> None:
    documents = queued()
    for attempt in range(1, 30):
        documents.do(handed_back(f"w{attempt}", attempt), now=NOON + attempt * SECOND)
    assert documents.job().attempt == 30
    assert [e.attempt for e in documents.job().earlier_attempts] == list(range(22, 30))
