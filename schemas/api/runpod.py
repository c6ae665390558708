"""RunPod's serverless API, ``/v2/{endpoint}``: what it calls the states of a job, and how it tells of one.

The same object is the answer of ``/status``, ``/runsync`` and ``/cancel`` and, with ``input`` and ``webhook``, the body
of a completion webhook.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.slots import slot_of

RUN_BYTES = 10 * 1024 * 1024  # of a body of /run
RUNSYNC_BYTES = 20 * 1024 * 1024  # of a body of /runsync, and of what a worker answers
WAIT_MS = (1_000, 300_000)
WAIT_DEFAULT_MS = 90_000
RESULT_URL_S = 86_400  # how long the address of a finished video is good
INLINE_BYTES = 16 * 1024  # JSON text up to here travels in messages and documents, beyond it by reference
SYNC_PREFIX = "sync-"
_OUTPUT, _ERROR = b'{"output":', b'"error":'

STATUS: Mapping[State, str] = MappingProxyType(
    {
        State.QUEUED: "IN_QUEUE",
        State.PROCESSING: "IN_PROGRESS",
        State.COMPLETED: "COMPLETED",
        State.FAILED: "FAILED",
        State.CANCELLED: "CANCELLED",
        State.TIMED_OUT: "TIMED_OUT",
    }
)


def status_object(
    job: Job, word: Mapping[str, Any] | None = None, *, update: Any = None, result: str | None = None
) -> dict[str, Any]:
    """The job as RunPod tells of it; times in ms.

    ``word``: what an external worker answered (``Output.value``, read). ``update``: its newest progress update, which
    is the output while it runs. ``result``: an address of the finished video, told as worker-mochi tells it.
    """
    told: dict[str, Any] = {"id": job.job_id, "status": STATUS[job.state]}
    if job.started_at is not None:
        told["delayTime"] = max(0, job.started_at - job.charge.reserved_at)
    if job.started_at is not None and job.finished_at is not None:
        told["executionTime"] = max(0, job.finished_at - job.started_at)
    if job.worker_id is not None:
        slot = slot_of(job.worker_id)
        told["workerId"] = slot.pod_id if slot else job.worker_id
    if job.tries > 1:
        told["retries"] = job.tries - 1
    if job.state is State.PROCESSING and update is not None:
        told["output"] = update
    if word is not None:
        told |= {name: word[name] for name in ("output", "error") if name in word}
    if result is not None:
        told["output"] = {"result": result, "status": "DONE"}
    if job.failure is not None and "error" not in told:
        told["error"] = job.failure.message
    return told


def spliced_object(
    job: Job, word: bytes | None, *, update: bytes | None = None, result: str | None = None
) -> dict[str, Any]:
    """``status_object`` for ``orjson.dumps``, with JSON texts put in as they are: reading a worker's answer of 20 MB
    would take many times that.

    ``word``: the text that ``repo/values.py`` keeps, compact JSON whose first member is ``output`` or ``error``. A job
    that failed has one only from a worker that said why, so that the failure's own words are left out then. Raises
    ValueError for a text that is no JSON object.
    """
    newest = None if update is None else orjson.Fragment(update)
    for name, prefix in (("output", _OUTPUT), ("error", b"{" + _ERROR)):
        if word is not None and word.startswith(prefix):
            has_error = _ERROR in word
            told = status_object(job, {"error": None} if has_error else None, update=newest, result=result)
            if has_error:
                del told["error"]
            return told | {name: orjson.Fragment(word[len(prefix) : -1])}
    return status_object(job, None if word is None else json_members(word), update=newest, result=result)


def json_members(text: bytes) -> Mapping[str, Any]:
    """The JSON object of this text. Raises ValueError where it is none."""
    value = orjson.loads(text)
    if not isinstance(value, Mapping):
        raise ValueError("no JSON object")
    return value
