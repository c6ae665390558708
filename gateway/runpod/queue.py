"""``/v2/{endpoint}/purge-queue`` and ``/health``: all jobs of an endpoint at once."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from enum import Enum, auto
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.runpod.asked import Asked, asked
from gateway.runpod.commands import TOO_OFTEN, sent
from schemas.access import Scope
from schemas.commands import CancelJob
from schemas.endpoints import DAY
from schemas.events import Outcome
from schemas.jobs import Job
from schemas.lifecycle import State

PURGE_MAX = 5_000  # jobs of one call; who has more calls again
# Of the 3 s that RunPod's clients wait. What is not decided by then goes on.
PURGE_S = 2.2
SLICE = 250
COUNT_MS = 1_000
logger = structlog.get_logger()


async def purge(request: Request) -> Response:
    """200 ``{removed, status}``: the caller's queued jobs are cancelled; an admin's call cancels everybody's.

    ``removed`` counts those that are cancelled by then, see ``Purged`` for what ``status`` says of the others.
    """
    who = await asked(request, Scope.WRITE)
    parts = who.parts
    shed(parts.serverless.requests, who.user_id, parts.now(), TOO_OFTEN)
    user_id = None if who.principal.may(Scope.ADMIN) else who.user_id
    async with parts.serverless.purging:
        queued = await parts.store.endpoint_jobs(
            who.endpoint.endpoint_id, (State.QUEUED,), user_id=user_id, limit=PURGE_MAX + 1
        )
        fates = await _cancel_all(who, queued[:PURGE_MAX])
    if queued and fates[_Fate.NOT_RECORDED] == len(queued[:PURGE_MAX]):
        raise Refused(Problem.NOT_RECORDED)
    return JSONResponse({"removed": fates[_Fate.REMOVED], "status": _status(fates, len(queued))})


class _Fate(Enum):
    """What became of the cancelling of one job."""

    REMOVED = auto()  # the ledger says so
    KEPT = auto()  # it had started, or was gone
    RECORDED = auto()  # it is not decided, and will be
    NOT_RECORDED = auto()


def _status(fates: Counter[_Fate], queued: int) -> str:
    """See ``Purged``. ``queued``: how many there were, one more than ``PURGE_MAX`` at most."""
    if fates[_Fate.NOT_RECORDED] or queued > PURGE_MAX:
        return "incomplete"
    return "completed" if fates[_Fate.REMOVED] + fates[_Fate.KEPT] == queued else "in_progress"


async def _cancel_all(who: Asked, jobs: list[Job]) -> Counter[_Fate]:
    """What has become of it in time. The rest goes on, also where the client leaves meanwhile."""
    serverless, fates = who.parts.serverless, Counter[_Fate]()
    purging = asyncio.create_task(_carry_out(who, jobs, fates), name="purge")
    serverless.beside.add(purging)
    purging.add_done_callback(serverless.ended_beside)
    await asyncio.wait([purging], timeout=PURGE_S)
    if purging.done():
        purging.result()
    return Counter(fates)


async def _carry_out(who: Asked, jobs: list[Job], fates: Counter[_Fate]) -> None:
    """Count what becomes of each; whatever is wrong with one, the others go on."""
    sending: list[asyncio.Task[_Fate]] = []
    for at in range(0, len(jobs), SLICE):
        for job in jobs[at : at + SLICE]:
            task = asyncio.create_task(_cancel(who, job), name="purge.job")
            task.add_done_callback(lambda done: _count_in(fates, done))
            sending.append(task)
        await asyncio.sleep(0)
    ends = await asyncio.gather(*sending, return_exceptions=True)
    if set(fates) - {_Fate.REMOVED, _Fate.KEPT}:
        counts = {fate.name.lower(): number for fate, number in fates.items()}
        logger.warning("purge_not_decided", endpoint=who.endpoint.endpoint_id, **counts)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _cancel(who: Asked, job: Job) -> _Fate:
    command = CancelJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id, run=job.run, queued_only=True)
    try:
        answer = await sent(who.parts, command)
    except Refused as refusal:
        return _Fate.KEPT if refusal.problem is Problem.NO_JOB else _Fate.NOT_RECORDED
    if answer is None:
        return _Fate.RECORDED
    return _Fate.KEPT if answer.outcome is Outcome.UNCHANGED else _Fate.REMOVED


def _count_in(fates: Counter[_Fate], done: "asyncio.Task[_Fate]") -> None:
    if not done.cancelled() and done.exception() is None:
        fates[done.result()] += 1


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
