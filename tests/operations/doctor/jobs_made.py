"""Jobs for these tests."""

import uuid
from dataclasses import replace
from typing import Any

from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest


def a_job(**changes: Any) -> Job:
    """A finished one of long ago, without files."""
    made = Job(
        job_id=str(uuid.uuid4()),
        user_id="ann",
        pool="mochi-1",
        state=State.COMPLETED,
        version=1,
        request=GenerationRequest(prompt="a corgi", num_frames=7),
        request_hash="h",
        charge=Charge(state=ChargeState.CAPTURED, seconds=1.0, reserved_at=1),
        created_at=1,
        updated_at=1,
        due_at=1,
        expires_at=2,
        execution_timeout_ms=1,
        finished_at=1,
    )
    return replace(made, **changes)
