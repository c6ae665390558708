"""Grants, overrides, roles, blocks, and the deletion of a user."""

from itertools import permutations

import pytest

from schemas.accounts import Account, Overrides, Role
from schemas.commands import AccountCommand, DeleteUser, GrantCredits, SetBlocked, SetOverrides, SetRole
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState
from schemas.lifecycle import State
from streams.core.policy import Policy
from tests.streams.core.ledger_documents import NOON, SECOND, USER, Documents, retry, started, submit, succeeded


def grant(amount: float = 5.0, grant_id: str = "g1", expires_at: int | None = None) -> GrantCredits:
    return GrantCredits(command_id="g", user_id=USER, grant_id=grant_id, credits=amount, expires_at=expires_at)


def role(name: Role, issued_at: int) -> SetRole:
    return SetRole(command_id=f"r{issued_at}", user_id=USER, role=name, issued_at=issued_at)


def blocked(yes: bool, issued_at: int) -> SetBlocked:
    return SetBlocked(command_id=f"b{issued_at}", user_id=USER, blocked=yes, issued_at=issued_at)


def overrides(seconds: float, issued_at: int) -> SetOverrides:
    return SetOverrides(
        command_id=f"o{issued_at}",
        user_id=USER,
        overrides=Overrides(monthly_limit_seconds=seconds),
        issued_at=issued_at,
    )


def delete_user(issued_at: int) -> DeleteUser:
    return DeleteUser(command_id=f"d{issued_at}", user_id=USER, issued_at=issued_at)


def test_a_grant_counts_once() -> None:
    documents = Documents()
    first = documents.do(grant())
    assert first.account == documents.account
    again = documents.do(grant(99.0))
    assert again.write is None
    assert again.account == documents.account, "announced again"
    assert again.answer is not None
    assert again.answer.remaining is not None
    assert (again.answer.outcome, again.answer.remaining.credits) == (Outcome.DONE, 5.0)


@pytest.mark.parametrize(
    ("newer", "older", "member"),
    [
        (role(Role.ADMIN, 20), role(Role.RESTRICTED, 10), "role"),
        (blocked(True, 20), blocked(False, 10), "blocked"),
        (overrides(9.0, 20), overrides(1.0, 10), "overrides"),
    ],
)
def test_the_newest_wins_in_any_order(newer: AccountCommand, older: AccountCommand, member: str) -> None:
    wanted = getattr(newer, member)
    for order in permutations((newer, older)):
        documents = Documents()
        for command in order:
            documents.do(command)
        assert getattr(documents.account, member) == wanted
        before = documents.account
        assert documents.ask(older).outcome is Outcome.UNCHANGED
        assert documents.ask(newer).outcome is Outcome.DONE, "the same command is answered the same"
        assert documents.account == before


def test_a_block_stops_submissions_and_retries_but_not_what_runs() -> None:
    documents = Documents()
    documents.do(submit())
    documents.do(blocked(True, 1))
    assert documents.ask(submit("j2")).code is FailureCode.ACCOUNT_BLOCKED
    documents.do(started())
    documents.do(succeeded())
    assert documents.job().state is State.COMPLETED


def test_deleting_a_user_deletes_each_job_then_the_account() -> None:
    documents = Documents(Policy(max_active=9))
    documents.do(grant(9.0))
    documents.do(overrides(700.0, 3))
    documents.do(submit("old"), now=NOON - 400 * 24 * 3_600_000)
    documents.do(submit("j1", credits=2.0))
    documents.do(submit("j2"))
    documents.do(succeeded())
    assert documents.write(documents.decision(submit("j3")), settle=False)
    decision = documents.do(delete_user(50))
    assert {job.state for job in documents.jobs.values()} == {State.DELETED}
    assert set(documents.jobs) == {"j1", "j2", "old", "j3"}
    assert {job.request.prompt for job in documents.jobs.values()} == {""}
    assert documents.job("j1").charge.state is ChargeState.CAPTURED
    assert documents.job("j2").charge.state is ChargeState.REFUNDED
    account = documents.account
    assert (account.deleted_at, account.deleted_issued_at, account.pending) == (NOON, 50, {})
    assert (account.overrides, account.role) == (Overrides(), Role.USER)
    assert [(g.grant_id, g.expires_at, g.reason) for g in account.grants] == [("g1", NOON, "")]
    assert decision.account == account
    assert decision.answer is not None
    assert decision.answer.outcome is Outcome.DONE
    assert documents.ask(delete_user(50)).outcome is Outcome.DONE
    assert documents.account == account
    assert documents.ask(submit("j9"), now=NOON + 1).code is FailureCode.ACCOUNT_BLOCKED


def test_a_user_s_deletion_cut_short_between_write_and_announcement_is_still_announced() -> None:
    documents = Documents(Policy(max_active=9))
    documents.do(submit("j1"))
    documents.do(submit("j2"))
    assert documents.write(documents.decision(delete_user(50)))  # j1 is deleted; the process dies before it says so
    decision = documents.do(delete_user(50))
    assert [(job.job_id, job.state) for job in decision.jobs] == [("j1", State.DELETED), ("j2", State.DELETED)]
    again = documents.do(delete_user(50))  # it died once more, after the account's write
    assert (again.write, again.jobs) == (None, decision.jobs)


def test_a_user_who_comes_back_starts_with_nothing_and_is_not_deleted_by_a_replay() -> None:
    documents = Documents()
    documents.do(grant(5.0))
    documents.do(submit("j1", credits=3.0))
    documents.do(succeeded())
    documents.do(delete_user(50), now=NOON + 1)
    documents.do(role(Role.USER, 60), now=NOON + 2)
    assert documents.account.deleted_at is None
    assert documents.ask(grant(5.0), now=NOON + 3).outcome is Outcome.DONE
    answer = documents.ask(submit("j2"), now=NOON + 4)
    assert answer.outcome is Outcome.ADMITTED
    assert answer.remaining is not None
    assert answer.remaining.credits == 0.0, "neither the old grant, nor a debt of what it paid for"
    before = documents.account
    assert documents.ask(delete_user(50), now=NOON + 5).outcome is Outcome.UNCHANGED
    assert documents.ask(overrides(9.0, 40), now=NOON + 5).outcome is Outcome.UNCHANGED
    assert documents.account == before
    assert documents.job("j2").state is State.QUEUED


def test_whether_a_user_exists_does_not_depend_on_the_order_of_arrival() -> None:
    commands = (role(Role.ADMIN, 10), delete_user(20), role(Role.USER, 30), delete_user(30), role(Role.ADMIN, 25))
    ends = set()
    for order in permutations(commands):
        documents = Documents()
        for command in order:
            documents.do(command)
        account: Account = documents.account
        ends.add((account.deleted_at is None, account.deleted_issued_at))
    assert ends == {(False, 30)}


def test_a_deletion_issued_before_the_user_came_back_does_nothing() -> None:
    documents = Documents()
    documents.do(role(Role.USER, 60))
    documents.do(submit())
    assert documents.ask(delete_user(50)).outcome is Outcome.UNCHANGED
    assert documents.account.deleted_at is None
    assert documents.job().state is State.QUEUED


def test_a_deletion_of_a_user_never_heard_of_is_kept() -> None:
    """So that a submission still on its way is refused."""
    documents = Documents()
    documents.do(delete_user(5))
    assert documents.account.version == 1
    assert documents.ask(submit(), now=NOON + SECOND).code is FailureCode.ACCOUNT_BLOCKED
    assert documents.ask(retry("j1"), now=NOON + SECOND).outcome is Outcome.UNCHANGED


def test_what_a_deleted_user_still_asks_for_is_refused_and_its_words_are_not_kept() -> None:
    """Nobody would delete them any more. Who comes back may ask for it again."""
    documents = Documents()
    documents.do(delete_user(5))
    late = submit(webhook="https://h")
    for _ in range(2):
        assert documents.ask(late, now=NOON + SECOND).code is FailureCode.ACCOUNT_BLOCKED
        kept = documents.job()
        assert (kept.state, kept.request.prompt, kept.request.negative_prompt) == (State.REJECTED, "", "")
        assert (kept.webhook, kept.request.num_frames) == (None, 31)
    documents.do(role(Role.USER, 6), now=NOON + 2 * SECOND)
    again = submit(command_id="again")
    assert documents.ask(again, now=NOON + 3 * SECOND).outcome is Outcome.ADMITTED
    assert documents.job().request.prompt == "a corgi"


def test_an_unchanged_account_that_was_never_stored_is_not_announced() -> None:
    documents = Documents()
    decision = documents.do(role(Role.USER, 0))
    assert (decision.write, decision.account) == (None, None)
