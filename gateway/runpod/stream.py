"""``/v2/{endpoint}/stream/{id}``: what a generator handler has yielded since somebody last asked.

Each chunk is given once. The state is read before the chunks, so that with a final one everything that was streamed is
there, all in one answer; RunPod's JavaScript client asks no more after it, its Python client until a final answer is
empty.
"""

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import Problem, Refused
from gateway.runpod.asked import HIDDEN, Asked, asked, newest, own_job
from gateway.runpod.endings import Waiter
from gateway.runpod.telling import large
from gateway.runpod.waiting import presence
from gateway.workers.streaming import take
from schemas.api.runpod import STATUS
from schemas.chunks import CHUNK_MAX
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State

# Shorter than the 10 s after which RunPod's Python client gives up; its JavaScript client asks without a pause.
PATIENCE_S = 5.0
LOOK_AGAIN_S = 0.5  # a chunk may have come by another gateway, which tells nobody; twice as long after each look
LOOK_AGAIN_MOST_S = 2.0


async def stream(request: Request) -> Response:
    """200 ``{status, stream:[{output}]}``. While there is nothing and the job goes on, a few seconds later."""
    who = await asked(request)
    job_id = request.path_params["job_id"]
    with who.parts.serverless.endings.waiting_for(job_id, who.user_id) as waiter:
        job = await own_job(who, job_id)
        if request.method == "HEAD":  # its answer has no place for what would be taken
            return Response(_body(job, ()), media_type="application/json")
        async with presence(request.receive) as gone:
            return await _taken(who, job, waiter, gone)


async def _taken(who: Asked, job: Job, waiter: Waiter, gone: "asyncio.Future[None]") -> Response:
    clock = asyncio.get_running_loop().time
    until, pause = clock() + PATIENCE_S, LOOK_AGAIN_S
    while True:
        is_last = clock() >= until or who.parts.serverless.endings.leaving or job.state not in ACTIVE
        found = await who.parts.serverless.store.chunks(job.job_id)
        if found is not None and found.bytes > CHUNK_MAX:
            return _large(who, job)
        # For a client that has gone nothing is taken: the next one is given it.
        chunks = () if gone.done() else await take(who.parts.serverless.store, job.job_id, found)
        if chunks or is_last or gone.done():
            return Response(_body(job, chunks), media_type="application/json")
        if job.state is State.QUEUED:  # nobody streams: the event that it has begun wakes
            pause = PATIENCE_S
        woken = await waiter.wait(min(pause, until - clock()), gone)
        pause = LOOK_AGAIN_S if woken else min(2 * pause, LOOK_AGAIN_MOST_S)
        later = await newest(who, job.job_id)
        if later is None or later.state in HIDDEN:
            raise Refused(Problem.NO_JOB)
        job = later


def _large(who: Asked, job: Job) -> Response:
    """What waits is taken when there is room for it, not before."""

    async def make() -> bytes:
        store = who.parts.serverless.store
        return _body(job, await take(store, job.job_id, await store.chunks(job.job_id)))

    return large(who, job, make)


def _body(job: Job, chunks: tuple[str, ...]) -> bytes:
    """The chunks are JSON already: they are put in as they are."""
    told = b",".join(b'{"output":%b}' % chunk.encode() for chunk in chunks)
    return b'{"status":%b,"stream":[%b]}' % (orjson.dumps(STATUS[job.state]), told)
