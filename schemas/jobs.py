"""The job document: what a client asked for and all that became of it. One form in MongoDB, events and answers.

(job, attempt, worker) is the fencing token of every report. ``run`` is raised by a manual retry, ``attempt`` by every
new try and never reset, ``tries`` is what the retry limit counts. ``version`` is raised by every write.
"""

from collections.abc import Mapping
from enum import StrEnum

from schemas.failures import FailureCode
from schemas.instants import Instant
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from schemas.shape import shape


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
    """A file in the object store: its key, size in bytes, hex SHA-256 and media type."""

    key: str
    bytes: int
    sha256: str
    media_type: str


@shape
class Output:
    """What an attempt delivered: the video and its pictures, or an external worker's JSON text (``value``,
    or ``value_key`` where it is large)."""

    video: StoredFile | None = None
    poster: StoredFile | None = None
    thumbnail: StoredFile | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    duration: float | None = None
    value: str | None = None
    value_key: str | None = None


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
    period_end: Instant | None
    active: int
    max_active: int
    credits: float = 0.0
    suggested_frames: int | None = None
    retry_after_ms: int | None = None


@shape
class Refusal:
    """Why a submission was refused; ``command_id`` so that the same command is answered the same again."""

    command_id: str
    code: FailureCode
    remaining: Remaining | None = None


@shape
class Job:
    """One job. ``due_at``: when the queued attempt may run, ``expires_at`` ends the run's ttl; instants in UTC."""

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
    worker_id: str | None = None
    previous_worker_id: str | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    failure: Failure | None = None
    output: Output | None = None
    refusal: Refusal | None = None
    labels: Mapping[str, str] | None = None
