"""``/v2/{endpoint}/stream/{id}``: what a generator handler has yielded since somebody last asked.

Each chunk is given once: who takes them empties the document by compare-and-set, under a name of its own. The state is
read before the chunks, so that with a final one everything that was streamed is there; RunPod's JavaScript client asks
no more after it, its Python client until a final answer is empty.
"""

import asyncio
from dataclasses import replace
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import Problem, Refused
from gateway.runpod.asked import HIDDEN, Asked, asked, newest, own_job
from gateway.runpod.endings import Waiter
from gateway.runpod.waiting import presence
from schemas.api.runpod import STATUS
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE

# Shorter than the 10 s after which RunPod's Python client gives up; its JavaScript client asks without a pause.
PATIENCE_S = 5.0
LOOK_AGAIN_S = 0.5  # a chunk may have come by another gateway, which tells nobody


async def stream(request: Request) -> Response:
    """200 ``{status, stream:[{output}]}``. While there is nothing and the job goes on, a few seconds later."""
    who = await asked(request)
    job_id = request.path_params["job_id"]
    with who.parts.serverless.endings.waiting_for(job_id, who.user_id) as waiter:
        job = await own_job(who, job_id)
        if request.method == "HEAD":  # its answer has no place for what would be taken
            return _answer(job, ())
        async with presence(request) as gone:
            return await _taken(who, job, waiter, gone)


async def _taken(who: Asked, job: Job, waiter: Waiter, gone: "asyncio.Future[None]") -> Response:
    clock = asyncio.get_running_loop().time
    until = clock() + PATIENCE_S
    while True:
        is_last = clock() >= until or who.parts.serverless.endings.leaving or job.state not in ACTIVE
        chunks = () if gone.done() else await _take(who, job.job_id)
        if chunks or is_last or gone.done():
            return _answer(job, chunks)
        await waiter.wait(min(LOOK_AGAIN_S, until - clock()), gone)
        later = await newest(who, job.job_id)
        if later is None or later.state in HIDDEN:
            raise Refused(Problem.NO_JOB)
        job = later


async def _take(who: Asked, job_id: str) -> tuple[str, ...]:
    """The JSON texts that wait; they are nobody else's then. Raises ``Unavailable``."""
    store = who.parts.serverless.store
    while True:
        found = await store.chunks(job_id)
        if found is None or not found.waiting:
            return ()
        emptied = replace(
            found,
            version=found.version + 1,
            waiting=(),
            taken=found.taken + len(found.waiting),
            writer=str(uuid4()),
        )
        if await store.store_chunks(emptied, found.version):
            return found.waiting


def _answer(job: Job, chunks: tuple[str, ...]) -> Response:
    """The chunks are JSON already: they are put in as they are."""
    told = b",".join(b'{"output":%b}' % chunk.encode() for chunk in chunks)
    body = b'{"status":%b,"stream":[%b]}' % (orjson.dumps(STATUS[job.state]), told)
    return Response(body, media_type="application/json")
