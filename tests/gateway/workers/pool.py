"""An external endpoint on a gateway over memory twins, a worker's client of it, and what a scheduler would say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
import orjson

from gateway.identity.keys import new_key
from repo.clock import now_ms
from schemas.access import KeyKind
from schemas.codec import decode, encode
from schemas.dispatch import AssignmentDeclined, RunAttempt, StopAttempt, WorkerBeat, WorkerGone, WorkerState
from schemas.endpoints import external_pool
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.requests import external_request
from schemas.topics import COMMANDS, DISPATCH, PROGRESS
from tests.gateway.external import ENDPOINT, endpoint
from tests.gateway.world import World, job, until

M = TypeVar("M")
POOL = external_pool(ENDPOINT)


def external_job(job_id: str = "j-1", state: State = State.QUEUED, *, given: Any = None, **changes: Any) -> Job:
    request = external_request(text=orjson.dumps({"input": given}).decode())
    whole = {"request": request, "endpoint": ENDPOINT, "external": True, "pool": POOL, **changes}
    return job(job_id, state=state, at=now_ms(), **whole)


@dataclass
class Pool:
    """``http`` shows the worker's key; ``pod`` is its name."""

    world: World
    http: httpx.AsyncClient
    pod: str = "pod-1"

    def url(self, what: str, *more: str, pod: str | None = None) -> str:
        return "/".join(["", "v2", ENDPOINT, what, pod or self.pod, *more])

    def said(self, topic: str, kind: type[M]) -> list[M]:
        """All messages of this kind on the topic."""
        messages = [decode(record) for record in self.world.log.records(topic)]
        return [one for one in messages if isinstance(one, kind)]

    def beats(self, state: WorkerState | None = None) -> list[WorkerBeat]:
        found = self.said(DISPATCH.name, WorkerBeat)
        return [beat for beat in found if state in (None, beat.state)]

    def declined(self) -> list[AssignmentDeclined]:
        return self.said(DISPATCH.name, AssignmentDeclined)

    def gone(self) -> list[WorkerGone]:
        return self.said(DISPATCH.name, WorkerGone)

    def reports(self, kind: type[M]) -> list[M]:
        return self.said(COMMANDS.name, kind)

    def progress(self, kind: type[M]) -> list[M]:
        return self.said(PROGRESS.name, kind)

    async def ready(self, count: int = 1) -> list[WorkerBeat]:
        """The first ``count`` words that somebody waits."""
        await until(lambda: len(self.beats(WorkerState.READY)) >= count)
        return self.beats(WorkerState.READY)

    async def order(self, beat: WorkerBeat, made: Job, **changes: Any) -> RunAttempt:
        """Hand a job to the slot that said this."""
        order = RunAttempt(
            worker_id=beat.worker_id,
            session=beat.session,
            pool=made.pool,
            job_id=made.job_id,
            user_id=made.user_id,
            run=made.run,
            attempt=made.attempt,
            request=made.request,
            execution_timeout_ms=600_000,
            assigned_at=now_ms(),
            poll_id=beat.poll_id,
        )
        order = replace(order, **changes)
        await self.append(order)
        return order

    async def stop(self, order: RunAttempt, **changes: Any) -> None:
        stop = StopAttempt(worker_id=order.worker_id, session=order.session, job_id=order.job_id, attempt=order.attempt)
        await self.append(replace(stop, **changes))

    async def append(self, message: Any) -> None:
        await self.world.log.append(encode(message, source="/test", at=now_ms()))

    def take(self, batch: int | None = None, pod: str | None = None) -> "asyncio.Task[httpx.Response]":
        """A poll for a job, or for as many as this."""
        what = "job-take" if batch is None else "job-take-batch"
        query = {"gpu": "x", "job_in_progress": "0"} | ({} if batch is None else {"batch_size": str(batch)})
        return asyncio.create_task(self.http.get(self.url(what, pod=pod), params=query))

    async def taken(self, made: Job) -> RunAttempt:
        """Have this job: polled for, handed over."""
        before = len(self.beats(WorkerState.READY))
        poll = self.take()
        beat = (await self.ready(before + 1))[-1]
        order = await self.order(beat, made)
        answer = await poll
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] == made.job_id
        return order

    async def done(self, job_id: str, body: Any, *, pod: str | None = None, **how: Any) -> httpx.Response:
        """As the SDK posts it."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Request-ID": job_id}
        query = {"gpu": "x", "isStream": "false"}
        url = self.url("job-done", job_id, pod=pod)
        return await self.http.post(url, content=content, headers=headers, params=query, **how)

    async def stream(self, job_id: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.http.post(self.url("job-stream", job_id), content=content, params={"isStream": "false"})

    async def ping(self, *job_ids: str, pod: str | None = None) -> httpx.Response:
        query = {"gpu": "x", "runpod_version": "1.12.0"} | ({"job_id": ",".join(job_ids)} if job_ids else {})
        return await self.http.get(self.url("ping", pod=pod), params=query)

    async def stops(self) -> httpx.Response:
        return await self.http.get(self.url("job-stop"), params={"gpu": "x"})


async def worker_key(world: World, endpoint_id: str = ENDPOINT, **how: Any) -> str:
    secret, stored = new_key("operator", now=now_ms(), kind=KeyKind.WORKER, endpoint=endpoint_id, **how)
    await world.database.access.store_api_key(stored)
    return secret


@asynccontextmanager
async def pool_in(world: World) -> AsyncIterator[Pool]:
    """A worker of the endpoint at this gateway, which says who it is as RunPod's SDK does: without Bearer."""
    if await world.database.endpoints.endpoint(ENDPOINT) is None:
        assert await world.database.endpoints.store_endpoint(endpoint(), 0)
    secret = await worker_key(world)
    async with world.client(None) as http:
        http.headers["Authorization"] = secret
        yield Pool(world, http)
