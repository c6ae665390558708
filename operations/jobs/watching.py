"""Reports have no answer: whoever makes one by hand looks at the document, whenever the ledger says anything of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from operations import desk as desks
from operations.desk import SOURCE, Desk, UncertainError
from repo.clock import now_ms
from repo.ports import Unavailable
from schemas.codec import Record, encode
from schemas.commands import AttemptReport
from schemas.jobs import Job
from schemas.topics import EVENTS


async def reported(desk: Desk, job: Job, report: AttemptReport) -> Job | None:
    """The document once it no longer has the reported attempt running; None: that was not seen in time.

    Raises ``Unavailable`` where nothing was sent, ``UncertainError`` where the report may have been recorded.
    """
    partition = desk.log.partition_of(EVENTS.name, report.key.encode())
    begin = (await desk.log.ends(EVENTS.name))[partition]
    try:
        await desk.log.append(encode(report, source=SOURCE, at=now_ms()))
    except Unavailable as absent:
        raise UncertainError(
            f"{absent}. The word on the attempt may be recorded all the same, and is then carried out; "
            f"`openv jobs show {job.job_id}` tells."
        ) from None
    tail = desk.log.tail(EVENTS.name, {partition: begin})
    async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
        try:
            async with asyncio.timeout(desks.ANSWER_WITHIN_S):
                async for batch in batches:
                    if batch and not any(one.header("ce_subject") == job.job_id for one in batch):
                        continue
                    after = await desk.database.jobs.job(job.job_id)
                    if after is not None and _has_moved(job, after):
                        return after
        except TimeoutError:
            pass
    return None


def _has_moved(job: Job, after: Job) -> bool:
    return (after.state, after.attempt, after.worker_id) != (job.state, job.attempt, job.worker_id)
