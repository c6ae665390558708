"""One job's whole life: its document, its files, its deliveries, and every record that tells of it. Only reads."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from operations.core.attempts import Attempt, attempts_of
from operations.core.timeline import Step, is_about, timeline
from operations.desk import Desk
from operations.jobs.reading import BEFORE_MS, Read, read_around
from operations.stack.errors import StackError
from repo.core.object_keys import job_prefixes
from repo.ports import EventLog, Unavailable
from repo.stores import ObjectStores
from schemas.deliveries import Delivery
from schemas.jobs import Job
from schemas.topics import ASSIGNMENTS, AUDIT, COMMANDS, DEADLETTER, DISPATCH, EVENTS, PROGRESS
from schemas.traces import trace_id_of

RECORDS_MOST = 200_000  # of a topic


@dataclass(frozen=True, slots=True)
class File:
    """A file of the job. ``bytes``: as the document has it, None of a file that it does not name. ``present``: None
    where its store did not answer, or is not configured here."""

    key: str
    store: str | None
    bytes: int | None
    present: bool | None
    named: bool


@dataclass(frozen=True, slots=True)
class Life:
    """All that is known of one job. ``gaps``: what could not be read, in words."""

    job: Job
    trace_id: str
    attempts: tuple[Attempt, ...]
    steps: tuple[Step, ...]
    files: tuple[File, ...]
    deliveries: tuple[Delivery, ...]
    gaps: tuple[str, ...]


async def stored_job(desk: Desk, job_id: str) -> Job:
    """Raises ``StackError``."""
    job = await desk.database.jobs.job(job_id)
    if job is None:
        raise StackError(f"There is no job {job_id}: `openv jobs list` shows the newest.")
    return job


async def life_of(desk: Desk, stores: ObjectStores | None, job_id: str, *, most: int = RECORDS_MOST) -> Life:
    """Read it all. ``stores`` None: no files are looked for. Raises ``StackError``, ``Unavailable``."""
    job = await stored_job(desk, job_id)
    reads, deliveries, (files, unseen) = await asyncio.gather(
        _records(desk.log, job, most),
        desk.database.deliveries.of_job(job_id),
        _files(stores, job),
    )
    records = [record for read in reads for record in read.records]
    return Life(
        job=job,
        trace_id=trace_id_of(job_id),
        attempts=attempts_of(job),
        steps=timeline(records, deliveries, job_id),
        files=files,
        deliveries=tuple(deliveries),
        gaps=(*(read.gap for read in reads if read.gap is not None), *unseen),
    )


async def _records(log: EventLog, job: Job, most: int) -> list[Read]:
    """Of every topic the partitions where the job's records lie; orders lie by worker, dead letters anywhere."""
    key, pool = job.user_id.encode(), job.pool.encode()
    where = {
        COMMANDS: [log.partition_of(COMMANDS.name, key)],
        EVENTS: [log.partition_of(EVENTS.name, key)],
        PROGRESS: [log.partition_of(PROGRESS.name, key)],
        DISPATCH: [log.partition_of(DISPATCH.name, pool)],
        ASSIGNMENTS: list(range(ASSIGNMENTS.partitions)),
        DEADLETTER: list(range(DEADLETTER.partitions)),
        AUDIT: list(range(AUDIT.partitions)),
    }
    moments = _moments(job)
    reads = (
        read_around(log, topic.name, partitions, moments, lambda record: is_about(record, job.job_id), most)
        for topic, partitions in where.items()
    )
    return list(await asyncio.gather(*reads))


def _moments(job: Job) -> set[int]:
    """When something happened to it, as the document tells."""
    times = {job.created_at, job.updated_at, job.charge.reserved_at, job.started_at, job.finished_at}
    for one in job.earlier_attempts:
        times |= {one.started_at, one.ended_at}
    return {max(0, job.created_at - BEFORE_MS), *(at for at in times if at is not None)}


async def _files(stores: ObjectStores | None, job: Job) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """The document's files, and whatever else lies in the job's folders; stores that could not be asked, in words."""
    if stores is None:
        return (), ()
    present: dict[str | None, set[str]] = {}
    unseen: list[str] = []
    for name, store in stores.each():
        try:
            lists = [await store.list_keys(prefix) for prefix in job_prefixes(job.user_id, job.job_id)]
        except Unavailable as away:
            unseen.append(f"{away}: which files are there is not known")
            continue
        present[name] = {key for keys in lists for key in keys}
    files = [
        File(key, store, size, key in present[store] if store in present else None, named=True)
        for key, store, size in _named(job)
    ]
    known = {(one.store, one.key) for one in files}
    others = [
        File(key, store, None, present=True, named=False)
        for store, keys in present.items()
        for key in sorted(keys)
        if (store, key) not in known
    ]
    return (*files, *others), tuple(unseen)


def _named(job: Job) -> Iterator[tuple[str, str | None, int | None]]:
    """Key, store and size of all that the document names; a size is not known of a large input or a large word."""
    output = job.output
    for one in (output.video, output.poster, output.thumbnail) if output is not None else ():
        if one is not None:
            yield one.key, one.store, one.bytes
    for key in (job.request.input_key, output.value_key if output is not None else None):
        if key is not None:
            yield key, None, None
