"""Job events as the ledger writes them, without a ledger: what is measured begins at the log."""

from dataclasses import replace

from repo.clock import now_ms
from schemas.codec import Encoded, encode
from schemas.events import JobEvent
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import MODEL, GenerationRequest

SOURCE = "/bench"
_DAY_MS = 86_400_000


def job_of(user_id: str, number: int) -> Job:
    """A job that waits in the queue, with a prompt of ordinary length."""
    now = now_ms()
    request = GenerationRequest(prompt="a corgi surfing at sunset, cinematic light", seed=number)
    return Job(
        job_id=f"{user_id}-{number}",
        user_id=user_id,
        pool=MODEL,
        state=State.QUEUED,
        version=1,
        request=request,
        request_hash="0" * 64,
        charge=Charge(state=ChargeState.RESERVED, seconds=request.seconds, reserved_at=now),
        created_at=now,
        updated_at=now,
        due_at=now,
        expires_at=now + _DAY_MS,
        execution_timeout_ms=3_600_000,
    )


def event_of(job: Job, version: int) -> Encoded:
    """The announcement of one of its versions; those after the first are of a job that is being made."""
    state = State.QUEUED if version == 1 else State.PROCESSING
    return encode(JobEvent(replace(job, version=version, state=state)), source=SOURCE, at=now_ms())
