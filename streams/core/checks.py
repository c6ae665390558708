"""What an admission is checked against, in order."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from schemas.accounts import Role
from schemas.failures import FailureCode
from schemas.jobs import Remaining
from streams.core.case import Case
from streams.core.credits import balance
from streams.core.folds import active, admissions, counted
from streams.core.policy import limits_of
from streams.core.quota import TINY, exceeds, remaining, used_of

C = FailureCode


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run would reserve."""

    seconds: float
    credits: float


def _blocked(case: Case, _ask: Ask) -> bool:
    account = case.view.account
    return account.blocked or account.deleted_at is not None or account.role is Role.RESTRICTED


def _over_quota(case: Case, ask: Ask) -> bool:
    limit = limits_of(case.view.account, case.policy).seconds
    return exceeds(limit - used_of(counted(case.jobs), case.policy, case.now), ask.seconds)


def _over_credits(case: Case, ask: Ask) -> bool:
    return ask.credits > 0 and ask.credits > balance(case.view.account.grants, counted(case.jobs), case.now) + TINY


def _over_active(case: Case, _ask: Ask) -> bool:
    return active(case.jobs) >= limits_of(case.view.account, case.policy).max_active


def _over_rate(case: Case, _ask: Ask) -> bool:
    limits = limits_of(case.view.account, case.policy)
    return len(admissions(case.jobs, case.now - limits.rate_window_ms)) >= limits.rate_limit


# OpenV's order (quota, then concurrency), the others put in by how long they last: first what only an operator, the
# next period or a payment can change, last what waiting cures. A person is told what really stands in the way.
CHECKS: tuple[tuple[FailureCode, Callable[[Case, Ask], bool]], ...] = (
    (C.ACCOUNT_BLOCKED, _blocked),
    (C.QUOTA_EXCEEDED, _over_quota),
    (C.CREDITS_EXCEEDED, _over_credits),
    (C.CONCURRENCY_EXCEEDED, _over_active),
    (C.RATE_LIMITED, _over_rate),
)


def refused_for(case: Case, ask: Ask) -> FailureCode | None:
    """The first thing that stands in the way, or None."""
    return next((code for code, stands_in_the_way in CHECKS if stands_in_the_way(case, ask)), None)


def standing(case: Case, code: FailureCode) -> Remaining:
    """Where the refused user stands; for a rate limit also in how many ms the next request has a chance."""
    left = remaining(case.view, case.policy, case.now)
    limits = limits_of(case.view.account, case.policy)
    if code is not C.RATE_LIMITED or limits.rate_limit < 1:
        return left
    times = admissions(case.jobs, case.now - limits.rate_window_ms)
    return replace(left, retry_after_ms=max(1, times[-limits.rate_limit] + limits.rate_window_ms - case.now))
