"""Submissions, refusals and manual retries, rule by rule."""

from dataclasses import replace

import pytest

from schemas.accounts import Overrides, Role
from schemas.commands import GrantCredits
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState
from schemas.lifecycle import State
from streams.core.effects import WriteAccount, WriteJob
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy
from tests.streams.core.ledger_documents import (
    HOUR,
    NOON,
    SECOND,
    USER,
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

C = FailureCode


def grant(amount: float, grant_id: str = "g1") -> GrantCredits:
    return GrantCredits(command_id=f"grant-{grant_id}", user_id=USER, grant_id=grant_id, credits=amount)


def finish(documents: Documents, job_id: str, now: int | None = None) -> None:
    documents.do(started(job_id=job_id), now=now)
    documents.do(succeeded(job_id=job_id), now=now)


def test_an_admission_is_one_write_of_the_account_that_holds_the_job() -> None:
    documents = Documents()
    decision = documents.decision(submit(ttl_ms=5_000, execution_timeout_ms=7_000, max_retries=0, webhook="https://h"))
    assert isinstance(decision.write, WriteAccount)
    job = decision.write.job
    assert job is not None
    assert decision.write.expected == 0
    assert decision.write.account.pending == {"j1": job}
    assert (job.state, job.version, job.run, job.attempt, job.tries) == (State.QUEUED, 1, 1, 1, 1)
    assert (job.created_at, job.due_at, job.expires_at) == (NOON, NOON, NOON + 5_000)
    assert (job.execution_timeout_ms, job.max_retries, job.webhook) == (7_000, 0, "https://h")
    assert (job.charge.state, job.charge.seconds, job.charge.reserved_at) == (ChargeState.RESERVED, 31 / 24, NOON)
    assert decision.jobs == (job,)
    answer = decision.answer
    assert answer is not None
    assert answer.remaining is not None
    assert (answer.outcome, answer.version, answer.code) == (Outcome.ADMITTED, 1, None)
    assert (answer.remaining.used_seconds, answer.remaining.remaining_seconds) == (1.29, 598.71)
    assert answer.remaining.active == 1, "the answer counts the job it admits"


def test_the_next_account_write_drops_what_is_settled_and_carries_what_is_not() -> None:
    documents = Documents()
    assert documents.write(documents.decision(submit("j1")), settle=False)
    assert documents.write(documents.decision(submit("j2")))
    assert set(documents.account.pending) == {"j1", "j2"}
    documents.settle(documents.account.pending["j1"])
    documents.do(submit("j3"))
    assert set(documents.account.pending) == {"j3"}


def test_pending_counts_like_a_stored_job() -> None:
    documents = Documents(Policy(max_active=1))
    assert documents.write(documents.decision(submit("j1")), settle=False)
    assert documents.ask(submit("j2")).code is C.CONCURRENCY_EXCEEDED


def test_the_same_submission_is_answered_the_same_and_another_payload_is_refused() -> None:
    documents = Documents()
    documents.do(submit())
    assert documents.ask(submit(command_id="again"), now=NOON + 30 * 24 * HOUR).outcome is Outcome.ADMITTED
    reused = documents.ask(submit(frames=37, command_id="other"))
    assert (reused.outcome, reused.code) == (Outcome.REFUSED, C.KEY_REUSED)
    assert documents.job().version == 1


def test_a_refusal_is_stored_and_the_same_command_is_refused_again_though_there_is_room_now() -> None:
    documents = Documents(Policy(max_active=1))
    documents.do(submit("j1"))
    first = documents.do(submit("j2"))
    assert isinstance(first.write, WriteJob)
    rejected = documents.job("j2")
    assert (rejected.state, rejected.charge.state, rejected.version) == (State.REJECTED, ChargeState.NONE, 1)
    assert rejected.failure is not None
    assert rejected.failure.code is C.CONCURRENCY_EXCEEDED
    finish(documents, "j1")
    again = documents.do(submit("j2"), now=NOON + 1)
    assert (again.write, again.answer) == (None, first.answer)


def test_another_command_with_the_key_of_a_refused_one_is_decided_afresh() -> None:
    documents = Documents(Policy(max_active=1))
    documents.do(submit("j1"))
    documents.do(submit("j2"))
    assert documents.ask(submit("j2", command_id="b"), now=NOON + 1).outcome is Outcome.REFUSED
    assert documents.job("j2").version == 2
    finish(documents, "j1")
    assert documents.ask(submit("j2", command_id="c"), now=NOON + 2).outcome is Outcome.ADMITTED
    assert (documents.job("j2").state, documents.job("j2").version) == (State.QUEUED, 3)
    assert documents.job("j2").refusal is None


def test_an_older_refused_command_replayed_is_not_decided_afresh() -> None:
    """Its record's time is not after the newer refusal, so there is nothing new to decide."""
    documents = Documents(Policy(max_active=1))
    documents.do(submit("j1"))
    documents.do(submit("j2", command_id="a"), now=NOON + 1)
    documents.do(submit("j2", command_id="b"), now=NOON + 2)
    finish(documents, "j1")
    replayed = documents.do(submit("j2", command_id="a"), now=NOON + 1)
    assert replayed.write is None
    assert replayed.answer is not None
    assert replayed.answer.outcome is Outcome.REFUSED


@pytest.mark.parametrize("stored", [False, True])
def test_a_record_that_lands_after_its_sender_gave_up_is_refused_and_leaves_nothing(stored: bool) -> None:
    documents = Documents(Policy(max_active=1))
    if stored:
        documents.do(submit("j0"))
        documents.do(submit("j1", command_id="first"))
        finish(documents, "j0")
    before = dict(documents.jobs)
    late = documents.ask(submit("j1", append_by=NOON - 1), now=NOON + 5)
    assert (late.outcome, late.code) == (Outcome.REFUSED, C.TOO_LATE)
    assert documents.jobs == before
    on_time = documents.ask(submit("j1", command_id="c", append_by=NOON + 5), now=NOON + 5)
    assert on_time.outcome is Outcome.ADMITTED


def test_a_late_record_of_an_admitted_job_is_answered_as_admitted() -> None:
    documents = Documents()
    documents.do(submit())
    assert documents.ask(submit(append_by=NOON), now=NOON + 9).outcome is Outcome.ADMITTED


def test_checks_in_order() -> None:
    """Whatever else stands in the way, the first in order is named."""
    policy = Policy(monthly_limit_seconds=1.0, max_active=1, rate_limit=1, credits_required=True, credits_per_video=2)
    documents = Documents(policy)
    documents.do(grant(3.0))
    documents.do(submit("j1", frames=25))
    account = replace(documents.account, blocked=True)
    loose = Overrides(monthly_limit_seconds=10.0)
    steps = [
        (account, C.ACCOUNT_BLOCKED),
        (replace(account, blocked=False), C.QUOTA_EXCEEDED),
        (replace(account, blocked=False, overrides=loose), C.CREDITS_EXCEEDED),
    ]
    for number, (state, code) in enumerate(steps):
        documents.account = state
        assert documents.ask(submit(f"k{number}")).code is code
    documents.do(grant(5.0, "g2"))
    assert documents.ask(submit("k3")).code is C.CONCURRENCY_EXCEEDED
    documents.account = replace(documents.account, overrides=replace(loose, max_active=9))
    assert documents.ask(submit("k4")).code is C.RATE_LIMITED
    documents.account = replace(documents.account, overrides=replace(loose, max_active=9, rate_limit=9))
    assert documents.ask(submit("k5")).outcome is Outcome.ADMITTED


@pytest.mark.parametrize("changes", [{"blocked": True}, {"deleted_at": NOON}, {"role": Role.RESTRICTED}])
def test_who_may_not_submit(changes: dict[str, object]) -> None:
    documents = Documents(account=replace(new_account(USER), **changes))  # type: ignore[arg-type]
    assert documents.ask(submit()).code is C.ACCOUNT_BLOCKED


def test_a_quota_refusal_says_the_exact_remainder_and_what_would_fit() -> None:
    documents = Documents(Policy(monthly_limit_seconds=4.0))
    documents.do(submit("j1", frames=61))
    answer = documents.ask(submit("j2", frames=61))
    assert answer.code is C.QUOTA_EXCEEDED
    left = answer.remaining
    assert left is not None
    assert (left.limit_seconds, left.used_seconds, left.remaining_seconds) == (4.0, 2.54, 1.46)
    assert left.suggested_frames == 31
    assert documents.ask(submit("j3", frames=31), now=NOON + 1).outcome is Outcome.ADMITTED


def test_the_last_video_may_overshoot_by_one_step_and_no_more() -> None:
    documents = Documents(Policy(monthly_limit_seconds=1.0))
    assert documents.ask(submit("j1", frames=26)).code is C.QUOTA_EXCEEDED
    assert documents.ask(submit("j2", frames=25)).outcome is Outcome.ADMITTED
    full = documents.ask(submit("j3", frames=7))
    assert full.code is C.QUOTA_EXCEEDED
    assert full.remaining is not None
    assert (full.remaining.remaining_seconds, full.remaining.suggested_frames) == (0.0, None)


def test_overrides_win() -> None:
    documents = Documents(Policy(monthly_limit_seconds=1.0))
    documents.account = replace(documents.account, overrides=Overrides(monthly_limit_seconds=1.5))
    assert documents.ask(submit(frames=31)).outcome is Outcome.ADMITTED
    documents.account = replace(documents.account, overrides=Overrides(monthly_limit_seconds=0.0))
    assert documents.ask(submit("j2", frames=7)).code is C.QUOTA_EXCEEDED


def test_the_rate_limit_slides_and_says_when_to_come_back() -> None:
    documents = Documents(Policy(rate_limit=2, rate_window_ms=10_000, max_active=9))
    documents.do(submit("j1"), now=NOON)
    documents.do(submit("j2"), now=NOON + 4_000)
    answer = documents.ask(submit("j3"), now=NOON + 6_000)
    assert answer.code is C.RATE_LIMITED
    assert answer.remaining is not None
    assert answer.remaining.retry_after_ms == 4_000
    assert documents.ask(submit("j3", command_id="b"), now=NOON + 9_999).code is C.RATE_LIMITED
    assert documents.ask(submit("j3", command_id="c"), now=NOON + 10_000).outcome is Outcome.ADMITTED


def test_cancelling_and_retrying_one_job_is_no_way_round_the_rate_limit() -> None:
    documents = Documents(Policy(rate_limit=3, max_active=9))
    documents.do(submit())
    for run in (1, 2):
        documents.do(cancel(run=run), now=NOON + run - 1)
        assert documents.ask(retry(run=run), now=NOON + run).outcome is Outcome.ADMITTED
    documents.do(cancel(run=3), now=NOON + 2)
    assert documents.ask(retry(run=3), now=NOON + 3).code is C.RATE_LIMITED


def test_credits_are_taken_and_given_back() -> None:
    documents = Documents(Policy(credits_required=True, credits_per_video=2.0))
    assert documents.ask(submit("j0")).code is C.CREDITS_EXCEEDED
    documents.do(grant(3.0))
    taken = documents.ask(submit("j1"))
    assert taken.remaining is not None
    assert taken.remaining.credits == 1.0
    assert documents.ask(submit("j2")).code is C.CREDITS_EXCEEDED
    back = documents.ask(cancel("j1"))
    assert back.remaining is not None
    assert back.remaining.credits == 3.0
    priced = documents.ask(submit("j3", credits=3.0))
    assert priced.remaining is not None
    assert priced.remaining.credits == 0.0


def test_a_foreign_job_is_not_told_about() -> None:
    documents = Documents()
    documents.do(submit())
    documents.put(documents.job(), user_id="someone-else")
    documents.account = new_account(USER)
    for command, code in ((submit(), C.KEY_REUSED), (cancel(), None), (delete(), None), (retry(), None)):
        decision = documents.decision(command)
        assert (decision.write, decision.jobs, decision.discarded) == (None, (), ())
        assert decision.answer is not None
        assert decision.answer.code is code
        assert decision.answer.version is None
        assert decision.answer.remaining is not None
        assert decision.answer.remaining.active == 0, "another's job does not count"
    for report in (started(), succeeded(), failed(), expired()):
        assert documents.decision(report).discarded == ()


def test_a_manual_retry_reserves_again() -> None:
    documents = Documents(Policy(credits_required=True, credits_per_video=2.0))
    documents.do(grant(9.0))
    documents.do(submit(ttl_ms=5_000))
    documents.do(started())
    documents.do(failed(code=C.INVALID_INPUT, message="no"))
    later = NOON + HOUR
    decision = documents.do(retry(), now=later)
    assert isinstance(decision.write, WriteAccount)
    job = documents.job()
    assert (job.state, job.run, job.attempt, job.run_first_attempt, job.tries) == (State.QUEUED, 2, 2, 2, 1)
    assert (job.failure, job.output, job.worker_id, job.previous_worker_id) == (None, None, None, None)
    assert (job.started_at, job.finished_at) == (None, None)
    assert (job.due_at, job.expires_at) == (later, later + 5_000)
    assert (job.charge.state, job.charge.credits, job.charge.reserved_at) == (ChargeState.RESERVED, 2.0, later)
    assert documents.account.pending == {"j1": job}
    assert documents.ask(retry(command_id="again"), now=later).outcome is Outcome.ADMITTED
    assert documents.job() == job
    assert documents.ask(cancel(run=1), now=later).outcome is Outcome.UNCHANGED


def test_a_manual_retry_passes_the_same_checks_and_a_refusal_leaves_the_job_as_it_ended() -> None:
    documents = Documents(Policy(max_active=1))
    documents.do(submit("j1"))
    documents.do(cancel("j1"))
    documents.do(submit("j2"))
    soon = documents.ask(retry("j1", command_id="soon"))
    assert soon.outcome is Outcome.UNCHANGED, "recorded in the millisecond of the end, it did not know of it"
    first = documents.do(retry("j1"), now=NOON + 2)
    assert first.answer is not None
    assert first.answer.code is C.CONCURRENCY_EXCEEDED
    job = documents.job("j1")
    assert (job.state, job.run, job.version) == (State.CANCELLED, 1, 3)
    finish(documents, "j2")
    assert documents.do(retry("j1"), now=NOON + 2).answer == first.answer
    assert documents.ask(retry("j1", command_id="older"), now=NOON + 1).outcome is Outcome.REFUSED
    late = documents.ask(retry("j1", command_id="late", append_by=NOON + 2), now=NOON + 3)
    assert late.code is C.TOO_LATE
    assert documents.job("j1") == job
    assert documents.ask(retry("j1", command_id="new"), now=NOON + 3).outcome is Outcome.ADMITTED
    assert documents.job("j1").refusal is None
    assert documents.ask(submit("j1")).outcome is Outcome.ADMITTED, "a refused retry is no refused submission"


def test_stamps_never_go_back_for_a_user() -> None:
    documents = Documents()
    first = documents.decision(submit("j1"), stamp=NOON + 500)
    documents.write(first)
    documents.write(documents.decision(submit("j2"), stamp=NOON + 3))
    documents.write(documents.decision(cancel("j1"), stamp=NOON + 3))
    assert documents.job("j2").updated_at == NOON + 501
    assert documents.job("j1").updated_at == NOON + 502


def test_a_view_of_another_user_is_a_programmers_error() -> None:
    documents = Documents(account=new_account("someone-else"))
    with pytest.raises(ValueError, match="not of the command's user"):
        decide(documents.view(submit(), NOON), submit(), NOON, Policy(), NOON)


def test_retry_after_is_within_the_window_of_the_override() -> None:
    documents = Documents()
    documents.account = replace(documents.account, overrides=Overrides(rate_limit=1, rate_window_ms=HOUR))
    documents.do(submit("j1"))
    answer = documents.ask(submit("j2"), now=NOON + 60 * SECOND)
    assert answer.remaining is not None
    assert answer.remaining.retry_after_ms == HOUR - 60 * SECOND
    documents.account = replace(documents.account, overrides=Overrides(rate_limit=0))
    never = documents.ask(submit("j3"), now=NOON + HOUR)
    assert never.code is C.RATE_LIMITED
    assert never.remaining is not None
    assert never.remaining.retry_after_ms is None


def test_after_a_lowered_limit_it_is_the_newest_admissions_that_must_age() -> None:
    documents = Documents(Policy(max_active=9, rate_window_ms=10_000))
    for second in range(3):
        documents.do(submit(f"j{second}"), now=NOON + second * SECOND)
    documents.account = replace(documents.account, overrides=Overrides(rate_limit=1))
    answer = documents.ask(submit("j9"), now=NOON + 3 * SECOND)
    assert answer.remaining is not None
    assert answer.remaining.retry_after_ms == 9_000
    assert documents.ask(submit("j9", command_id="b"), now=NOON + 12 * SECOND).outcome is Outcome.ADMITTED
