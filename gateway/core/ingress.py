"""What RunPod says of a job in a webhook call, and which report of an attempt that is.

The statuses are OpenV's, in any case, and RunPod's RUNNING. worker-mochi reports failures in three ways that RunPod
calls COMPLETED: a result ``FAILED: …``, a status ERROR inside the output, and a member ``error``; a job that completed
without an address of its video has failed too.

A job that has ended is never moved. A call names its attempt by its signature, or means the current one; a failure that
comes before the current attempt may run at all is the one before it, told again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson

from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded
from schemas.dispatch import WEBHOOK_WORKER
from schemas.failures import code_of_text
from schemas.jobs import Job, Output, is_remote_url
from schemas.lifecycle import ACTIVE, State

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


Report = AttemptStarted | AttemptSucceeded | AttemptFailed


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


def report_of(call: Call, job: Job, command_id: str, attempt: int | None = None) -> Report | None:
    """The report that the call stands for, or None where it changes nothing. ``attempt``: the one that was signed."""
    if job.state not in ACTIVE:
        return None
    named = job.attempt if attempt is None else attempt
    worker_id = _worker_of(call, job, named)
    if worker_id is None:
        return None
    about: dict[str, Any] = {
        "command_id": command_id,
        "user_id": job.user_id,
        "job_id": job.job_id,
        "attempt": named,
        "worker_id": worker_id,
    }
    match call.said:
        case Said.COMPLETED:
            return AttemptSucceeded(**about, output=Output(remote_url=call.url))
        case Said.FAILED:
            return AttemptFailed(**about, code=code_of_text(call.message), message=call.message)
        case Said.PROCESSING if job.state is State.QUEUED:
            return AttemptStarted(**about)
    return None


def is_told_again(call: Call, job: Job, now: int) -> bool:
    """Whether a call that names no attempt is about the one before: the current one can't have been begun yet."""
    waits = job.state is State.QUEUED and job.attempt > job.run_first_attempt and now < job.due_at
    return waits and call.said is not Said.COMPLETED


def _worker_of(call: Call, job: Job, attempt: int) -> str | None:
    """Who is to have reported; None where nobody's word on that attempt counts any more."""
    if attempt == job.attempt:
        return job.worker_id or WEBHOOK_WORKER
    if attempt == job.attempt - 1 and call.said is Said.COMPLETED:
        return job.previous_worker_id or WEBHOOK_WORKER
    return None


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
