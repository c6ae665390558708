"""OpenAI's videos API, ``/v1/videos``: bodies as its SDKs send and read them, and how a job is told in them.

The same jobs as on every other surface: a video's id is ``video_`` and the job's. Members are in snake_case and, where
they say nothing, there as ``null``, as OpenAI's are. Besides OpenAI's own members a request may have those of vLLM-Omni
that mean something to Mochi. In a form everything is text, so a number may be written as text, in JSON as well.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from schemas.failures import FAILURES, FailureCode
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.requests import FPS, LIMITS, MODEL, PROMPT_TEXT_MAX, GenerationRequest

ID_PREFIX = "video_"
POLL_AFTER = "openai-poll-after-ms"  # the header by which the SDKs' pollers choose their pace
POLL_AFTER_MS = 1_000
LIST_DEFAULT, LIST_MAX = 20, 100
SECONDS_DEFAULT = 4.0
SIZE_DEFAULT = "720x1280"

STATUS: dict[State, Literal["queued", "in_progress", "completed", "failed"]] = {
    State.QUEUED: "queued",
    State.PROCESSING: "in_progress",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
    State.TIMED_OUT: "failed",
    State.REJECTED: "failed",
}

_WHOLE = re.compile(r"-?[0-9]{1,15}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def _whole(value: Any) -> Any:
    """JSON has one kind of number (31.0 is 31), a form none."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _readable(text: str) -> str:
    """U+0000 ends a text for many programs."""
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def _within(name: str) -> Any:
    bounds = LIMITS[name]
    return Field(default=None, ge=int(bounds.least), le=int(bounds.most))


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Seconds = Annotated[Number, Field(ge=0, le=3600), WithJsonSchema({"type": ["string", "number"], "examples": ["4"]})]
Text = Annotated[str, Field(max_length=PROMPT_TEXT_MAX), AfterValidator(_readable)]


class CreateVideo(BaseModel):
    """``POST /v1/videos``. ``num_frames`` goes before ``seconds``, ``size`` before ``width`` and ``height``; sizes in
    pixels. Without a ``seed`` every video has one of its own. ``user`` is for the client's own use."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    prompt: Annotated[Text, AfterValidator(_not_blank)]
    model: str = MODEL
    seconds: Seconds | None = None
    size: Annotated[str, Field(pattern=r"^[0-9]{1,5}x[0-9]{1,5}$")] | None = None
    width: Whole | None = _within("width")
    height: Whole | None = _within("height")
    num_frames: Whole | None = _within("num_frames")
    fps: Whole | None = Field(default=None, ge=FPS, le=FPS)
    num_inference_steps: Whole | None = _within("steps")
    guidance_scale: Number | None = _within("cfg")
    seed: Whole | None = _within("seed")
    negative_prompt: Text = ""
    user: str | None = None


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True)


class VideoError(_Said):
    """Why there is no video: a code for programs, words for people."""

    code: str
    message: str


class Video(_Said):
    """A video. Times in seconds since 1970. ``size`` and ``seconds`` are what is made, which may differ from what was
    asked for; ``progress`` in percent; ``expires_at`` is null because files stay until they are deleted."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: Annotated[int, Field(ge=0, le=100)]
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str
    seconds: str
    size: str
    remixed_from_video_id: str | None
    error: VideoError | None


class VideoList(_Said):
    """A page. ``last_id`` is the next one's ``after``."""

    object: Literal["list"] = "list"
    data: tuple[Video, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(_Said):
    """``deleted`` is false where the deletion is recorded and not carried out yet."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool


class Model(_Said):
    """A name under which videos are made."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(_Said):
    """All of them."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class ErrorWords(_Said):
    """What is wrong: ``message`` for people, ``code`` for programs, ``param`` the member that it is about."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(_Said):
    """A refusal, in OpenAI's form."""

    error: ErrorWords


def video_id_of(job_id: str) -> str:
    """The id under which a job is known here."""
    return f"{ID_PREFIX}{job_id}"


def job_id_in(video_id: str) -> str | None:
    """The job's id; None for what is no video's."""
    return video_id.removeprefix(ID_PREFIX) if video_id.startswith(ID_PREFIX) else None


def video_of(job: Job, fraction: float = 0.0) -> Video:
    """The job as OpenAI tells of it; ``fraction`` (0-1) is how far its attempt is, if it runs."""
    made = expected_video(job.job_id, job.request, job.created_at)
    done = job.state is State.COMPLETED
    status = STATUS[job.state]
    percent = 100 if done else min(99, max(0, int(fraction * 100))) if job.state is State.PROCESSING else 0
    completed_at = job.finished_at // 1000 if done and job.finished_at is not None else None
    error = _error_of(job) if status == "failed" else None
    return made.model_copy(update={"status": status, "progress": percent, "completed_at": completed_at, "error": error})


def expected_video(job_id: str, request: GenerationRequest, at: int) -> Video:
    """A video that was asked for at ``at`` (ms) and of which no more is known."""
    return Video(
        id=video_id_of(job_id),
        model=request.model,
        status="queued",
        progress=0,
        created_at=at // 1000,
        completed_at=None,
        expires_at=None,
        prompt=request.prompt,
        seconds=f"{request.seconds:.2f}".rstrip("0").rstrip("."),
        size=f"{request.width}x{request.height}",
        remixed_from_video_id=None,
        error=None,
    )


def _error_of(job: Job) -> VideoError:
    if job.failure is not None:
        return VideoError(code=job.failure.code.value, message=job.failure.message or FAILURES[job.failure.code].text)
    code = job.refusal.code if job.refusal else FailureCode.CANCELLED
    return VideoError(code=code.value, message=FAILURES[code].text)
