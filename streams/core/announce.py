"""What a job document is announced as. A function of the document alone: announcing twice says the same twice."""

from schemas.dispatch import JobMoved
from schemas.events import JobEvent
from schemas.jobs import Job


def announcements(job: Job) -> tuple[JobEvent, JobMoved]:
    """The event for everyone, and the wake-up for the pool's scheduler."""
    moved = JobMoved(
        pool=job.pool,
        job_id=job.job_id,
        user_id=job.user_id,
        state=job.state,
        version=job.version,
        run=job.run,
        attempt=job.attempt,
        due_at=job.due_at,
        worker_id=job.worker_id,
    )
    return JobEvent(job), moved
