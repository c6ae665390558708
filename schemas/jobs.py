"""The job document: what a client asked for and all that became of it. One form in MongoDB, events and answers.

(job, attempt, worker) is the fencing token of every report. ``run`` is raised by a manual retry, ``attempt`` by every
new try and never reset, ``tries`` is what the retry limit counts. ``version`` is raised by every write.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from schemas.endpoints import EndpointId, EndpointLimits
from schemas.failures import FailureCode
from schemas.instants import Instant
from schemas.lifecycle import State
from schemas.numbers import Count
from schemas.requests import GenerationRequest
from schemas.shape import shape

REMOTE_URL = r"^https?://[A-Za-z0-9\[][!-~]{0,2039}$"  # ASCII without blanks: what a Location header carries as it is
RemoteUrl = Annotated[str, StringConstraints(pattern=REMOTE_URL)]


def is_remote_url(text: str) -> bool:
    """Whether the text may stand in ``Output.remote_url``."""
    return re.fullmatch(REMOTE_URL[1:-1], text) is not None


class ChargeState(StrEnum):
    NONE = "none"  # refused: nothing was ever reserved
    RESERVED = "reserved"
    CAPTURED = "captured"
    REFUNDED = "refunded"


@shape
class Charge:
    """Seconds of video and credits set aside for a job. It belongs to the period of ``reserved_at``."""

    state: ChargeState
    seconds: float
    credits: float = 0.0
    reserved_at: Instant


@shape
class StoredFile:
    """A file in the object store: its key, size in bytes, hex SHA-256 and media type.

    ``store``: None is the main store; ``fallback`` the one that workers use when the main one is away for long.
    """

    key: str
    bytes: Count
    sha256: str
    media_type: str
    store: str | None = None


@shape
class Output:
    """What an attempt delivered: the video and its pictures, or an external worker's word: a JSON object with
    ``output``, ``error`` or both, as text (``value``) or, where it is large, in the object store (``value_key``).
    ``remote_url``: where a foreign service keeps the video, which is not ours.
    """

    video: StoredFile | None = None
    poster: StoredFile | None = None
    thumbnail: StoredFile | None = None
    width: Count | None = None
    height: Count | None = None
    frames: Count | None = None
    fps: float | None = None
    duration: float | None = None
    value: str | None = None
    value_key: str | None = None
    remote_url: RemoteUrl | None = None


@shape
class Failure:
    """Why a job or an attempt failed: the code, and words for a person (never the prompt)."""

    code: FailureCode
    message: str


@shape
class Remaining:
    """Where a user stands in the running period, at one decision. Seconds of video, counts, credits."""

    limit_seconds: float
    used_seconds: float
    remaining_seconds: float
    period_start: Instant
    period_end: Instant | None = None
    active: int
    max_active: int
    credits: float = 0.0
    suggested_frames: int | None = None
    retry_after_ms: int | None = None


@shape
class Refusal:
    """Why a submission or a manual retry was refused.

    ``command_id`` so that the same command is answered the same again, ``refused_at`` so that an older one is too.
    """

    command_id: str
    code: FailureCode
    remaining: Remaining | None = None
    refused_at: Instant = 0


class AttemptEnd(StrEnum):
    """How an attempt ended that delivered nothing."""

    FAILED = "failed"  # its worker said so: it can't deliver any more
    LOST = "lost"  # its worker fell silent, and may yet deliver
    HANDED_BACK = "handed_back"  # given back unharmed; its worker may yet deliver
    STOPPED = "stopped"  # it ran when its run was ended from outside


@shape
class EarlierAttempt:
    """An attempt before the current one: who ran it and how it ended."""

    attempt: int
    worker_id: str
    end: AttemptEnd
    code: FailureCode | None = None
    started_at: Instant | None = None
    ended_at: Instant | None = None


@shape
class Job:
    """One job. ``due_at``: when the queued attempt may run, ``expires_at`` ends the run's ttl; instants in UTC.

    ``endpoint`` is the serverless endpoint that was asked, ``external`` whether its workers are not ours: such a job is
    no video, and is shown on that endpoint alone; ``limits`` are the endpoint's that its newest run was measured by.
    ``price_credits`` is what one run costs; ``charge`` is that of the newest run, ``earlier_charges`` those of runs
    before it that still count. ``winning_attempt`` on ``worker_id`` made ``output``, also where that is an external
    worker's word on its failure; ``earlier_attempts`` are the last few that did not. ``asked_at``: when the newest run
    was asked for, where that was set aside at first and decided later.
    """

    job_id: str
    user_id: str
    pool: str
    state: State
    version: int
    request: GenerationRequest
    request_hash: str
    charge: Charge
    created_at: Instant
    updated_at: Instant
    due_at: Instant
    expires_at: Instant
    execution_timeout_ms: int
    run: int = 1
    run_first_attempt: int = 1
    attempt: int = 1
    tries: int = 1
    max_retries: int = 2
    priority: int = 0
    origin: str = "openv"
    webhook: str | None = None
    endpoint: EndpointId | None = None
    external: bool = False
    limits: EndpointLimits | None = None
    worker_id: str | None = None
    previous_worker_id: str | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    failure: Failure | None = None
    output: Output | None = None
    refusal: Refusal | None = None
    labels: Mapping[str, str] | None = None
    price_credits: float = 0.0
    earlier_charges: tuple[Charge, ...] = ()
    earlier_attempts: tuple[EarlierAttempt, ...] = ()
    winning_attempt: int | None = None
    asked_at: Instant | None = None
