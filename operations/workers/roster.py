"""Who works, as the log tells it: heartbeats of the last minutes; and what waits in each pool. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from operations.core.roster import Heard, roster
from operations.desk import Desk
from operations.jobs.reading import read_since
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.codec import Record, decode
from schemas.dispatch import WorkerBeat, WorkerGone, WorkerState
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import DISPATCH

LOOK_BACK_MS = 120_000
RECORDS_MOST = 500_000
_TYPES = (WorkerBeat.TYPE, WorkerGone.TYPE)


@dataclass(frozen=True, slots=True)
class Workers:
    """Everyone heard since ``since`` (ms). ``gap``: in words, where not all of it could be read."""

    heard: tuple[Heard, ...]
    since: int
    gap: str | None


@dataclass(frozen=True, slots=True)
class Pool:
    """One queue. ``oldest_at``: when the job that waits longest was submitted, ms; None where none waits."""

    pool: str
    waiting: int
    running: int
    oldest_at: int | None
    idle: int
    busy: int
    starting: int
    draining: int
    silent: int


async def workers(desk: Desk, *, pool: str | None = None, look_back_ms: int = LOOK_BACK_MS) -> Workers:
    """Those of one pool, or all. Raises ``Unavailable``."""
    now = now_ms()
    since = now - look_back_ms
    if pool is None:
        partitions: Sequence[int] = range(DISPATCH.partitions)
    else:
        partitions = [desk.log.partition_of(DISPATCH.name, pool.encode())]
    read = await read_since(desk.log, DISPATCH.name, list(partitions), since, _is_word, RECORDS_MOST)
    words = [
        (record.timestamp, word)
        for record in read.records
        if isinstance(word := decode(record), WorkerBeat | WorkerGone) and pool in (None, word.pool)
    ]
    return Workers(roster(words, now_ms()), since, read.gap)


async def one_worker(desk: Desk, worker_id: str, pool: str | None) -> Heard:
    """The worker of that id. Raises ``StackError`` where none was heard, or more than one pool has such a one."""
    found = [one for one in (await workers(desk, pool=pool)).heard if one.worker_id == worker_id]
    if not found:
        raise StackError(
            f"No worker {worker_id} was heard in the last {LOOK_BACK_MS // 1000} s: `openv workers list` shows who was."
        )
    if len(found) > 1:
        pools = ", ".join(one.pool for one in found)
        raise StackError(f"There is a worker {worker_id} in each of the pools {pools}: say --pool.")
    return found[0]


async def pools(desk: Desk) -> tuple[Pool, ...]:
    """Every pool that has a job or a worker, by name. Raises ``Unavailable``."""
    heard = (await workers(desk)).heard
    names = {*await desk.database.jobs.active_pools(), *(one.pool for one in heard if not one.gone)}
    return tuple([_pool(name, await desk.database.jobs.active_jobs(name), heard) for name in sorted(names)])


def _pool(name: str, jobs: Sequence[Job], heard: Sequence[Heard]) -> Pool:
    there = [one for one in heard if one.pool == name and not one.gone]
    speaking = [one.state for one in there if not one.silent]
    waiting = [job for job in jobs if job.state is State.QUEUED]
    return Pool(
        pool=name,
        waiting=len(waiting),
        running=len(jobs) - len(waiting),
        oldest_at=min((job.created_at for job in waiting), default=None),
        idle=speaking.count(WorkerState.READY),
        busy=speaking.count(WorkerState.BUSY),
        starting=speaking.count(WorkerState.STARTING),
        draining=speaking.count(WorkerState.DRAINING) + speaking.count(WorkerState.DEFUNCT),
        silent=len(there) - len(speaking),
    )


def _is_word(record: Record) -> bool:
    return record.header("ce_type") in _TYPES
