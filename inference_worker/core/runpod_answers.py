"""What a RunPod endpoint's answers mean for an attempt. ``status`` None: no answer came.

RunPod's own times out what ran longer than the ``policy`` that we sent, which is what is left of the attempt's time
here: TIMED_OUT is the end of that time, and is not tried again. CANCELLED there, though nobody here cancelled, is a
purged queue or somebody at a console: another try may do. Failures are classified by OpenV's retryable words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.api.runpod_calls import BadCall, Said, read_call
from schemas.failures import FAILURES, FailureCode, code_of_text
from schemas.ids import is_name
from schemas.phases import Phase
from schemas.requests import GenerationRequest

REQUEST_TIMEOUT, TOO_LARGE, TOO_MANY, UNAVAILABLE = 408, 413, 429, 503
FIRST_PAUSE_MS, LAST_PAUSE_MS = 1_000, 15_000
RETRY_AFTER_MOST_MS = 60_000
WORDS_OF_NUMBERS = ("progress", "fraction", "percent", "percentage")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``sent``: whether the request may have reached the service. ``retry_after_ms``: if it said so."""

    status: int | None
    body: Any = None
    retry_after_ms: int | None = None
    sent: bool = True
    words: str = ""


# ---- of a submission


@dataclass(frozen=True, slots=True)
class Accepted:
    remote_id: str


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Surely not submitted; try again, not sooner than it asked for."""

    words: str
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Unclear:
    """It may have been submitted."""

    words: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It never will be. ``here``: this worker's settings are at fault, not the request."""

    code: FailureCode
    words: str
    here: bool = False


Submission = Accepted | NotTaken | Unclear | Refused


def read_submission(reply: Reply) -> Submission:
    """What ``POST /run`` came to."""
    status = reply.status
    if status is None:
        return Unclear(reply.words) if reply.sent else NotTaken(reply.words)
    if 200 <= status < 300:
        remote_id = reply.body.get("id") if isinstance(reply.body, Mapping) else None
        if isinstance(remote_id, str) and is_name(remote_id):
            return Accepted(remote_id)
        return Unclear("RunPod answered without a job id")
    if status in (TOO_MANY, UNAVAILABLE):
        return NotTaken(f"RunPod answered {status}", reply.retry_after_ms)
    if status >= 500 or status == REQUEST_TIMEOUT:
        return Unclear(f"RunPod answered {status}")
    return refused(status)


def refused(status: int) -> Refused:
    """Of a status that repeating does not change."""
    if status in (401, 403):
        return Refused(FailureCode.MODEL_UNAVAILABLE, "RunPod refuses our key.", here=True)
    if status == 404:
        return Refused(FailureCode.MODEL_UNAVAILABLE, "RunPod does not know the endpoint.", here=True)
    if 300 <= status < 400:
        return Refused(FailureCode.MODEL_UNAVAILABLE, "RunPod's address leads elsewhere.", here=True)
    code = FailureCode.INVALID_INPUT if status in (400, TOO_LARGE, 422) else FailureCode.ENGINE_ERROR
    return Refused(code, f"RunPod refused the request ({status}).")


# ---- of a look at it


@dataclass(frozen=True, slots=True)
class Under:
    """It waits or runs there; ``fraction`` (0–1) is its own word on how far it is."""

    runs: bool
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """``url``: where the result is."""

    url: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It failed there, for good."""

    code: FailureCode
    words: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The service does not know it: it was never there, or has expired."""


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing is known; ask again, not sooner than it asked for."""

    words: str
    retry_after_ms: int | None = None


Look = Under | Made | Broken | Unknown | Later


def read_status(reply: Reply) -> Look:
    """What ``GET /status/{id}`` says."""
    if reply.status is None:
        return Later(reply.words)
    if reply.status == 404:
        return Unknown()
    if not 200 <= reply.status < 300:
        return Later(f"RunPod answered {reply.status}", reply.retry_after_ms)
    call = read_call(reply.body)
    if isinstance(call, BadCall):
        return Later("RunPod's answer can't be read")
    if call.said is Said.QUEUED:
        return Under(runs=False)
    if call.said is Said.PROCESSING:
        return Under(runs=True, fraction=fraction_of(reply.body.get("output")))
    if call.said is Said.COMPLETED:
        return Made(call.url)
    return _broken(str(reply.body.get("status", "")).upper(), call.message)


def _broken(status: str, message: str) -> Broken:
    if status == "TIMED_OUT":
        return Broken(FailureCode.EXECUTION_TIMEOUT, FAILURES[FailureCode.EXECUTION_TIMEOUT].text)
    if status == "CANCELLED":
        return Broken(FailureCode.TRANSIENT_ERROR, "It was cancelled at RunPod, not here.")
    return Broken(code_of_text(message), message)


def fraction_of(output: Any) -> float | None:
    """How far a worker says it is: a number, or an object with one; above 1 it is percent. ``step`` of ``steps``."""
    if isinstance(output, Mapping):
        step, steps = _number(output.get("step")), _number(output.get("steps"))
        if step is not None and steps:
            return _clamped(step / steps)
        found = [_number(output.get(name)) for name in WORDS_OF_NUMBERS]
        output = next((one for one in found if one is not None), None)
    number = _number(output)
    if number is None:
        return None
    return _clamped(number / 100 if number > 1 else number)


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and abs(value) < 1e9 else None  # no NaN is


def _clamped(number: float) -> float:
    return min(1.0, max(0.0, number))


# ---- of how we ask


def body_of(request: GenerationRequest, webhook: str | None, left_ms: int) -> dict[str, Any]:
    """The body of ``POST /run``: worker-mochi's input, and for how long anybody here will wait for it (ms)."""
    given = {
        "positive_prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "num_frames": request.num_frames,
        "steps": request.steps,
        "cfg": request.cfg,
        "seed": request.seed,
    }
    policy = {"executionTimeout": within(left_ms, 5_000), "ttl": within(left_ms, 10_000)}
    return {"input": given, "policy": policy} | ({"webhook": webhook} if webhook else {})


def within(left_ms: int, least_ms: int) -> int:
    """RunPod's ranges: from seconds to seven days."""
    return min(max(left_ms, least_ms), 7 * 86_400_000)


def pause_ms(
    quiet: int, retry_after_ms: int | None = None, first_ms: int = FIRST_PAUSE_MS, last_ms: int = LAST_PAUSE_MS
) -> int:
    """How long to wait before the next look. ``quiet``: how many looks in a row have shown nothing new."""
    pause = min(max(first_ms, last_ms), first_ms << min(quiet, 10))
    return max(pause, min(retry_after_ms or 0, RETRY_AFTER_MOST_MS))


def step_of(look: Under, steps: int) -> tuple[Phase, int, int]:
    """The phase that watchers see, and ``step`` of ``steps`` in it: while it waits there, nothing is done yet."""
    if not look.runs:
        return Phase.LOAD, 0, 1
    return Phase.DENOISE, round((look.fraction or 0.0) * steps), max(1, steps)
