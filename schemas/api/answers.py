"""The bodies of answers that the gateway puts together from a document, and those of refusals, as clients see them.

They describe: the OpenAPI document is made of them, and tests hold real answers against it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

from schemas.api.openv import FieldError, MonthlyQuota
from schemas.instants import Instant
from schemas.jobs import Job, Output
from schemas.shape import shape

Status = Literal["queued", "processing", "completed", "failed"]
# There even where it says nothing.
OrNull = Annotated[str | None, WithJsonSchema({"type": ["string", "null"]})]


@shape
class ExpectedRow:
    """A video that is recorded and not decided yet: OpenV's columns as they will be once it is admitted. The live
    socket brings the row, and so does asking again."""

    id: int
    job_id: str
    user_id: str
    status: Status
    prompt: str
    negative_prompt: str
    model_name: str
    width: int
    height: int
    seed: int
    steps: int
    cfg: float
    frames: int
    error: OrNull
    retry_count: int
    url: OrNull
    created_at: Instant
    updated_at: Instant


@shape
class JobRecord(Job):
    """A video as an event carries it: as ``JobDocument``, but events that an earlier version recorded lack some columns
    of OpenV's table, and that of a deletion says so."""

    id: int
    status: Status | Literal["deleted"]
    prompt: str
    frames: int
    negative_prompt: str | None = None
    model_name: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    error: OrNull = None
    retry_count: int | None = None
    url: OrNull = None
    poster_url: str | None = None
    thumbnail_url: str | None = None


@shape
class JobDocument(Job):
    """A video: the columns of OpenV's table, and ours.

    ``url``, ``posterUrl`` and ``thumbnailUrl`` are addresses on the gateway that never expire. ``status`` is what
    OpenV's clients know; ``state`` tells cancelled and timed out from failed. ``version`` grows with every change.
    """

    id: int
    status: Status
    prompt: str
    negative_prompt: str
    model_name: str
    width: int
    height: int
    seed: int
    steps: int
    cfg: float
    frames: int
    error: OrNull
    retry_count: int
    url: OrNull
    poster_url: str | None = None
    thumbnail_url: str | None = None


@shape
class DecidedJob(JobDocument):
    """The row of a video that was just admitted, and where that leaves its owner: ``count`` are being made now."""

    count: int | None = None
    monthly_quota: MonthlyQuota | None = None


@shape
class FinishedOutput(Output):
    """What was made, with what RunPod's status object has in its place: ``result`` is where the video is."""

    result: str | None = None
    status: Literal["DONE"] | None = None


@shape
class JobStatus(JobDocument):
    """The row with what RunPod's status object has beside it: times in ms, and the video as ``output.result``."""

    delay_time: int | None = None
    execution_time: int | None = None
    output: FinishedOutput | None = None


@shape
class Waiting:
    """Recorded and not decided yet: the live socket brings the row, and so does asking again."""

    job_id: str
    status: Literal["queued"]


@shape
class Tombstone:
    """A video that was deleted, in a list that asked for those."""

    job_id: str
    status: Literal["deleted"]
    updated_at: Instant


class VideosObject(BaseModel):
    """``monthlyQuota`` is null where the ledger does not answer just now. ``nextCursor`` (of pages): the ``before`` of
    the next one, null where there is none."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    videos: tuple[JobDocument | Tombstone, ...]
    monthly_quota: MonthlyQuota | None
    next_cursor: str | None = None


@shape
class Deleted:
    """``pending``: ids whose deletion is recorded but not decided yet."""

    success: Literal[True]
    pending: tuple[str, ...] | None = None


@shape
class Success:
    """It is done."""

    success: Literal[True]


@shape
class Health:
    """The process answers."""

    status: Literal["ok"]


@shape
class Readiness:
    """``missing`` names what the gateway needs and has not; ``degraded`` what is away and not needed for most."""

    ready: bool
    missing: tuple[str, ...]
    degraded: tuple[str, ...]


@shape
class RefusalMembers:
    """What a program may want to know of a refusal; each only where it applies."""

    details: tuple[FieldError, ...] | None = None
    job_id: str | None = None
    status: Literal["queued", "processing", "completed", "failed", "deleted"] | None = None
    state: str | None = None
    count: int | None = None
    credits: float | None = None
    monthly_quota: MonthlyQuota | None = None
    suggested_frames: int | None = None
    limit_bytes: int | None = None
    missing: tuple[str, ...] | None = None
    scope: str | None = None
    version: str | None = None
    code: str | None = None
    limit: int | None = None
    has_accepted: Literal[False] | None = None
    request_id: str | None = None


@shape
class ErrorBody(RefusalMembers):
    """A refusal: words for a person in ``error``."""

    error: str
    message: str | None = None


@shape
class MessageBody(RefusalMembers):
    """A refusal of the caller, as OpenV words it: in ``message``."""

    message: str
