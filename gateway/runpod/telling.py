"""A job as RunPod tells of it, with what lies elsewhere: a large output, a signed address, the newest progress."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import Problem, Refused
from gateway.runpod.asked import Asked
from gateway.runpod.waiting import presence
from repo.ports import Unavailable
from repo.values import LostValue, UnknownStore, stored_word, video_address
from schemas.api.live import PROGRESS_FRAMES
from schemas.api.runpod import RESULT_URL_S, RUNSYNC_BYTES, spliced_object, status_object
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.progress import AttemptProgress

PIECE_BYTES = 64 * 1024
READ_S = 10.0  # of a large output from the object store
SEND_S = 120.0  # of a large body to its client
LOST = b'{"error":"The output of this job is no longer in the object store."}'
_SHOWN = ("phase", "step", "steps", "fraction", "etaMs")
Room = Callable[[], AbstractAsyncContextManager[Callable[[int], None]]]
logger = structlog.get_logger()


async def told(who: Asked, job: Job) -> Response:
    """The answer of ``/status`` and all that answer as it. Raises ``Refused`` and ``Unavailable``; where the output is
    large, so does the response itself when it is sent."""
    if job.output is not None and job.output.value_key is not None:
        return large(who, job, lambda: _body(who, job))
    return Response(await _body(who, job), media_type="application/json")


def large(who: Asked, job: Job, make: Callable[[], Awaitable[bytes]]) -> Response:
    """A body of up to ``RUNSYNC_BYTES`` about a job, made when there is room for it and its client is still there."""
    return _Large(job, lambda: who.parts.serverless.room.held(f"told:{who.user_id}", RUNSYNC_BYTES), make)


async def _body(who: Asked, job: Job) -> bytes:
    if not job.external:
        said = status_object(job, result=await _result(who, job))
        progress = _progress(who, job)
        return orjson.dumps(said | ({"progress": progress} if progress else {}))
    update = who.parts.serverless.updates.of(job)
    word = await _word(who, job)
    return orjson.dumps(spliced_object(job, word, update=None if update is None else update.encode()))


async def _word(who: Asked, job: Job) -> bytes | None:
    try:
        async with asyncio.timeout(READ_S):
            return await stored_word(who.parts.objects, job.output)
    except TimeoutError:
        raise Unavailable("s3", f"no answer in {READ_S:g} s") from None
    except LostValue:
        logger.error("output_lost", job_id=job.job_id)
        return LOST


async def _result(who: Asked, job: Job) -> str | None:
    """An address of the finished video that anyone may follow for a day."""
    try:
        return await video_address(who.parts.objects, job, expires_s=RESULT_URL_S)
    except UnknownStore as error:
        logger.error("store_unknown", store=error.name, job_id=job.job_id)
        raise Refused(Problem.STORE_UNKNOWN) from None


def _progress(who: Asked, job: Job) -> dict[str, Any] | None:
    """How far a video is, as its watchers were shown last."""
    if job.state is not State.PROCESSING:
        return None
    newest = who.parts.feed.hub.newest_of(job.job_id, PROGRESS_FRAMES[AttemptProgress.TYPE])
    if newest is None or newest[0] != job.attempt:
        return None
    shown: dict[str, Any] = orjson.loads(newest[1].frame.text)["data"]
    return {name: shown[name] for name in _SHOWN if shown.get(name) is not None}


class _Large(Response):
    """A large body: made when there is room for the largest, sent in pieces as fast as the client takes them, and
    counted until it is sent or the client has gone. A user's share of that room is not the one of what the user
    sends."""

    media_type = "application/json"

    def __init__(self, job: Job, room: Room, make: Callable[[], Awaitable[bytes]]) -> None:
        super().__init__()
        self._room = room
        self._job = job
        self._make = make

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ``Refused`` and ``Unavailable`` before anything is sent."""
        async with presence(receive) as gone, self._room() as keep:
            if gone.done():
                return
            body = await self._make()
            keep(len(body))
            sending = asyncio.ensure_future(self._send(body, send))
            try:
                await asyncio.wait([sending, gone], timeout=SEND_S, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                elif not gone.done():  # the connection ends, short of what was promised
                    logger.warning("reader_too_slow", job_id=self._job.job_id, bytes=len(body))
            except OSError:  # ASGI 2.4: the client has gone
                pass
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, body: bytes, send: Send) -> None:
        self.init_headers({"content-length": str(len(body))})
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        whole = memoryview(body)
        for at in range(0, len(whole), PIECE_BYTES):
            piece = bytes(whole[at : at + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": at + PIECE_BYTES < len(whole)})
            await asyncio.sleep(0)  # ``send`` need not wait, and nobody would hear that the client has gone
