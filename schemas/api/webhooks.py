"""``/api/webhooks``: endpoints that are told how videos end, and the log of what they were told.

A secret is shown when it is made and never again. Times are RFC 3339. What is sent to an endpoint is described in
``schemas/deliveries.py`` (headers: Standard Webhooks 1.0.0).
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.deliveries import Attempt, DeliveryState, WebhookEvent
from schemas.failures import FailureCode
from schemas.instants import Instant
from schemas.lifecycle import State
from schemas.shape import shape

URL_MAX = 2_048
DESCRIPTION_MAX = 200
PAGE_MAX = 100
PAGE_DEFAULT = 50

_Event = Annotated[WebhookEvent, Field(strict=False)]
_Events = Annotated[list[_Event], Field(min_length=1, max_length=50)]
_Url = Annotated[str, Field(min_length=1, max_length=URL_MAX)]
_Description = Annotated[str, Field(max_length=DESCRIPTION_MAX)]


class WebhookBody(BaseModel):
    """``POST /api/webhooks``. Without ``events``: all of them."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    url: _Url
    events: _Events = Field(default_factory=lambda: list(WebhookEvent))
    description: _Description = ""


class WebhookChange(BaseModel):
    """``PATCH /api/webhooks/{id}``: what is left out, or null, stays. ``enabled: true`` forgets why it was disabled."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = None
    enabled: bool | None = None


@shape
class Webhook:
    """An endpoint. ``disabledReason``: why OpenV disabled it; ``failingSince``: nothing was accepted since.

    ``previousSecretUntil``: until then what is sent carries a signature by the secret before the last rotation too.
    """

    id: str
    url: str
    events: tuple[WebhookEvent, ...]
    description: str
    enabled: bool
    created_at: Instant
    updated_at: Instant
    disabled_reason: str | None = None
    failing_since: Instant | None = None
    previous_secret_until: Instant | None = None


@shape
class WebhookWithSecret(Webhook):
    """The only answer that shows the secret: ``whsec_`` and base64."""

    secret: str


@shape
class Webhooks:
    """All of the caller's, oldest first."""

    webhooks: tuple[Webhook, ...]


@shape
class WebhookDelivery:
    """One event to one endpoint; ``id`` is the ``webhook-id`` of every attempt. ``attempts``: the last few.

    ``url``: where to, of a delivery to the address that a job came with; ``type`` is then ``job.`` and how it ended.
    """

    id: str
    type: str
    state: DeliveryState
    created_at: Instant
    attempts: tuple[Attempt, ...]
    job_id: str | None = None
    next_attempt_at: Instant | None = None
    reason: str | None = None
    url: str | None = None


@shape
class WebhookDeliveries:
    """A page, newest first; ``next`` is the ``before`` of the following page."""

    deliveries: tuple[WebhookDelivery, ...]
    next: str | None = None


@shape
class ToldFailure:
    """Why it failed: a code of ``schemas/failures.py``, and words for a person."""

    code: FailureCode
    message: str


@shape
class ToldVideo:
    """A video at its end, without its prompt. ``status`` is one of OpenV's four words (a cancelled video reads as
    failed there), ``state`` tells them apart. Addresses are whole where ``OPENV_PUBLIC_URL`` is known, else paths."""

    job_id: str
    status: str
    state: State
    run: int
    frames: int
    created_at: Instant
    updated_at: Instant
    finished_at: Instant | None = None
    url: str | None = None
    poster_url: str | None = None
    thumbnail_url: str | None = None
    error: ToldFailure | None = None


@shape
class Told:
    """The body of a call to an endpoint; ``type`` is the event."""

    type: WebhookEvent
    timestamp: Instant
    data: ToldVideo


class RunpodOutput(BaseModel):
    """``result`` is the video's address, or ``FAILED: …``."""

    model_config = ConfigDict(extra="allow")

    result: str | None = None
    status: str | None = None
    error: str | None = None


class RunpodCall(BaseModel):
    """RunPod's status object. ``status``: IN_QUEUE, QUEUED, IN_PROGRESS, PROCESSING, RUNNING, COMPLETED, DONE, FAILED,
    CANCELLED or TIMED_OUT, in any case. COMPLETED without ``output.result`` is a failure."""

    model_config = ConfigDict(extra="allow")

    id: str
    status: str
    output: RunpodOutput | None = None
    error: str | None = None
