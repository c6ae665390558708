"""``/v2/{endpoint}/purge-queue`` and ``/health``: all jobs of an endpoint at once."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.runpod.asked import Asked, asked
from gateway.runpod.commands import sent
from schemas.access import Scope
from schemas.commands import CancelJob
from schemas.endpoints import DAY
from schemas.events import Outcome
from schemas.jobs import Job
from schemas.lifecycle import State

PURGE_MAX = 5_000  # jobs of one call; who has more calls again
# Of the 3 s that RunPod's clients wait. What is not decided by then is recorded, and will be.
PURGE_S = 2.2
SLICE = 250
COUNT_MS = 1_000


async def purge(request: Request) -> Response:
    """200 ``{removed, status}``: the caller's queued jobs are cancelled; an admin's call cancels everybody's."""
    who = await asked(request, Scope.WRITE)
    parts = who.parts
    shed(parts.serverless.requests, who.user_id, parts.now())
    user_id = None if who.principal.may(Scope.ADMIN) else who.user_id
    async with parts.serverless.purging:
        queued = await parts.store.endpoint_jobs(
            who.endpoint.endpoint_id, (State.QUEUED,), user_id=user_id, limit=PURGE_MAX
        )
        removed = await _cancel_all(who, queued)
    return JSONResponse({"removed": removed, "status": "completed"})


@dataclass(slots=True)
class _Cancelling:
    """One job of a queue that is purged. ``is_certain``: Kafka has the command, and the job was not found started."""

    job: Job
    is_certain: bool = False

    async def send(self, who: Asked) -> None:
        """Until it is decided, or recorded at least. Raises ``Refused``."""
        command = CancelJob(
            command_id=str(uuid4()),
            user_id=self.job.user_id,
            job_id=self.job.job_id,
            run=self.job.run,
            queued_only=True,
        )
        answer = await sent(who.parts, command, recorded=self._recorded)
        self.is_certain = answer is None or answer.outcome is not Outcome.UNCHANGED

    def _recorded(self, _: object) -> None:
        self.is_certain = True


async def _cancel_all(who: Asked, jobs: list[Job]) -> int:
    """How many are cancelled, or surely will be. Raises ``Refused`` where none could be recorded."""
    cancelling = [_Cancelling(job) for job in jobs]
    failed = [error for task in await _sent(who, cancelling) if (error := task.exception()) is not None]
    unknown = next((error for error in failed if not isinstance(error, Refused)), None)
    if unknown is not None:
        raise unknown
    if failed and len(failed) == len(cancelling):
        raise Refused(Problem.NOT_RECORDED)
    return sum(one.is_certain for one in cancelling)


async def _sent(who: Asked, cancelling: list[_Cancelling]) -> set["asyncio.Task[None]"]:
    """Those that were decided in time; the others go on, also where the client leaves meanwhile."""
    serverless = who.parts.serverless
    sending: set[asyncio.Task[None]] = set()
    done: set[asyncio.Task[None]] = set()
    try:
        for at in range(0, len(cancelling), SLICE):
            begun = {asyncio.create_task(one.send(who), name="purge") for one in cancelling[at : at + SLICE]}
            sending |= begun
            serverless.beside.update(begun)
            await asyncio.sleep(0)
        if sending:
            done, _ = await asyncio.wait(sending, timeout=PURGE_S)
    finally:
        serverless.beside.difference_update(done)
        for task in sending - done:
            task.add_done_callback(serverless.ended_beside)
    return done


async def health(request: Request) -> Response:
    """200 with the endpoint's jobs by state and its workers."""
    who = await asked(request)
    counts = await _counts(who)
    updates = who.parts.serverless.updates
    pool = updates.pool(who.endpoint.pool, who.parts.now())
    jobs = {
        "completed": counts.get(State.COMPLETED, 0),
        "failed": counts.get(State.FAILED, 0) + counts.get(State.TIMED_OUT, 0),
        "inProgress": counts.get(State.PROCESSING, 0),
        "inQueue": counts.get(State.QUEUED, 0),
        "retried": updates.tried_again(who.endpoint.endpoint_id),
    }
    idle = pool.idle if pool else 0
    workers = {
        "idle": idle,
        "initializing": pool.starting if pool else 0,
        "ready": idle,
        "running": pool.running if pool else 0,
        "throttled": pool.draining if pool else 0,
    }
    return JSONResponse({"jobs": jobs, "workers": workers})


async def _counts(who: Asked) -> Mapping[State, int]:
    """Counted at most once a second, for all who ask. Raises ``Unavailable``."""
    serverless, now, endpoint_id = who.parts.serverless, who.parts.now(), who.endpoint.endpoint_id
    known = serverless.counts.get(endpoint_id)
    if known is not None and now - known[1] < COUNT_MS:
        return known[0]
    counting = serverless.counting.get(endpoint_id)
    if counting is None:
        counting = asyncio.create_task(_count(who, endpoint_id, now), name="health")
        serverless.counting[endpoint_id] = counting
    return await asyncio.shield(counting)


async def _count(who: Asked, endpoint_id: str, now: int) -> Mapping[State, int]:
    serverless = who.parts.serverless
    try:
        counts = await who.parts.store.endpoint_counts(endpoint_id, now - DAY)
        serverless.counts[endpoint_id] = (counts, now)
        return counts
    finally:
        del serverless.counting[endpoint_id]
