"""``openv jobs tail``: what becomes of jobs, as the ledger announces it. Only reads."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from operations.desk import Desk
from operations.jobs.listing import Sought
from schemas.codec import Record, decode
from schemas.events import JobEvent
from schemas.jobs import Job
from schemas.topics import EVENTS


async def follow(desk: Desk, sought: Sought, job_id: str | None = None) -> AsyncIterator[tuple[int, Job]]:
    """Each new version of the jobs sought (or of one), with the time of its event in ms, for ever, from now on.

    An event that is announced again comes again. Raises ``Unavailable`` before the first.
    """
    ends = await desk.log.ends(EVENTS.name)
    tail = desk.log.tail(EVENTS.name, ends)
    async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
        async for batch in batches:
            for record in batch:
                message = decode(record)
                if isinstance(message, JobEvent) and _is_sought(message.job, sought, job_id):
                    yield record.timestamp, message.job


def _is_sought(job: Job, sought: Sought, job_id: str | None) -> bool:
    return (
        job_id in (None, job.job_id)
        and sought.user in (None, job.user_id)
        and (not sought.states or job.state in sought.states)
        and sought.pool in (None, job.pool)
        and sought.endpoint in (None, job.endpoint)
        and sought.code in (None, job.failure.code if job.failure else "")
        and (sought.since is None or job.created_at >= sought.since)
    )
