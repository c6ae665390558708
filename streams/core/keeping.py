"""How long jobs of serverless endpoints are kept after their end, and the command that ends it.

Their inputs and outputs may be megabytes, and hold credentials of a client's bucket: unlike a user's videos they are
not kept until somebody deletes them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from schemas.commands import DeleteJob
from schemas.endpoints import DAY, ServerlessEndpoint
from schemas.jobs import Job
from schemas.lifecycle import State

LEAST_MS = DAY  # a completion webhook is tried for so long, and reads what is to be told

# By ``Job.external``: what goes. Of those that our own workers make, only what was refused and nobody sees.
GOES: Mapping[bool, frozenset[State]] = MappingProxyType(
    {
        True: frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.REJECTED}),
        False: frozenset({State.REJECTED}),
    }
)


def ended_by(endpoint: ServerlessEndpoint, now: int) -> int:
    """Jobs of this endpoint that had ended by then (ms) are kept no longer."""
    return now - max(endpoint.result_ms, LEAST_MS)


def deletion_of(job: Job) -> DeleteJob:
    """Of a job that has ended: the same command, whoever makes it. A run that has begun since is left alone."""
    at = job.finished_at or 0
    return DeleteJob(
        command_id=f"kept:{job.job_id}:{job.run}:{at}", user_id=job.user_id, job_id=job.job_id, ended_by=at
    )
