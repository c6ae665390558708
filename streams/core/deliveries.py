"""One delivery from claim to end: what each step leaves in the documents, and when the next try is due."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from schemas.deliveries import (
    ATTEMPTS_KEPT,
    Attempt,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Endpoint,
    Hooks,
    Step,
    step,
)
from schemas.instants import from_datetime

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
GONE = 410
RETRY_AFTER_MAX = DAY
WORDS_GONE = "The endpoint answered 410 Gone."
WORDS_FAILING = "Nothing was accepted for five days."
WORDS_OVERDUE = "It could not be sent in time: what was to be sent to this server before it takes too long."

# The delays before each try, in ms. A webhook's are those of the Standard Webhooks specification, a job's RunPod's.
SCHEDULES: Mapping[DeliveryKind, tuple[int, ...]] = MappingProxyType(
    {
        DeliveryKind.WEBHOOK: (
            0,
            5 * SECOND,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ),
        DeliveryKind.TEST: (0,),
        DeliveryKind.MAIL: (0, MINUTE, 10 * MINUTE, HOUR, 4 * HOUR),
        DeliveryKind.JOB: (0, 10 * SECOND, 10 * SECOND),
    }
)


@dataclass(frozen=True, slots=True)
class SendingPolicy:
    """How deliveries are sent. ``lease_ms`` is longer than any try takes: 15 s, and a lookup's 5 s more.

    ``at_once``: tries at a time, ``mails`` of them for mails alone, of the others ``per_user`` of one user and
    ``per_endpoint`` to one endpoint. ``put_off_ms``: until it is looked at again what could not be sent for our part.
    ``slow_ms``: a try that takes longer is slow. ``overdue_ms``: what was due so long ago is not sent any more, of
    calls about jobs, whose number is bounded by nothing else. ``large``: how many of their bodies that lie in the
    object store are in memory at a time; ``large_ms``: how long a try waits for that, and then for the store.
    """

    schedules: Mapping[DeliveryKind, tuple[int, ...]] = field(default_factory=lambda: SCHEDULES)
    jitter: float = 0.1
    timeout_ms: int = 15 * SECOND
    lease_ms: int = 60 * SECOND
    failing_ms: int = 5 * DAY
    at_once: int = 64
    per_user: int = 4
    per_endpoint: int = 2
    mails: int = 4
    look_ms: int = SECOND
    put_off_ms: int = 10 * SECOND
    slow_ms: int = 3 * SECOND
    overdue_ms: int = DAY
    large: int = 3
    large_ms: int = 15 * SECOND


@dataclass(frozen=True, slots=True)
class Result:
    """How a try ended. ``status`` of an HTTP answer; ``error`` where it did not count; ``final``: no more tries.

    ``put_off``: it was not sent, for our part; that is no try.
    """

    at: int
    duration_ms: int
    status: int | None = None
    error: str | None = None
    retry_after_ms: int | None = None
    final: bool = False
    put_off: bool = False

    @property
    def succeeded(self) -> bool:
        return self.error is None


def claimed(delivery: Delivery, by: str, now: int, policy: SendingPolicy) -> Delivery | None:
    """The delivery as ``by`` sends it; None where it is not due, or over."""
    state = step(delivery.state, Step.CLAIMED)
    if state is None or delivery.next_at is None or delivery.next_at > now:
        return None
    return replace(
        delivery,
        state=state,
        version=delivery.version + 1,
        tries=delivery.tries + 1,
        claimed_by=by,
        next_at=now + policy.lease_ms,
    )


def overdue(delivery: Delivery, now: int, policy: SendingPolicy) -> bool:
    """Whether it is too late to send it: only calls about jobs, whose results nobody keeps for long."""
    is_job = delivery.kind is DeliveryKind.JOB
    return is_job and delivery.next_at is not None and now - delivery.next_at > policy.overdue_ms


def tried(delivery: Delivery, result: Result, policy: SendingPolicy, chance: float) -> Delivery:
    """A claimed delivery after its try. ``chance``: from 0 to below 1, for the jitter."""
    if result.put_off:
        again = replace(_after(delivery, Step.AGAIN), tries=delivery.tries - 1)
        return replace(again, next_at=result.at + result.duration_ms + policy.put_off_ms)
    schedule = policy.schedules[delivery.kind]
    if result.succeeded:
        return _ended(delivery, Step.SUCCEEDED, result)
    is_job = delivery.kind is DeliveryKind.JOB  # RunPod looks at nothing but whether the answer was 200
    is_final = result.final or (result.status == GONE and not is_job)
    if is_final or delivery.tries >= len(schedule):
        return _ended(delivery, Step.GAVE_UP, result)
    delay = round(schedule[delivery.tries] * (1 + policy.jitter * chance))
    asked = 0 if is_job else min(result.retry_after_ms or 0, RETRY_AFTER_MAX)
    ended_at = result.at + result.duration_ms
    return replace(_noted(delivery, Step.AGAIN, result), next_at=ended_at + max(delay, asked))


def cancelled(delivery: Delivery, reason: str) -> Delivery | None:
    """It is not to be sent any more; None where it is over."""
    state = step(delivery.state, Step.CANCELLED)
    if state is None:
        return None
    return replace(delivery, state=state, version=delivery.version + 1, next_at=None, claimed_by=None, reason=reason)


def hooks_after(hooks: Hooks, after: Delivery, result: Result, policy: SendingPolicy) -> Hooks | None:
    """The user's endpoints after this try to one of them; None where nothing changes.

    A success forgets every failure. 410 disables at once; else an endpoint is disabled when a delivery is given up
    after a time in which nothing succeeded: never by a single failure after a long silence.
    """
    endpoint = hooks.endpoint(after.endpoint_id)
    if endpoint is None or after.kind is not DeliveryKind.WEBHOOK or result.put_off:
        return None
    changed = _endpoint_after(endpoint, after, result, policy)
    if changed == endpoint:
        return None
    others = tuple(changed if one.endpoint_id == changed.endpoint_id else one for one in hooks.endpoints)
    return replace(hooks, version=hooks.version + 1, endpoints=others)


def retry_after_ms(text: str | None, now: int) -> int | None:
    """A ``Retry-After`` (seconds, or a date) as ms from now; None where it can't be read."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]) * SECOND, RETRY_AFTER_MAX)
    try:
        moment = parsedate_to_datetime(text)
        at = from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0, at - now), RETRY_AFTER_MAX)


def _endpoint_after(endpoint: Endpoint, after: Delivery, result: Result, policy: SendingPolicy) -> Endpoint:
    if result.succeeded:
        return replace(endpoint, failing_since=None)
    since = result.at if endpoint.failing_since is None else endpoint.failing_since
    endpoint = replace(endpoint, failing_since=since)
    if not endpoint.enabled:
        return endpoint
    if result.status == GONE:
        return replace(endpoint, enabled=False, disabled_reason=WORDS_GONE)
    if after.state is DeliveryState.FAILED and result.at - since >= policy.failing_ms:
        return replace(endpoint, enabled=False, disabled_reason=WORDS_FAILING)
    return endpoint


def _ended(delivery: Delivery, taken: Step, result: Result) -> Delivery:
    return replace(_noted(delivery, taken, result), next_at=None)


def _noted(delivery: Delivery, taken: Step, result: Result) -> Delivery:
    attempt = Attempt(at=result.at, duration_ms=result.duration_ms, status=result.status, error=result.error)
    return replace(_after(delivery, taken), attempts=(*delivery.attempts, attempt)[-ATTEMPTS_KEPT:])


def _after(delivery: Delivery, taken: Step) -> Delivery:
    state = step(delivery.state, taken)
    if state is None:
        raise ValueError(f"a delivery that is {delivery.state} can't be {taken}")
    return replace(delivery, state=state, version=delivery.version + 1, claimed_by=None)
