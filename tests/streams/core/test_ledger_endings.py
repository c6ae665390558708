"""Cancel, timeout and delete."""

from dataclasses import replace

import pytest

from schemas.commands import DeleteJob
from schemas.endpoints import EndpointLimits
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState
from schemas.lifecycle import State
from schemas.requests import external_request
from streams.core.effects import WriteAccount, WriteJob
from streams.core.policy import Policy
from streams.core.retention import counts, reach_for
from tests.streams.core.ledger_documents import (
    NOON,
    SECOND,
    Documents,
    cancel,
    delete,
    expired,
    failed,
    retry,
    started,
    submit,
    succeeded,
)

NOTHING = EndpointLimits(max_active=0)
TIMEOUT = FailureCode.EXECUTION_TIMEOUT


def running(refund: str = "all") -> Documents:
    documents = Documents(Policy(refund_on_cancel=refund, credits_required=False))  # type: ignore[arg-type]
    documents.do(submit(frames=121))  # 5.04 s
    documents.do(started())
    return documents


@pytest.mark.parametrize(
    ("refund", "ran_ms", "state", "seconds"),
    [
        ("all", 2_000, ChargeState.REFUNDED, 121 / 24),
        ("none", 2_000, ChargeState.CAPTURED, 121 / 24),
        ("used", 2_000, ChargeState.CAPTURED, 2.0),
        ("used", 90_000, ChargeState.CAPTURED, 121 / 24),
        ("used", 0, ChargeState.REFUNDED, 121 / 24),
    ],
)
@pytest.mark.parametrize("end", [cancel, delete])
def test_what_a_cancel_or_a_delete_gives_back(
    end: object, refund: str, ran_ms: int, state: ChargeState, seconds: float
) -> None:
    documents = running(refund)
    documents.do(end(), now=NOON + ran_ms)  # type: ignore[operator]
    charge = documents.job().charge
    assert charge.state is state
    assert charge.seconds == pytest.approx(seconds)


def test_a_cancel_before_the_start_uses_nothing() -> None:
    documents = Documents(Policy(refund_on_cancel="used"))
    documents.do(submit())
    documents.do(cancel(), now=NOON + 9 * SECOND)
    assert documents.job().charge.state is ChargeState.REFUNDED


def test_what_was_kept_of_a_cancelled_run_still_counts_after_a_retry() -> None:
    documents = running("used")
    documents.do(cancel(), now=NOON + 2_000)
    answer = documents.ask(retry(), now=NOON + 3_000)
    assert answer.remaining is not None
    assert answer.remaining.used_seconds == round(121 / 24 + 2.0, 2)
    documents.do(failed("w1", 2, FailureCode.INVALID_INPUT), now=NOON + 4_000)
    left = documents.ask(cancel(), now=NOON + 5_000).remaining
    assert left is not None
    assert left.used_seconds == 2.0


def test_a_cancelled_run_has_its_words() -> None:
    documents = running()
    assert documents.ask(cancel()).outcome is Outcome.DONE
    job = documents.job()
    assert job.failure is not None
    assert (job.failure.code, job.failure.message) == (FailureCode.CANCELLED, "Cancelled.")
    assert (job.finished_at, job.worker_id) == (NOON, "w1")
    assert documents.ask(cancel()).outcome is Outcome.DONE, "the same command is answered the same"


@pytest.mark.parametrize("run", [2, 0])
def test_a_cancel_of_another_run_changes_nothing(run: int) -> None:
    documents = running()
    assert documents.ask(cancel(run=run)).outcome is Outcome.UNCHANGED
    assert documents.job().state is State.PROCESSING


def test_a_replayed_cancel_that_names_no_run_stops_no_later_one() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    anyone = cancel(run=None)
    assert documents.ask(anyone, now=NOON).outcome is Outcome.DONE
    documents.do(retry(), now=NOON + 5)
    assert documents.ask(anyone, now=NOON).outcome is Outcome.UNCHANGED
    assert documents.job().state is State.QUEUED
    assert documents.ask(cancel(run=None, command_id="new"), now=NOON + 6).outcome is Outcome.DONE


def test_a_finished_job_is_not_cancelled() -> None:
    documents = running()
    documents.do(succeeded())
    assert documents.ask(cancel()).outcome is Outcome.UNCHANGED


def test_unknown_jobs_are_not_found() -> None:
    for command in (cancel(), delete(), retry()):
        answer = Documents().ask(command)
        assert (answer.outcome, answer.job_id, answer.version) == (Outcome.NOT_FOUND, "j1", None)


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (expired(), State.TIMED_OUT),
        (expired(attempt=99), State.TIMED_OUT),
        (expired(run=2), State.PROCESSING),
        (expired(TIMEOUT), State.TIMED_OUT),
        (expired(TIMEOUT, attempt=2), State.PROCESSING),
    ],
)
def test_a_timeout_names_its_run_and_its_attempt(command: object, state: State) -> None:
    documents = running()
    assert documents.do(command).answer is None  # type: ignore[arg-type]
    job = documents.job()
    assert job.state is state
    if state is State.TIMED_OUT:
        assert job.charge.state is ChargeState.REFUNDED
        assert job.failure is not None
        assert job.failure.code is command.code  # type: ignore[attr-defined]


def test_a_timeout_is_refunded_whatever_the_policy_for_cancels() -> None:
    documents = running("none")
    documents.do(expired(TIMEOUT), now=NOON + SECOND)
    assert documents.job().charge.state is ChargeState.REFUNDED


def test_an_expiry_of_an_unknown_job_does_nothing() -> None:
    assert Documents().do(expired()).jobs == ()


def test_a_deleted_document_is_bare_and_keeps_its_charge() -> None:
    documents = Documents()
    documents.do(submit(webhook="https://h"))
    documents.do(succeeded())
    documents.do(submit("j2"))
    decision = documents.do(delete(), now=NOON + 5)
    assert isinstance(decision.write, WriteJob)
    job = documents.job()
    assert job.state is State.DELETED
    assert (job.request.prompt, job.request.negative_prompt, job.request.input, job.webhook) == ("", "", None, None)
    assert (job.output, job.labels, job.finished_at) == (None, None, NOON)
    assert (job.charge.state, job.charge.seconds, job.request_hash) == (ChargeState.CAPTURED, 31 / 24, "hash-31")
    assert decision.answer is not None
    assert decision.answer.remaining is not None
    assert decision.answer.remaining.used_seconds == 2.58
    assert documents.ask(delete()).outcome is Outcome.DONE
    assert documents.ask(submit()).outcome is Outcome.ADMITTED, "a replayed submission does not bring it back"
    assert documents.job() == job


def test_what_was_kept_for_its_time_is_deleted_only_if_it_had_ended_by_then() -> None:
    def of(at: int) -> DeleteJob:
        return replace(delete(), ended_by=at)

    documents = running()
    assert documents.ask(of(NOON + 9 * SECOND)).outcome is Outcome.UNCHANGED, "it runs"
    documents.do(succeeded(), now=NOON + SECOND)
    ended = documents.job()
    assert documents.ask(of(NOON + SECOND - 1)).outcome is Outcome.UNCHANGED, "it ended later"
    assert documents.job() == ended
    assert documents.ask(of(NOON + SECOND)).outcome is Outcome.DONE
    assert documents.job().state is State.DELETED
    assert documents.ask(of(NOON)).outcome is Outcome.DONE, "it is as it was wished"


def test_a_refused_submission_that_was_deleted_is_a_deleted_job_to_whoever_asks_again() -> None:
    documents = Documents()
    first = documents.ask(submit(endpoint="mochi-1", limits=NOTHING), now=NOON + 1)
    assert first.outcome is Outcome.REFUSED
    documents.do(replace(delete(), ended_by=NOON + 1), now=NOON + 9)
    bare = documents.job()
    assert (bare.state, bare.charge.state) == (State.DELETED, ChargeState.NONE)
    again = documents.ask(submit(command_id="again"), now=NOON + 99 * SECOND)
    assert again.outcome is Outcome.ADMITTED, "not refused for ever for what was so then"
    assert documents.job() == bare, "what is said to be deleted is not made again"
    assert documents.ask(submit(), now=NOON + 1).code is first.code, "a replay is answered the same"


def test_an_external_job_that_was_deleted_is_not_held() -> None:
    documents = Documents()
    documents.do(submit(endpoint="echo", external=True, request=external_request(text="{}")))
    documents.do(succeeded())
    documents.do(delete(), now=NOON + 5)
    job = documents.job()
    assert (job.state, job.external, job.request.input) == (State.DELETED, True, None)
    reach = reach_for(documents.account, documents.policy, NOON + 86_400_000)
    assert counts(replace(job, state=State.QUEUED), reach), "what is active is"
    assert not counts(job, reach)


def test_a_failure_text_does_not_outlive_the_job() -> None:
    documents = running()
    documents.do(failed(code=FailureCode.ENGINE_ERROR, message="cannot draw a corgi"))
    documents.do(delete())
    failure = documents.job().failure
    assert failure is not None
    assert (failure.code, failure.message) == (FailureCode.ENGINE_ERROR, "")


def test_a_prompt_does_not_outlive_the_job_in_the_account_either() -> None:
    documents = running()
    assert documents.account.pending["j1"].request.prompt == "a corgi"
    decision = documents.do(delete())
    assert isinstance(decision.write, WriteAccount)
    assert documents.account.pending == {"j1": documents.job()}
    assert documents.job().request.prompt == ""
    documents.do(submit("j2"))
    assert set(documents.account.pending) == {"j2"}


def test_a_rejected_job_can_be_deleted_and_stays_refused() -> None:
    documents = Documents(Policy(max_active=0))
    first = documents.ask(submit())
    documents.do(delete())
    assert documents.job().charge.state is ChargeState.NONE
    assert documents.ask(submit()).code == first.code
    assert documents.ask(submit(command_id="new"), now=NOON + SECOND).outcome is Outcome.REFUSED
    assert documents.job().state is State.DELETED


def test_what_was_recorded_before_its_job_finds_none_and_replayed_still_does_not() -> None:
    documents = Documents()
    for command in (cancel(), cancel(run=None), delete(), retry()):
        assert documents.ask(command, now=NOON - 1).outcome is Outcome.NOT_FOUND
    documents.do(submit())
    for command in (cancel(), cancel(run=None), delete(), retry()):
        assert documents.ask(command, now=NOON - 1).outcome is Outcome.NOT_FOUND
    assert documents.job().state is State.QUEUED


def test_a_retry_recorded_before_the_run_ended_does_nothing_then_or_later() -> None:
    documents = running()
    assert documents.ask(retry(), now=NOON + 1).outcome is Outcome.UNCHANGED
    documents.do(cancel(), now=NOON + 2)
    assert documents.ask(retry(), now=NOON + 1).outcome is Outcome.UNCHANGED
    assert documents.job().state is State.CANCELLED
