"""The stage of an audit: two processes, and people, workers and probes that speak all the time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import EventLog, JobStore, ObjectStore
from repo.s3 import S3ObjectStore
from schemas.topics import DISPATCH
from streams.core.policy import Policy
from tests.audit.fleet import Fleet
from tests.audit.judge import Judge
from tests.audit.load import Load
from tests.audit.post import Post
from tests.audit.probes import Probes
from tests.audit.witness import Witness, witnessing
from tests.audit.workers import ScriptedWorker
from tests.servers import settings_of
from tests.streams.streams_process import StreamsProcess
from tests.streams.submissions import new_id

TOLD = {
    "OPENV_STREAMS_LOOK_SECONDS": "5",  # as in production: sooner, a slow machine looks like records left behind
    "OPENV_MAX_ACTIVE": "4",
    "OPENV_RATE_LIMIT": "4",
    "MONTHLY_LIMIT_SECONDS": "6",
    "OPENV_RETRY_DELAY_SECONDS": "0.5",
}
POLICY = Policy(max_active=4, rate_limit=4, monthly_limit_seconds=6.0, backoff_base_ms=500)
WORKERS_A_POOL = 2
RATE = 20.0
PROBE_EVERY_S = 0.3


@dataclass(slots=True)
class Stage:
    """All that a run of trials needs."""

    fleet: Fleet
    judge: Judge
    witness: Witness
    probes: Probes
    post: Post
    workers: list[ScriptedWorker]
    load: "asyncio.Task[None]"
    tasks: list["asyncio.Task[None]"]
    pools: list[str]
    commands: int = 0
    twice: int = 0

    def faults(self) -> list[str]:
        """What has gone wrong so far, but for what is missing."""
        self.fleet.note_ends()
        ended = [task for task in (*self.tasks, *self.witness.tasks, self.load) if task.done() and not task.cancelled()]
        own = [f"the audit's own task ended: {task.exception()!r}" for task in ended]
        return [*self.fleet.faults, *self.judge.differences, *own]


@asynccontextmanager
async def staged(
    environment: Mapping[str, str], folder: Path, chance: Random, *, made: type[StreamsProcess] = StreamsProcess
) -> AsyncIterator[Stage]:
    """Two processes, ready, and load on them. The servers run, their topics and the folder for logs exist."""
    settings = settings_of(environment)
    async with AsyncExitStack() as stack:
        log: EventLog = await stack.enter_async_context(KafkaEventLog(settings, client_id="audit"))
        store: JobStore = (await stack.enter_async_context(MongoDatabase(settings))).jobs
        objects: ObjectStore = await stack.enter_async_context(S3ObjectStore(settings))
        await objects.prepare()
        judge, post, pools = Judge(POLICY), Post(log), _pools(log)
        witness = await stack.enter_async_context(witnessing(judge, settings, log, store))
        fleet = Fleet({**environment, **TOLD}, folder, made)
        stack.callback(fleet.close)
        fleet.start()
        fleet.start()
        await fleet.ready()
        workers = [ScriptedWorker(post, pool, own(chance)) for pool in pools for _ in range(WORKERS_A_POOL)]
        witness.orders = {worker.worker_id: worker.orders.put_nowait for worker in workers}
        probes = Probes(post, judge, objects, pools, own(chance))
        load = Load(post, pools, own(chance), lambda: judge.unfinished, rate=RATE)
        running: list[Coroutine[Any, Any, None]] = [probes.run(PROBE_EVERY_S), *(worker.run() for worker in workers)]
        tasks = [asyncio.create_task(one) for one in running]
        stage = Stage(fleet, judge, witness, probes, post, workers, asyncio.create_task(load.run()), tasks, pools)
        stack.push_async_callback(_end_stage, stage)
        yield stage


def _pools(log: EventLog) -> list[str]:
    """A pool in every partition of the dispatch topic."""
    pools: dict[int, str] = {}
    while len(pools) < DISPATCH.partitions:
        pool = new_id("pool-")
        pools.setdefault(log.partition_of(DISPATCH.name, pool.encode()), pool)
    return [pool for _, pool in sorted(pools.items())]


def own(chance: Random) -> Random:
    """A chance of one's own, so that what one draws changes nothing for the others."""
    return Random(chance.getrandbits(64))


async def end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel them and wait."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _end_stage(stage: Stage) -> None:
    await end([stage.load, *stage.tasks])
