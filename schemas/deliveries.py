"""What users are told outside of OpenV: their webhook endpoints, and one document for each thing to be told to one.

Written by gateways (endpoints, tests, redelivery by hand) and notifiers. A delivery's id is its ``webhook-id``: a
function of the job, its run and the endpoint, so that an event which is read again meets the document that is there.
A job that came with an address of its own (``Job.webhook``) is told there too, whatever endpoints its user has.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from uuid import NAMESPACE_URL, uuid5

from schemas.instants import Instant
from schemas.numbers import Count
from schemas.shape import shape

DAY = 86_400_000
# An event older than this makes no delivery, and a delivery is kept for longer: none is ever made a second time.
TOLD_WITHIN_MS = 30 * DAY
KEPT_MS = 40 * DAY
TEST_KEPT_MS = DAY
# Calls about jobs are many, and of use for a short while: nobody can ask for the result of an old job any more.
JOB_TOLD_WITHIN_MS = 3 * DAY
JOB_KEPT_MS = 7 * DAY
ATTEMPTS_KEPT = 20
BODY_MAX = 20_000  # bytes, by the Standard Webhooks specification

MAIL = "mail"  # what stands for the endpoint of a mail
JOBS = "jobs"  # and for that of the addresses that jobs came with
TEST_TYPE = "webhook.test"
_NAMESPACE = uuid5(NAMESPACE_URL, "urn:openv:delivery")
_AUTHORITY_END = re.compile(r"[/?#]")


class WebhookEvent(StrEnum):
    """What an endpoint can ask to be told."""

    COMPLETED = "video.completed"
    FAILED = "video.failed"  # timed out as well: the code says which
    CANCELLED = "video.cancelled"


@shape
class RetiredSecret:
    """A secret that was replaced: it signs too, ``until`` then."""

    secret: str = field(repr=False)
    until: Instant


@shape
class Endpoint:
    """One address of a user. ``listens``: to what, and since when, so that no event from before is told.

    ``secret`` signs, and so do those ``retired`` a short while ago. ``failing_since``: the first failure
    after which nothing succeeded. ``disabled_reason`` None and not ``enabled``: its owner switched it off.
    """

    endpoint_id: str
    url: str
    listens: Mapping[WebhookEvent, Instant]
    secret: str = field(repr=False)
    created_at: Instant
    updated_at: Instant
    description: str = ""
    enabled: bool = True
    disabled_reason: str | None = None
    retired: tuple[RetiredSecret, ...] = ()
    failing_since: Instant | None = None


@shape
class Hooks:
    """All endpoints of a user, in one document, so that their number is bounded whoever races."""

    user_id: str
    version: int = 0
    endpoints: tuple[Endpoint, ...] = ()

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint of that id."""
        return next((one for one in self.endpoints if one.endpoint_id == endpoint_id), None)


class DeliveryKind(StrEnum):
    """What is to be done, and on which schedule."""

    WEBHOOK = "webhook"
    TEST = "test"  # a webhook by hand, sent once, also to a disabled endpoint
    MAIL = "mail"
    JOB = "job"  # to the address that the job came with, as RunPod does it


class DeliveryState(StrEnum):
    PENDING = "pending"  # to be sent at ``next_at``
    SENDING = "sending"  # claimed; whoever claimed it is taken for dead at ``next_at``
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # for good
    CANCELLED = "cancelled"  # what it is about, or its endpoint, is gone


class Step(StrEnum):
    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    AGAIN = "again"  # it failed, tries are left
    GAVE_UP = "gave_up"  # it failed for good
    CANCELLED = "cancelled"
    REDELIVERED = "redelivered"  # by hand: from the first try on, now


S = DeliveryState
TRANSITIONS: Mapping[DeliveryState, Mapping[Step, DeliveryState]] = MappingProxyType(
    {
        S.PENDING: {Step.CLAIMED: S.SENDING, Step.CANCELLED: S.CANCELLED, Step.REDELIVERED: S.PENDING},
        S.SENDING: {
            Step.CLAIMED: S.SENDING,  # by another, after the lease
            Step.SUCCEEDED: S.SUCCEEDED,
            Step.AGAIN: S.PENDING,
            Step.GAVE_UP: S.FAILED,
            Step.CANCELLED: S.CANCELLED,
        },
        S.SUCCEEDED: {Step.REDELIVERED: S.PENDING},
        S.FAILED: {Step.REDELIVERED: S.PENDING},
        S.CANCELLED: {Step.REDELIVERED: S.PENDING},
    }
)


@shape
class Attempt:
    """One try. ``status``: of the HTTP answer, if there was one. ``error``: why it did not count, in our own words."""

    at: Instant
    duration_ms: Count
    status: int | None = None
    error: str | None = None


@shape
class Delivery:
    """One thing to be told to one endpoint. ``body`` is what is signed and sent, the same bytes at every try.

    ``tries`` of the current round (by hand begins another), ``attempts`` the last few of all. ``next_at``: see
    ``DeliveryState``; None once it is over. ``claimed_by``: whoever sends it. ``reason``: why it was cancelled.
    Of kind JOB the body is empty, because it is made from the job's ``run`` when it is sent; ``url`` is shown to its
    owner alone (the job's own is sent to), and ``to`` stands for the user and the server that it leads to.
    """

    delivery_id: str
    user_id: str
    endpoint_id: str
    kind: DeliveryKind
    type: str
    body: str
    version: int
    created_at: Instant
    delete_at: Instant
    state: DeliveryState = DeliveryState.PENDING
    next_at: Instant | None = None
    job_id: str | None = None
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
    claimed_by: str | None = None
    reason: str | None = None
    run: Count | None = None
    url: str | None = field(default=None, repr=False)
    to: str | None = None

    @property
    def place(self) -> str:
        """What tries are counted by, so that a server which does not answer holds up no other."""
        return self.to or self.endpoint_id


def delivery_id_of(job_id: str, run: int, endpoint_id: str) -> str:
    """The one delivery of how this run of the job ended, to this endpoint. (A run ends once.)"""
    return f"msg_{uuid5(_NAMESPACE, f'{len(job_id)}:{job_id}:{run}:{endpoint_id}').hex}"


def place_of_server(user_id: str, url: str) -> str:
    """``Delivery.to``: one name for all that one user sends to one server, and no part of the address."""
    scheme, slashes, rest = url.partition("://")
    server = f"{scheme}{slashes}{_AUTHORITY_END.split(rest, maxsplit=1)[0]}".lower()
    return f"to_{uuid5(_NAMESPACE, f'{len(user_id)}:{user_id}:{server}').hex}"


def kept_ms(kind: DeliveryKind) -> int:
    """How long a delivery is kept after it was made, or begun again."""
    return JOB_KEPT_MS if kind is DeliveryKind.JOB else KEPT_MS


def step(state: DeliveryState, taken: Step) -> DeliveryState | None:
    """The state after the step, or None where it changes nothing."""
    return TRANSITIONS[state].get(taken)
