"""The deployment's limits and delays, and what of them holds for one user. The shell reads them from settings."""

from dataclasses import dataclass
from typing import Literal

from schemas.accounts import Account
from schemas.commands import SubmitJob
from schemas.endpoints import EndpointId, EndpointLimits
from schemas.jobs import Job


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and delays. Times in milliseconds, lengths in seconds of video; defaults are OpenV's where it has one.

    ``limit_window`` is ``(start, end)`` in ms since the epoch, both included; one that does not end after it begins
    counts as none, as in OpenV. Try *n* + 1 waits ``backoff_base_ms * backoff_factor ** (n - 1)``, at most
    ``backoff_max_ms``, of which the upper half is jitter. ``refund_on_cancel`` says what a cancelled run gives back:
    ``all``, ``used`` (all but the seconds it ran) or ``none``.
    """

    monthly_limit_seconds: float = 600.0
    limit_window: tuple[int, int] | None = None
    max_active: int = 3
    rate_limit: int = 5
    rate_window_ms: int = 10_000
    max_retries: int = 2
    backoff_base_ms: int = 2_000
    backoff_factor: int = 4
    backoff_max_ms: int = 120_000
    ttl_ms: int = 86_400_000
    execution_timeout_ms: int = 3_600_000
    credits_required: bool = False
    credits_per_video: float = 0.0
    refund_on_cancel: Literal["all", "used", "none"] = "all"

    def window(self) -> tuple[int, int] | None:
        """The limit window where it makes sense, else None."""
        if self.limit_window is None or self.limit_window[1] <= self.limit_window[0]:
            return None
        return self.limit_window


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one user in one scope."""

    seconds: float
    max_active: int
    rate_limit: int
    rate_window_ms: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is counted with: the others of its endpoint, by that endpoint's limits, or (no endpoint) all that the
    deployment's limits hold for, its own API and endpoints without limits. Seconds and credits know no scope."""

    endpoint: str | None = None
    limits: EndpointLimits | None = None


DEPLOYMENT = Scope()


def counted_on(asked: Job | SubmitJob) -> EndpointId | None:
    """The endpoint with whose jobs alone this one is counted. None: an endpoint without limits is no way around the
    deployment's."""
    return asked.endpoint if asked.limits is not None else None


def scope_of(asked: Job | SubmitJob) -> Scope:
    """By which limits this is measured, and what is counted with it."""
    endpoint = counted_on(asked)
    return DEPLOYMENT if endpoint is None else Scope(endpoint, asked.limits)


def limits_of(account: Account, policy: Policy, scope: Scope = DEPLOYMENT) -> Limits:
    """A user's limits in this scope.

    Overrides of activity and rate are exceptions from the deployment's limits: an endpoint has its own, and says who
    may use it. But zero is no exception, it is "nothing at all", and holds there too.
    """
    own = account.overrides
    seconds = policy.monthly_limit_seconds if own.monthly_limit_seconds is None else own.monthly_limit_seconds
    if scope.limits is not None:
        return Limits(
            seconds=seconds,
            max_active=0 if own.max_active == 0 else scope.limits.max_active,
            rate_limit=0 if own.rate_limit == 0 else scope.limits.rate_limit,
            rate_window_ms=scope.limits.rate_window_ms,
        )
    return Limits(
        seconds=seconds,
        max_active=policy.max_active if own.max_active is None else own.max_active,
        rate_limit=policy.rate_limit if own.rate_limit is None else own.rate_limit,
        rate_window_ms=policy.rate_window_ms if own.rate_window_ms is None else own.rate_window_ms,
    )
