"""Sums over documents: what counts, and whose."""

from dataclasses import replace

from schemas.accounts import Overrides
from schemas.jobs import Charge, ChargeState
from schemas.lifecycle import State
from streams.core.effects import UserView
from streams.core.folds import sums_of, used_seconds
from streams.core.ledger import new_account
from streams.core.policy import Limits, Policy, limits_of
from tests.streams.core.ledger_documents import NOON, USER, Documents, submit


def test_only_the_users_own_jobs_count() -> None:
    documents = Documents()
    documents.do(submit())
    foreign = replace(documents.job(), job_id="theirs", user_id="someone-else")
    view = UserView(documents.account, {**documents.jobs, "theirs": foreign})
    assert set(view.own_jobs()) == {"j1"}
    assert view.sums == UserView(documents.account, documents.jobs).sums
    assert view.own("theirs") is None


def test_earlier_runs_count_by_their_own_charges() -> None:
    documents = Documents()
    documents.do(submit())
    kept = Charge(state=ChargeState.CAPTURED, seconds=2.0, reserved_at=NOON - 5)
    given_back = Charge(state=ChargeState.REFUNDED, seconds=9.0, reserved_at=NOON - 3)
    jobs = {"j1": replace(documents.job(), earlier_charges=(kept, given_back))}
    sums = sums_of(jobs.values())
    assert used_seconds(sums.charges(), NOON - 5, NOON) == 2.0
    assert used_seconds(sums.charges(), NOON - 4, NOON + 1) == 31 / 24
    assert sums.admissions(None, NOON - 5) == (NOON - 3, NOON)
    assert sums.active == {None: 1}
    assert sums_of([replace(jobs["j1"], state=State.DELETED)]).active == {}


def test_overrides_replace_defaults_also_with_zero() -> None:
    account = replace(new_account(USER), overrides=Overrides(max_active=0, rate_limit=7))
    assert limits_of(account, Policy()) == Limits(600.0, 0, 7, 10_000)
