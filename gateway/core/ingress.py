"""Which report of an attempt a call of RunPod's webhook is (``schemas/api/runpod_calls.py`` reads it).

A job that has ended is never moved. A call names its attempt by its signature, or means the current one; a failure that
comes before the current attempt may run at all is the one before it, told again.
"""

from collections.abc import Mapping
from typing import Any

from schemas.api.runpod_calls import Call, Said
from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded
from schemas.dispatch import WEBHOOK_WORKER, RemoteMoved
from schemas.failures import code_of_text
from schemas.ids import is_name
from schemas.jobs import Job, Output
from schemas.lifecycle import ACTIVE, State
from schemas.signed_calls import Signed

Report = AttemptStarted | AttemptSucceeded | AttemptFailed


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


def remote_id_of(body: Any) -> str | None:
    """Under which id the service calls; None where the body does not say it."""
    remote_id = body.get("id") if isinstance(body, Mapping) else None
    return remote_id if isinstance(remote_id, str) and is_name(remote_id) else None


def moved_of(signed: Signed, job: Job, remote_id: str | None, call_id: str) -> RemoteMoved | None:
    """Whom to wake up; None where nobody follows that run any more."""
    worker_id = job.worker_id or signed.worker_id
    if worker_id is None or job.state not in ACTIVE or signed.attempt < job.run_first_attempt:
        return None
    return RemoteMoved(
        worker_id=worker_id,
        session=WEBHOOK_WORKER,
        job_id=job.job_id,
        attempt=job.attempt,
        call_id=call_id,
        remote_id=remote_id,
        signed_attempt=signed.attempt,
    )


def _worker_of(call: Call, job: Job, attempt: int) -> str | None:
    """Who is to have reported; None where nobody's word on that attempt counts any more."""
    if attempt == job.attempt:
        return job.worker_id or WEBHOOK_WORKER
    if attempt == job.attempt - 1 and call.said is Said.COMPLETED:
        return job.previous_worker_id or WEBHOOK_WORKER
    return None
