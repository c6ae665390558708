"""What is remembered of a job's run on a foreign service, so that nobody submits it there a second time.

Kept from before it is submitted (an answer may be lost) until the job has ended. It says whose the run is there and
nothing of what was asked: that is in the job document, and goes with it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from schemas.ids import Name
from schemas.instants import Instant
from schemas.jobs import Failure
from schemas.numbers import Count
from schemas.shape import shape


class RemoteState(StrEnum):
    INTENDED = "intended"  # about to be submitted, or submitted and the answer is not known
    SUBMITTED = "submitted"  # the service has it, under ``remote_id``
    MADE = "made"  # it has ended well there; the result is to be fetched
    SPENT = "spent"  # nothing will come of it: it failed there, or the service does not know it (any more)


class RemoteFact(StrEnum):
    ACCEPTED = "accepted"  # the service has said its id, in its answer or in a call
    REFUSED = "refused"  # the service did not take it
    COMPLETED = "completed"
    BROKEN = "broken"  # it failed, was cancelled, is unknown, or its result is of no use
    AGAIN = "again"  # it is submitted once more


S, F = RemoteState, RemoteFact

TRANSITIONS: Mapping[RemoteState, Mapping[RemoteFact, RemoteState]] = MappingProxyType(
    {
        S.INTENDED: {F.ACCEPTED: S.SUBMITTED, F.REFUSED: S.SPENT, F.AGAIN: S.INTENDED},
        S.SUBMITTED: {F.COMPLETED: S.MADE, F.BROKEN: S.SPENT},
        S.MADE: {F.COMPLETED: S.MADE, F.BROKEN: S.SPENT},
        S.SPENT: {F.AGAIN: S.INTENDED},
    }
)


def advance(state: RemoteState, fact: RemoteFact) -> RemoteState | None:
    """The state after the fact, or None where the fact changes nothing."""
    return TRANSITIONS[state].get(fact)


@shape
class RemoteRun:
    """One (job, run) on one ``target``, the service's address and endpoint; another target is another run.

    ``attempt`` on ``worker_id`` is who follows it now. ``submissions``: how often that attempt has sent it.
    ``failure``: why it is spent, unless it may be submitted again by the same attempt.
    """

    job_id: str
    run: int
    target: str
    worker_id: Name
    attempt: int
    state: RemoteState
    version: int
    intended_at: Instant
    submissions: Count = 1
    remote_id: Name | None = None
    failure: Failure | None = None

    @property
    def key(self) -> str:
        """Unique among all."""
        return remote_key(self.job_id, self.run, self.target)


def remote_key(job_id: str, run: int, target: str) -> str:
    """Under which such a run is remembered."""
    return f"{job_id}:{run}:{target}"
