"""Jobs to store."""

import uuid
from dataclasses import replace

from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest

NOW = 1_795_254_318_135


def a_job(user_id: str, **changes: object) -> Job:
    job = Job(
        job_id=str(uuid.uuid4()),
        user_id=user_id,
        pool="mochi",
        state=State.QUEUED,
        version=1,
        request=GenerationRequest(prompt="a corgi"),
        request_hash="hash",
        charge=Charge(state=ChargeState.RESERVED, seconds=31 / 24, reserved_at=NOW),
        created_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        expires_at=NOW + 3_600_000,
        execution_timeout_ms=600_000,
    )
    return replace(job, **changes)  # type: ignore[arg-type]
