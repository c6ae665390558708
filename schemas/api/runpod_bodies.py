"""Bodies of RunPod's serverless API: what its clients post to ``/v2/{endpoint}/run``, and the answers they see.

Names, ranges and defaults are RunPod's (its documentation of a request's ``policy``, ``webhook`` and ``s3Config``).
Members that are unknown are ignored, ``null`` reads as left out.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, model_validator

from schemas.api.openv import GenerateBody, Whole, not_blank, readable
from schemas.endpoints import EXECUTION_TIMEOUT_MS, TTL_MS
from schemas.phases import Phase
from schemas.requests import PROMPT_TEXT_MAX, SEED_MAX
from schemas.shape import shape

URL_MAX = 2_048
NAME_MAX = 1_024
SEED = 1_337  # worker-mochi's
_STRICT = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


def is_web_address(text: str) -> bool:
    """Whether it is an absolute http(s) URL (RFC 3986) of visible ASCII, with a host and nobody's name in it."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return False
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and port_is_right


def _web_address(text: str) -> str:
    if not is_web_address(text):
        raise ValueError("must be an http(s) address, like https://example.org/path")
    return text


WebAddress = Annotated[str, Field(min_length=1, max_length=URL_MAX), AfterValidator(_web_address)]
SomeText = Annotated[str, Field(min_length=1, max_length=NAME_MAX), AfterValidator(readable)]


def _left_out(body: Any) -> Any:
    """Without members that are null."""
    return {name: one for name, one in body.items() if one is not None} if isinstance(body, Mapping) else body


class Policy(BaseModel):
    """How long the job may run (``executionTimeout``) and live (``ttl``, from its submission on), in ms. Whichever is
    over first ends it, also in the middle of its run."""

    model_config = _STRICT

    execution_timeout: Whole | None = Field(
        default=None, alias="executionTimeout", ge=EXECUTION_TIMEOUT_MS[0], le=EXECUTION_TIMEOUT_MS[1]
    )
    ttl: Whole | None = Field(default=None, ge=TTL_MS[0], le=TTL_MS[1])
    low_priority: bool = Field(default=False, alias="lowPriority")

    null_is_left_out = model_validator(mode="before")(_left_out)


class S3Config(BaseModel):
    """The client's own bucket, where the worker puts what it makes. Kept where only the job's worker reads it."""

    model_config = _STRICT

    access_id: SomeText = Field(alias="accessId")
    access_secret: SomeText = Field(alias="accessSecret", repr=False)
    bucket_name: SomeText = Field(alias="bucketName")
    endpoint_url: WebAddress = Field(alias="endpointUrl")
    object_path: SomeText | None = Field(default=None, alias="objectPath")

    null_is_left_out = model_validator(mode="before")(_left_out)


class RunBody(BaseModel):
    """``POST /v2/{endpoint}/run`` and ``/runsync``. ``webhook`` is told how the job ended; ``webhookV2`` is another
    name for it. Both must be addresses that webhooks may lead to."""

    model_config = _STRICT

    input: Any = Field(description="Any JSON but null; worker-mochi's `input` on an endpoint that makes videos.")
    webhook: str | None = Field(
        default=None, description="https://, at a public address, unless the operator allows others."
    )
    webhook_v2: str | None = Field(default=None, alias="webhookV2", description="As `webhook`.")
    s3_config: S3Config | None = Field(default=None, alias="s3Config")
    policy: Policy = Policy()

    null_is_left_out = model_validator(mode="before")(_left_out)


def _whole_side(least: int) -> Any:
    return Field(default=None, ge=least, le=8_192)


class MochiVae(BaseModel):
    """worker-mochi's ``vae``: how it decodes. Checked and not used: our workers choose their tiles by free memory."""

    model_config = _STRICT

    enable_vae_tiling: bool | None = None
    auto_tile_size: bool | None = None
    tile_sample_min_width: Whole | None = _whole_side(1)
    tile_sample_min_height: Whole | None = _whole_side(1)
    tile_overlap_factor_width: float | None = Field(default=None, ge=0, lt=1)
    tile_overlap_factor_height: float | None = Field(default=None, ge=0, lt=1)
    frame_batch_size: Whole | None = _whole_side(1)

    null_is_left_out = model_validator(mode="before")(_left_out)


class MochiInput(GenerateBody):
    """worker-mochi's ``input``: the flat form of ``POST /api/runpod`` with longer prompts, worker-mochi's seed, and
    ``vae``."""

    prompt: Annotated[str, AfterValidator(not_blank), AfterValidator(readable)] = Field(
        max_length=PROMPT_TEXT_MAX, validation_alias=AliasChoices("prompt", "positive_prompt", "positivePrompt")
    )
    negative_prompt: Annotated[str, AfterValidator(readable)] = Field(
        default="", max_length=PROMPT_TEXT_MAX, validation_alias=AliasChoices("negative_prompt", "negativePrompt")
    )
    seed: Whole = Field(default=SEED, ge=0, le=SEED_MAX)
    vae: MochiVae | None = None


RunStatus = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]


@shape
class RunAnswer:
    """A job and its state. (``COMPLETED`` and the like at once: the job of an ``Idempotency-Key`` that was used.)"""

    id: str
    status: RunStatus


@shape
class StepsShown:
    """How far a video is: phase, step of steps in it, the attempt's fraction (0 to 1), and ms that are left."""

    phase: Phase
    step: int
    steps: int
    fraction: float
    eta_ms: int | None = None


@shape
class JobTold:
    """A job as RunPod tells of it; times in ms. ``output`` while it runs: the newest word of its worker.

    ``retries`` and ``progress`` are ours: tries after the first; how far a video is.
    """

    id: str
    status: RunStatus
    delay_time: int | None = None
    execution_time: int | None = None
    worker_id: str | None = None
    retries: int | None = None
    output: Any = None
    error: Any = None
    progress: StepsShown | None = None


@shape
class Streamed:
    """One chunk that the handler yielded."""

    output: Any


@shape
class StreamAnswer:
    """What was yielded since it was last asked, each chunk once, in order."""

    status: RunStatus
    stream: tuple[Streamed, ...]


@shape
class Purged:
    """How many queued jobs are cancelled for certain. ``completed``: none is left of those that were queued.
    ``in_progress``: for some it is not decided yet, and will be. ``incomplete``: some could not be asked for, or there
    were more than one call takes; call again."""

    removed: int
    status: Literal["completed", "in_progress", "incomplete"]


@shape
class JobsCounted:
    """Jobs in each state: all that are active, and those of the last 24 hours that have ended. ``retried``: those that
    are active and in a later try, as far as this gateway has seen."""

    completed: int
    failed: int
    in_progress: int
    in_queue: int
    retried: int


@shape
class WorkersCounted:
    """Workers: ``idle`` (the same as ``ready``) wait for a job, ``running`` have one, ``initializing`` load their
    model, ``throttled`` take no more jobs and end."""

    idle: int
    initializing: int
    ready: int
    running: int
    throttled: int


@shape
class HealthAnswer:
    """An endpoint at a glance."""

    jobs: JobsCounted
    workers: WorkersCounted
