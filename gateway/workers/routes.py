"""RunPod's worker protocol under ``/v2/{endpoint_id}``, as its SDK speaks it: what is asked, refused and answered."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import wraps

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.core.worker_words import (
    UPDATE_BYTES,
    BadWord,
    Result,
    Update,
    read_chunk,
    read_result,
)
from gateway.errors import Problem, Refused
from gateway.http.bodies import read_body
from gateway.identity.guard import worker
from gateway.parts import Parts, parts_of
from gateway.workers.bodies import TOO_LARGE, UPDATE_LARGE, result_body
from gateway.workers.fencing import Pod
from gateway.workers.handing import jobs_for
from gateway.workers.pings import ping as pinged
from gateway.workers.polls import End
from gateway.workers.results import Taken
from gateway.workers.streaming import Streamed
from repo.ports import Unavailable
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.chunks import CHUNK_MAX
from schemas.endpoints import TTL_MS, ServerlessEndpoint
from schemas.slots import is_pod_id

PAUSE_S = 1.0  # the SDK asks again at once when it is refused a job
BATCH_MAX = 64  # jobs for one poll; who wants more polls again
CHUNK_BODY = 2 * CHUNK_MAX  # other writers of JSON take more bytes for the same chunk
TWIN = "Another poll of this worker took its place: each worker needs a RUNPOD_POD_ID of its own."
POLLS_FULL = "Too many workers wait at this gateway; come back later, or let the operator raise OPENV_WORKER_POLLS."
SLOTS_FULL = (
    "The workers of this endpoint ask for too many jobs at this gateway, or too often; come back later, or let the "
    "operator raise OPENV_WORKER_SLOTS."
)
NOT_ITS_JOB = "This worker has no such job."
POD = "A worker's id (RUNPOD_POD_ID) has 1 to 64 letters, digits and _ -, and begins with a letter or digit."
CHUNK_LARGE = f"A chunk may have {CHUNK_MAX} bytes."
CHUNKS_FULL = "Too much of this job's stream waits to be taken by its client."
TWICE = "An answer to this job is being recorded at this moment."
Handler = Callable[[Request], Awaitable[Response]]


def _slowly(handler: Handler) -> Handler:
    """Refusals after a pause."""

    @wraps(handler)
    async def paused(request: Request) -> Response:
        try:
            return await handler(request)
        except (Refused, Unavailable):
            await asyncio.sleep(PAUSE_S)
            raise

    return paused


async def _known(request: Request) -> tuple[Parts, ServerlessEndpoint, Pod]:
    """Whose request it is. Raises ``Refused`` and ``Unavailable``."""
    endpoint = await worker(request, request.path_params["endpoint_id"])
    pod_id = request.path_params["pod_id"]
    if not is_pod_id(pod_id):
        raise Refused(Problem.BAD_QUERY, words=POD)
    return parts_of(request), endpoint, (endpoint.endpoint_id, pod_id)


async def take(request: Request) -> Response:
    """200 with a job; 204: none came."""
    return await _given(request, 1, lambda jobs: jobs[0])


async def take_batch(request: Request) -> Response:
    """200 with a list of jobs; 204: none came."""
    text = request.query_params.get("batch_size", "1")
    if not text.isdecimal() or not 0 < len(text) <= 6 or int(text) == 0:
        raise Refused(Problem.BAD_QUERY, words="batch_size must be a whole number of at least 1.")
    return await _given(request, min(int(text), BATCH_MAX), lambda jobs: b"[%b]" % b",".join(jobs))


async def _given(request: Request, wanted: int, text: Callable[[list[bytes]], bytes]) -> Response:
    async with AsyncExitStack() as answer:
        jobs = await _jobs(request, wanted, answer)
        return _Jobs(text(jobs), answer.pop_all()) if jobs else Response(status_code=204)


class _Jobs(Response):
    """An answer whose large inputs take room until it is sent."""

    media_type = "application/json"

    def __init__(self, text: bytes, held: AsyncExitStack) -> None:
        super().__init__(text)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ``Response``."""
        async with self._held:
            await super().__call__(scope, receive, send)


async def _jobs(request: Request, wanted: int, answer: AsyncExitStack) -> list[bytes]:
    """Wait for jobs; JSON texts, good until ``answer`` is closed. Raises ``Refused`` and ``Unavailable``."""
    parts, endpoint, pod = await _known(request)
    room = parts.workers.room
    if room.pods.places.is_full(endpoint.endpoint_id):
        raise Refused(Problem.RATE, words=POLLS_FULL, retry_after=5)
    if room.pods.leaving:
        return []
    wanted = min(wanted, room.pods.room(*pod))
    if wanted == 0 or room.outbox.is_behind(endpoint.endpoint_id):
        raise Refused(Problem.RATE, words=SLOTS_FULL, retry_after=5)
    poll = room.pods.poll(endpoint, pod[1], wanted)
    gone = True
    try:
        end = await poll.wait(request.receive)
        gone = end is None or (bool(poll.orders) and await request.is_disconnected())
        if gone:
            return []
        if poll.orders:
            return await jobs_for(room, parts.objects, parts.serverless.room, poll, answer)
    finally:
        room.pods.finish(*pod, poll, gone=gone)
    if end is End.REPLACED:
        raise Refused(Problem.RATE, words=TWIN, retry_after=5)
    return []


async def ping(request: Request) -> Response:
    """200, whatever the ids."""
    parts, endpoint, pod = await _known(request)
    job_ids = request.query_params.get("job_id", "")
    if job_ids:
        await pinged(parts.workers.room, parts.workers.fencing, pod, endpoint.pool, job_ids)
    return JSONResponse({})


async def stop(request: Request) -> Response:
    """200 with the ids of jobs to stop; 204: none."""
    parts, endpoint, pod = await _known(request)
    room = parts.workers.room
    jobs = room.stops.take(pod, parts.now())
    if not jobs:
        if room.stop_places.is_full(endpoint.endpoint_id):
            raise Refused(Problem.RATE, words=POLLS_FULL, retry_after=5)
        poll = room.stop_poll(pod)
        try:
            end = await poll.wait(request.receive)
        finally:
            room.stop_polled(pod, poll)
        jobs = room.stops.take(pod, parts.now()) if end is End.FOUND else []
    return JSONResponse({"jobsToStop": jobs}) if jobs else Response(status_code=204)


async def done(request: Request) -> Response:
    """200 when Kafka has it, or it changes nothing any more."""
    parts, endpoint, pod = await _known(request)
    job_id = request.path_params["job_id"]
    size = request.headers.get("content-length", "")
    held = min(int(size), RUNSYNC_BYTES) if size.isdecimal() and len(size) < 16 else RUNSYNC_BYTES
    async with parts.serverless.room.held(f"worker:{endpoint.endpoint_id}", held):
        body = await result_body(request)
        if body is None:
            await parts.workers.results.take(pod, job_id, TOO_LARGE)
            raise Refused(Problem.TOO_LARGE, words=TOO_LARGE, limitBytes=RUNSYNC_BYTES)
        try:
            said = read_result(body)
        except BadWord as error:
            words = f"The worker's answer can't be kept: {error}."
            await parts.workers.results.take(pod, job_id, words)
            raise Refused(Problem.BAD_BODY, words=words) from None
        del body
        if isinstance(said, Update):
            await _update(parts, pod, job_id, said)
        else:
            await _result(parts, pod, job_id, said)
    return JSONResponse({})


async def _update(parts: Parts, pod: Pod, job_id: str, said: Update) -> None:
    if len(said.text.encode()) > UPDATE_BYTES:
        raise Refused(Problem.TOO_LARGE, words=UPDATE_LARGE, limitBytes=UPDATE_BYTES)
    handed = await parts.workers.fencing.find(pod, job_id)
    if handed is None:
        raise Refused(Problem.NO_JOB, words=NOT_ITS_JOB)
    if not handed.settled:
        parts.workers.room.updates.put(handed, said.text)


async def _result(parts: Parts, pod: Pod, job_id: str, said: Result) -> None:
    taken = await parts.workers.results.take(pod, job_id, said)
    if taken is Taken.NOT_ITS_JOB:
        raise Refused(Problem.NO_JOB, words=NOT_ITS_JOB)
    if taken is Taken.BEING_TAKEN:
        raise Refused(Problem.UNAVAILABLE, words=TWICE)


async def stream(request: Request) -> Response:
    """200 when it is kept, or of an attempt that does not count any more."""
    parts, endpoint, pod = await _known(request)
    async with parts.serverless.room.held(f"worker:{endpoint.endpoint_id}", CHUNK_BODY):
        try:
            text = read_chunk(await read_body(request, CHUNK_BODY))
        except BadWord as error:
            raise Refused(Problem.BAD_BODY, words=f"This chunk can't be kept: {error}.") from None
        if len(text) > CHUNK_MAX:
            raise Refused(Problem.TOO_LARGE, words=CHUNK_LARGE, limitBytes=CHUNK_MAX)
        handed = await parts.workers.fencing.find(pod, request.path_params["job_id"])
        if handed is None:
            raise Refused(Problem.NO_JOB, words=NOT_ITS_JOB)
        delete_at = parts.now() + TTL_MS[1] + endpoint.result_ms  # the first of a job's goes no earlier than its last
        if await parts.workers.streams.add(handed, text, delete_at) is Streamed.FULL:
            raise Refused(Problem.RATE, words=CHUNKS_FULL, retry_after=5)
    parts.serverless.endings.wake(handed.job_id)  # who waits for it here; elsewhere they look again soon
    return JSONResponse({})


_POD = "/v2/{endpoint_id}/%s/{pod_id}"
ROUTES = [
    Route(_POD % "job-take", _slowly(take), methods=["GET"]),
    Route(_POD % "job-take-batch", _slowly(take_batch), methods=["GET"]),
    Route(_POD % "ping", ping, methods=["GET"]),
    Route(_POD % "job-stop", stop, methods=["GET"]),
    Route(f"{_POD % 'job-done'}/{{job_id}}", done, methods=["POST"]),
    Route(f"{_POD % 'job-stream'}/{{job_id}}", stream, methods=["POST"]),
]
