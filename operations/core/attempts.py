"""Who tried a job, and how it ended: out of its document. Pure."""

from dataclasses import dataclass

from schemas.failures import FailureCode
from schemas.jobs import Job
from schemas.lifecycle import State

RUNS, DELIVERED, STOPPED, FAILED = "runs", "delivered", "stopped", "failed"
_ENDS = {State.PROCESSING: RUNS, State.COMPLETED: DELIVERED, State.FAILED: FAILED}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try on one worker. ``end``: ``runs``, ``delivered``, ``failed``, ``lost``, ``handed_back`` or ``stopped``,
    and ``…, then delivered`` of one that was given up too early."""

    attempt: int
    worker: str
    end: str
    code: FailureCode | None = None
    started_at: int | None = None
    ended_at: int | None = None

    @property
    def lasted_ms(self) -> int | None:
        """None where it runs, or was never heard to have started."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0, self.ended_at - self.started_at)


def attempts_of(job: Job) -> tuple[Attempt, ...]:
    """The last few that are over, then the one that the document names."""
    attempts = [
        Attempt(
            one.attempt,
            one.worker_id,
            f"{one.end}, then {DELIVERED}" if _won_late(job, one.attempt, one.worker_id) else str(one.end),
            one.code,
            one.started_at,
            one.ended_at,
        )
        for one in job.earlier_attempts
    ]
    newest = job.winning_attempt or job.attempt
    if job.worker_id is not None and all(one.attempt != newest for one in attempts):
        end = _ENDS.get(job.state, STOPPED)
        ended_at = None if end == RUNS else job.finished_at
        code = job.failure.code if job.failure else None
        attempts.append(Attempt(newest, job.worker_id, end, code, job.started_at, ended_at))
    return tuple(attempts)


def _won_late(job: Job, attempt: int, worker_id: str) -> bool:
    return job.state is State.COMPLETED and (attempt, worker_id) == (job.winning_attempt, job.worker_id)
