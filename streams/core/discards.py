"""Which files are nobody's: those of attempts that can no longer deliver.

A function of the document, and of who reported: it is told again with every decision on the job, so that a crash
between a write and its announcement loses no file. Deleting twice does no harm; deleting what is visible must not be.
A lost attempt may still deliver while the newer one waits; one that its worker called failed can't.
"""

from collections.abc import Iterator

from schemas.events import FilesDiscarded
from schemas.jobs import AttemptEnd, Job
from schemas.lifecycle import State

RECENT = 2  # earlier attempts told again: a write leaves at most two behind
KEPT = 8  # earlier attempts kept in the document


def may_deliver(job: Job, attempt: int, worker_id: str) -> bool:
    """Whether files of this attempt on this worker are, or may yet become, the job's."""
    if job.state is State.DELETED:
        return False
    if attempt > job.attempt or job.state is State.REJECTED:
        return True  # it was never handed out, says the document (a restored backup?): nothing is known against it
    match job.state:
        case State.QUEUED:
            return attempt == job.attempt or late_success_counts(job, attempt, worker_id)
        case State.PROCESSING:
            return (attempt, worker_id) == (job.attempt, job.worker_id)
        case State.COMPLETED | State.FAILED:  # an external worker's word on its failure may be a file too
            return (attempt, worker_id) == (job.winning_attempt, job.worker_id)
    return False


def late_success_counts(job: Job, attempt: int, worker_id: str) -> bool:
    """Whether the attempt before the waiting one, lost or handed back in the same run, may still deliver."""
    if job.state is not State.QUEUED or attempt != job.attempt - 1 or attempt < job.run_first_attempt:
        return False
    if job.previous_worker_id not in (None, worker_id):
        return False
    return not any(e.attempt == attempt and e.end is AttemptEnd.FAILED for e in job.earlier_attempts)


def discarded(job: Job, reporter: tuple[int, str] | None = None) -> tuple[FilesDiscarded, ...]:
    """What the janitor may delete as the document stands. ``reporter``: attempt and worker of the report decided."""
    found = dict.fromkeys(_known(job, reporter))
    return tuple(
        FilesDiscarded(user_id=job.user_id, job_id=job.job_id, attempt=attempt, worker_id=worker_id)
        for attempt, worker_id in found
        if worker_id and not may_deliver(job, attempt, worker_id)
    )


def _known(job: Job, reporter: tuple[int, str] | None) -> Iterator[tuple[int, str]]:
    if reporter:
        yield reporter
    if job.state is State.DELETED:
        return  # the event that says so has all its files deleted; only who still uploads needs a word
    for earlier in job.earlier_attempts[-RECENT:]:
        yield earlier.attempt, earlier.worker_id
    if job.worker_id and job.state is not State.COMPLETED:
        yield job.attempt, job.worker_id
