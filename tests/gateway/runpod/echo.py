"""An endpoint ``echo`` with external workers, and what becomes of its jobs, said by the test in the ledger's place."""

from dataclasses import replace
from typing import Any

import orjson

from repo.clock import now_ms
from schemas.codec import encode
from schemas.endpoints import ServerlessEndpoint
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from schemas.progress import PoolShown, WorkerUpdate
from tests.gateway.external import endpoint
from tests.gateway.world import World, until

POD = "sdk:echo:pod-1:0123456789ab:0"


async def add(world: World, **changes: Any) -> ServerlessEndpoint:
    made = endpoint(**changes)
    assert await world.database.endpoints.store_endpoint(made, made.version - 1)
    return made


async def stored(world: World, job_id: str) -> Job:
    job = await world.store.job(job_id)
    assert job is not None
    return job


async def move(world: World, job_id: str, state: State, **changes: Any) -> Job:
    job = await stored(world, job_id)
    later = replace(job, state=state, version=job.version + 1, updated_at=now_ms(), **changes)
    await world.ledger.write(later)
    await until(lambda: heard(world, later) >= later.version)
    return later


def heard(world: World, job: Job) -> int:
    """The version that the gateway has heard of."""
    feed = world.parts.feed
    known = feed.window.newest(job.user_id, feed.partition_of(job.user_id), job.job_id)
    return known.version if known else 0


async def start(world: World, job_id: str) -> Job:
    return await move(world, job_id, State.PROCESSING, worker_id=POD, started_at=now_ms())


async def finish(world: World, job_id: str, word: Any, state: State = State.COMPLETED, **changes: Any) -> Job:
    job = await stored(world, job_id)
    output = Output(value=orjson.dumps(word).decode()) if word is not None else None
    told = {"started_at": job.started_at or now_ms(), "finished_at": now_ms(), "output": output, **changes}
    return await move(world, job_id, state, **told)


async def say(world: World, message: WorkerUpdate | PoolShown) -> None:
    await world.log.append(encode(message, source="/test", at=now_ms()))


async def update(world: World, job: Job, value: Any, **changes: Any) -> None:
    made = WorkerUpdate(
        user_id=job.user_id,
        job_id=job.job_id,
        sequence=now_ms(),
        attempt=job.attempt,
        worker_id=POD,
        value=orjson.dumps(value).decode(),
    )
    await say(world, replace(made, **changes))
