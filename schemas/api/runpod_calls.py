"""What RunPod says of a job, in a webhook call or an answer, whatever worker has made it.

The statuses are OpenV's, in any case, and RunPod's RUNNING. worker-mochi reports failures in three ways that RunPod
calls COMPLETED: a result ``FAILED: …``, a status ERROR inside the output, and a member ``error``; a job that completed
without an address of its video has failed too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson

from schemas.jobs import is_remote_url

MESSAGE_MAX = 2_000  # characters of a service's text that are passed on
FAILED_RESULT = "FAILED"
FAILED_WORDS = frozenset({"ERROR", "FAILED"})


class Said(StrEnum):
    """What became of the job, as the call has it."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


STATUSES: Mapping[str, Said] = MappingProxyType(
    {
        "IN_QUEUE": Said.QUEUED,
        "QUEUED": Said.QUEUED,
        "IN_PROGRESS": Said.PROCESSING,
        "PROCESSING": Said.PROCESSING,
        "RUNNING": Said.PROCESSING,
        "COMPLETED": Said.COMPLETED,
        "DONE": Said.COMPLETED,
        "FAILED": Said.FAILED,
        "CANCELLED": Said.FAILED,
        "TIMED_OUT": Said.FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that can be read. ``url``: of the video, where it completed; ``message``: why it failed."""

    job_id: str
    said: Said
    url: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class BadCall:
    """Why a call can't be read, in OpenV's words."""

    reason: str


def read_call(body: Any) -> Call | BadCall:
    """Read ``{id, status, output?: {result}, error?}``."""
    if not isinstance(body, Mapping):
        return BadCall("Invalid request body")
    job_id, status = body.get("id"), body.get("status")
    if not isinstance(job_id, str) or not job_id:
        return BadCall("Job ID is required")
    said = STATUSES.get(status.upper()) if isinstance(status, str) else None
    if said is None:
        return BadCall("Invalid status")
    output = body.get("output")
    inside: Mapping[str, Any] = output if isinstance(output, Mapping) else {}
    if said is Said.FAILED:
        words = _error_of(body, inside) or f"RunPod says {status}."
        return Call(job_id, said, message=words[:MESSAGE_MAX])
    if said is not Said.COMPLETED:
        return Call(job_id, said)
    message = _hidden_failure(body, inside)
    if message:
        return Call(job_id, Said.FAILED, message=message[:MESSAGE_MAX])
    return Call(job_id, said, url=inside["result"])


def _hidden_failure(body: Mapping[str, Any], inside: Mapping[str, Any]) -> str:
    """Why what RunPod calls completed is none; empty: it is."""
    words = _error_of(body, inside)
    if words:
        return words
    result, status = inside.get("result"), inside.get("status")
    if isinstance(status, str) and status.upper() in FAILED_WORDS:
        return result if isinstance(result, str) and result else "The worker failed and did not say why."
    if isinstance(result, str) and result.lstrip().upper().startswith(FAILED_RESULT):
        return result.strip()
    if not isinstance(result, str) or not result:
        return "The worker finished without a video."
    if not is_remote_url(result):
        return "The worker finished, but what it gave is no http address of a video."
    return ""


def _error_of(body: Mapping[str, Any], inside: Mapping[str, Any]) -> str:
    for error in (body.get("error"), inside.get("error")):
        words = _words_of(error)
        if words:
            return words
    return ""


def _words_of(error: Any) -> str:
    """An error as text. RunPod's own workers send an object, often as JSON text, whose ``error_message`` says it."""
    if isinstance(error, str) and error.lstrip().startswith("{"):
        try:
            read = orjson.loads(error)
        except orjson.JSONDecodeError:
            return error
        return _words_of(read) or error
    if isinstance(error, Mapping):
        said = error.get("error_message") or error.get("message")
        return said if isinstance(said, str) and said else "The worker failed and did not say why in words."
    return error.strip() if isinstance(error, str) else ""
