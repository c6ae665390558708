"""Which attempt of a job a worker was given: the fencing token of what it says, which names only the job.

Every gateway reads all orders, so it mostly knows without a look into MongoDB; the document knows the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from gateway.core.recent import Recent
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from schemas.slots import slot_of

REMEMBERED_MAX = 10_000


@dataclass(slots=True)
class HandOut:
    """An attempt of a job, and the slot it went to.

    ``given``: this gateway answered a poll with it. ``answered``: the worker's result was recorded here. ``over``: the
    document can't change by what this worker says any more. ``settling``: a result of it is being recorded.
    ``heard_at``: when the scheduler was last told that the worker has it, Unix ms.
    """

    user_id: str
    job_id: str
    worker_id: str
    attempt: int
    given: bool = False
    answered: bool = False
    over: bool = False
    settling: bool = False
    heard_at: int = 0

    @property
    def settled(self) -> bool:
        """Whether a result would change nothing."""
        return self.answered or self.over


class Claim(Enum):
    """What a document says of a worker that it does not name."""

    NOT_YET = "not yet"  # the job waits: perhaps the report that it started is under way
    NONE = "none"  # it never had this job
    UNKNOWN = "unknown"  # there is no such job on this endpoint


def claim_of(job: Job | None, endpoint_id: str, pod_id: str) -> HandOut | Claim:
    """Whether the document knows that this worker had the job, as its current attempt or as an earlier one."""
    if job is None or job.endpoint != endpoint_id or not job.external:
        return Claim.UNKNOWN
    over = job.state not in ACTIVE
    if _is(job.worker_id, endpoint_id, pod_id):
        attempt = job.attempt if job.winning_attempt is None else job.winning_attempt
        return HandOut(job.user_id, job.job_id, job.worker_id or "", attempt, over=over)
    for earlier in reversed(job.earlier_attempts):
        if _is(earlier.worker_id, endpoint_id, pod_id):
            late = job.state is State.QUEUED and earlier.attempt == job.attempt - 1
            return HandOut(job.user_id, job.job_id, earlier.worker_id, earlier.attempt, over=not late)
    return Claim.NOT_YET if job.state is State.QUEUED else Claim.NONE


def _is(worker_id: str | None, endpoint_id: str, pod_id: str) -> bool:
    slot = slot_of(worker_id)
    return slot is not None and (slot.endpoint_id, slot.pod_id) == (endpoint_id, pod_id)


class HandOuts:
    """A bounded memory of them, by job and worker; what was told longest ago is forgotten first."""

    def __init__(self, most: int = REMEMBERED_MAX) -> None:
        self._jobs: Recent[str, dict[tuple[str, str], HandOut]] = Recent(most)

    def note(self, endpoint_id: str, pod_id: str, handed: HandOut) -> None:
        """From now on this is what the worker had of the job."""
        self._jobs[handed.job_id] = {**self._jobs.get(handed.job_id, {}), (endpoint_id, pod_id): handed}

    def find(self, endpoint_id: str, pod_id: str, job_id: str) -> HandOut | None:
        """The newest attempt of the job that this worker was given, as far as it is remembered."""
        return self._jobs.get(job_id, {}).get((endpoint_id, pod_id))

    def drop(self, endpoint_id: str, pod_id: str, job_id: str) -> None:
        """It was not given after all."""
        known = self._jobs.get(job_id, {})
        known.pop((endpoint_id, pod_id), None)
        if not known:
            self._jobs.pop(job_id, None)

    def of_job(self, job_id: str) -> Iterator[HandOut]:
        """What everyone was given of it."""
        yield from list(self._jobs.get(job_id, {}).values())

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)


def is_over(handed: HandOut, state: State, attempt: int, worker_id: str | None) -> bool:
    """Whether a document in this state, at this attempt of this worker, has left the hand-out behind."""
    if state not in ACTIVE:
        return attempt >= handed.attempt
    if state is State.PROCESSING:
        return attempt > handed.attempt or (attempt == handed.attempt and worker_id != handed.worker_id)
    return attempt > handed.attempt + 1  # one that waits may still be completed by the attempt before it
