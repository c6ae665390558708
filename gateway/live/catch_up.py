"""What a subscriber is shown first: all that happened since its position, or the jobs as they are."""

import structlog

from gateway.core.inputs import Resumed, Shown
from gateway.core.listing import VISIBLE
from gateway.core.window import Cursor, Missing, read_cursor
from gateway.damaged import left_out
from gateway.parts import Parts
from schemas.documents import job_document
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State

PATIENCE_S = 5.0
logger = structlog.get_logger()


async def catch_up(
    parts: Parts, user_id: str, partition: int, position: str | None, job_id: str | None
) -> Resumed | Shown | None:
    """None while this gateway knows too little. Raises ``Unavailable``, and ``DamagedDocumentError`` for the one job
    that was asked for; among others such a one is left out. The caller watches already.

    After the last wait a replay is complete without a pause: what comes later reaches the watcher through the hub.
    """
    cursor = read_cursor(position) if position is not None else None
    if cursor is not None and cursor.partition != partition:
        cursor = None
    # A position ahead of this gateway was given by one that reads faster: a moment's wait, not a gap.
    offset = cursor.offset if cursor is not None else -1
    if not await parts.feed.reached(partition, offset, PATIENCE_S) and not parts.feed.caught_up:
        return None
    resumed = _resume(parts, user_id, partition, cursor) if cursor is not None else None
    return resumed or await _show(parts, user_id, partition, job_id)


def _resume(parts: Parts, user_id: str, partition: int, cursor: Cursor) -> Resumed | None:
    """Everything after the cursor, if it can be shown whole and fits into half of an outbox."""
    found = parts.feed.window.after(user_id, partition, cursor)
    if isinstance(found, Missing):
        logger.info("position_not_resumable", reason=found.value)
        return None
    settings = parts.settings
    size = sum(entry.size for entry in found.entries)
    if len(found.entries) > settings.socket_queue_frames // 2 or size > settings.socket_queue_bytes // 2:
        return None
    return Resumed(found)


async def _show(parts: Parts, user_id: str, partition: int, job_id: str | None) -> Shown:
    """The jobs as they are. The position is taken first, so that nothing falls between it and the reading."""
    head = parts.feed.window.head(partition)
    jobs = await _jobs(parts, user_id, job_id)
    return Shown(tuple(job_document(job) for job in jobs), {job.job_id: job.version for job in jobs}, head)


async def _jobs(parts: Parts, user_id: str, job_id: str | None) -> list[Job]:
    """The newest jobs and all that are still being made, newest first; or the one that was asked for, if it is own."""
    store, limit = parts.store, parts.settings.snapshot_jobs
    if job_id is not None:
        job = await store.job(job_id)
        theirs = job is not None and job.user_id == user_id and not job.external and job.state is not State.DELETED
        return [job] if job is not None and theirs else []
    damaged = left_out()
    jobs: dict[str, Job] = {}
    for states in (VISIBLE, ACTIVE):
        found = await store.jobs_of(user_id, states=states, external=False, limit=limit, damaged=damaged)
        jobs = {job.job_id: job for job in found} | jobs  # what was read first stays: the second only adds
    return sorted(jobs.values(), key=lambda job: (job.created_at, job.job_id), reverse=True)
