"""Where a user stands: the sums that a submission would be decided by, told without a trace."""

from dataclasses import replace

import pytest

from schemas.accounts import Account, Overrides, Role
from schemas.commands import AskUsage, DeleteUser, GrantCredits, SetBlocked, SetOverrides
from schemas.events import Outcome
from schemas.jobs import Remaining
from schemas.lifecycle import State
from streams.core.effects import Decision, UserView
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy
from streams.core.quota import month_of
from tests.streams.core.ledger_documents import (
    HOUR,
    NOON,
    USER,
    Documents,
    cancel,
    delete,
    started,
    submit,
    succeeded,
)
from tests.streams.core.test_ledger_table import job_in

DAY = 24 * HOUR


def question(command_id: str = "q") -> AskUsage:
    return AskUsage(command_id=command_id, user_id=USER)


def told(decision: Decision) -> Remaining:
    """What the answer says, after a look that there is nothing but an answer."""
    assert decision.answer is not None
    assert decision == Decision(answer=decision.answer)
    answer = decision.answer
    assert (answer.outcome, answer.command_id, answer.user_id) == (Outcome.UNCHANGED, "q", USER)
    assert (answer.job_id, answer.version, answer.code) == (None, None, None)
    assert answer.remaining is not None
    return answer.remaining


def standing(documents: Documents, now: int | None = None) -> Remaining:
    before = (documents.account, dict(documents.jobs))
    left = told(documents.decision(question(), now))
    assert (documents.account, documents.jobs) == before
    return left


def test_a_user_of_whom_nothing_is_stored_has_the_deployments_limits_and_stays_unstored() -> None:
    documents = Documents(policy=Policy(monthly_limit_seconds=5.0, max_active=2))
    left = standing(documents)
    start, end = month_of(NOON)
    assert left == Remaining(
        limit_seconds=5.0,
        used_seconds=0.0,
        remaining_seconds=5.0,
        period_start=start,
        period_end=end,
        active=0,
        max_active=2,
        suggested_frames=115,
    )
    assert documents.account.version == 0


@pytest.mark.parametrize("state", list(State))
def test_whatever_state_a_job_is_in_nothing_is_written_or_announced(state: State) -> None:
    documents = Documents()
    documents.put(job_in(state))
    counts = state in (State.QUEUED, State.PROCESSING, State.COMPLETED, State.DELETED)  # a deleted video was made
    left = standing(documents)
    assert left.used_seconds == (1.29 if counts else 0.0)
    assert left.active == (1 if state in (State.QUEUED, State.PROCESSING) else 0)


def test_it_says_what_the_next_submission_is_decided_by() -> None:
    documents = Documents(policy=Policy(monthly_limit_seconds=2.0, rate_limit=100))
    steps = [submit(), started(), succeeded(), submit("j2", frames=13), cancel("j2"), delete()]
    for step in steps:
        answer = documents.do(step).answer
        assert answer is None or answer.remaining == standing(documents)
    left = standing(documents)
    assert (left.used_seconds, left.suggested_frames) == (1.29, 13)
    refused = documents.ask(submit("j3", frames=127))
    assert refused.remaining == standing(documents) == left


def test_an_admission_that_is_only_pending_counts() -> None:
    documents = Documents()
    decision = documents.decision(submit())
    documents.write(decision, settle=False)
    view = UserView(documents.account)
    left = told(decide(view, question(), NOON, documents.policy, NOON))
    assert (left.used_seconds, left.active) == (1.29, 1)


def test_overrides_credits_blocks_and_deletions_show() -> None:
    documents = Documents()
    documents.do(GrantCredits(command_id="g", user_id=USER, grant_id="g", credits=4.0))
    documents.do(SetOverrides(command_id="o", user_id=USER, overrides=Overrides(max_active=9), issued_at=1))
    documents.do(SetBlocked(command_id="b", user_id=USER, blocked=True, issued_at=1))
    documents.do(submit("refused"))
    left = standing(documents)
    assert (left.credits, left.max_active, left.used_seconds) == (4.0, 9, 0.0)
    documents.do(DeleteUser(command_id="d", user_id=USER, issued_at=2))
    gone = standing(documents)
    assert (gone.credits, gone.max_active) == (0.0, 3)


def test_a_new_month_begins_anew() -> None:
    documents = Documents()
    for step in (submit(), started(), succeeded()):
        documents.do(step)
    start, end = month_of(NOON + 30 * DAY)
    left = standing(documents, NOON + 30 * DAY)
    assert (left.used_seconds, left.period_start, left.period_end) == (0.0, start, end)


def test_nothing_of_another_users_job_is_told() -> None:
    documents = Documents()
    documents.put(replace(job_in(State.PROCESSING), user_id="someone else"))
    view = UserView(documents.account, dict(documents.jobs))
    left = told(decide(view, question(), NOON, documents.policy, NOON))
    assert (left.used_seconds, left.active) == (0.0, 0)


def test_a_view_of_another_user_is_refused() -> None:
    stranger: Account = replace(new_account("stranger"), role=Role.ADMIN)
    with pytest.raises(ValueError, match="not of the command's user"):
        decide(UserView(stranger), question(), NOON, Policy(), NOON)
