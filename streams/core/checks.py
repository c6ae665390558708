"""What an admission is checked against, in order."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from schemas.accounts import Role
from schemas.failures import FailureCode
from schemas.jobs import Remaining
from streams.core.case import Case
from streams.core.credits import balance
from streams.core.policy import DEPLOYMENT, Scope, limits_of
from streams.core.quota import TINY, exceeds, remaining, used_of

C = FailureCode


@dataclass(frozen=True, slots=True)
class Ask:
    """What a run would reserve, and where it is asked for."""

    seconds: float
    credits: float
    scope: Scope = DEPLOYMENT


def _blocked(case: Case, _ask: Ask) -> bool:
    account = case.view.account
    return account.blocked or account.deleted_at is not None or account.role is Role.RESTRICTED


def _over_quota(case: Case, ask: Ask) -> bool:
    """What makes no video needs none of the seconds, however few are left."""
    if ask.seconds <= 0:
        return False
    limit = limits_of(case.view.account, case.policy).seconds
    return exceeds(limit - used_of(case.view.sums.charges(), case.policy, case.now), ask.seconds)


def _over_credits(case: Case, ask: Ask) -> bool:
    account = case.view.account
    return ask.credits > 0 and ask.credits > balance(account.grants, case.view.sums.charges(), case.now) + TINY


def _over_active(case: Case, ask: Ask) -> bool:
    limits = limits_of(case.view.account, case.policy, ask.scope)
    return case.view.sums.active.get(ask.scope.endpoint, 0) >= limits.max_active


def _over_rate(case: Case, ask: Ask) -> bool:
    """How fast a user asked says nothing of how fast an operator lets it be told again."""
    if case.told_again:
        return False
    limits = limits_of(case.view.account, case.policy, ask.scope)
    admitted = case.view.sums.admissions(ask.scope.endpoint, case.now - limits.rate_window_ms)
    return len(admitted) >= limits.rate_limit


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


def standing(case: Case, code: FailureCode, scope: Scope) -> Remaining:
    """Where the refused user stands; for a rate limit also in how many ms the next request has a chance."""
    left = remaining(case.view, case.policy, case.now, scope)
    limits = limits_of(case.view.account, case.policy, scope)
    if code is not C.RATE_LIMITED or limits.rate_limit < 1:
        return left
    times = case.view.sums.admissions(scope.endpoint, case.now - limits.rate_window_ms)
    return replace(left, retry_after_ms=max(1, times[-limits.rate_limit] + limits.rate_window_ms - case.now))
