"""A job as RunPod tells of it, with what lies elsewhere: a large output, a signed address, the newest progress."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import Problem, Refused
from gateway.refusals import refusal_at
from gateway.runpod.asked import Asked
from repo.values import LostValue, stored_word
from schemas.api.live import PROGRESS_FRAMES
from schemas.api.runpod import RESULT_URL_S, status_object
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.progress import AttemptProgress

PIECE_BYTES = 64 * 1024
_SHOWN = ("phase", "step", "steps", "fraction", "etaMs")
logger = structlog.get_logger()


async def told(who: Asked, job: Job) -> Response:
    """The answer of ``/status`` and all that answer as it. Raises ``Refused`` and ``Unavailable``."""
    if job.output is not None and job.output.value_key is not None:
        return await _large(who, job)
    return _json(await _object(who, job))


async def _object(who: Asked, job: Job) -> dict[str, Any]:
    if not job.external:
        said = status_object(job, result=await _result(who, job))
        progress = _progress(who, job)
        return said | ({"progress": progress} if progress else {})
    update = who.parts.serverless.updates.of(job)
    return status_object(job, await _word(who, job), update=None if update is None else orjson.loads(update))


async def _word(who: Asked, job: Job) -> Mapping[str, Any] | None:
    try:
        text = await stored_word(who.parts.objects, job.output)
    except LostValue:
        logger.error("output_lost", job_id=job.job_id)
        return {"error": "The output of this job is no longer in the object store."}
    return None if text is None else orjson.loads(text)


async def _result(who: Asked, job: Job) -> str | None:
    """An address of the finished video that anyone may follow for a day."""
    output = job.output
    if job.state is not State.COMPLETED or output is None:
        return None
    if output.video is None:
        return output.remote_url
    objects = who.parts.objects.named(output.video.store)
    if objects is None:
        logger.error("store_unknown", store=output.video.store, job_id=job.job_id)
        raise Refused(Problem.STORE_UNKNOWN)
    return await objects.signed_url(output.video.key, expires_s=RESULT_URL_S)


def _progress(who: Asked, job: Job) -> dict[str, Any] | None:
    """How far a video is, as its watchers were shown last."""
    if job.state is not State.PROCESSING:
        return None
    newest = who.parts.feed.hub.newest_of(job.job_id, PROGRESS_FRAMES[AttemptProgress.TYPE])
    if newest is None or newest[0] != job.attempt:
        return None
    shown: dict[str, Any] = orjson.loads(newest[1].frame.text)["data"]
    return {name: shown[name] for name in _SHOWN if shown.get(name) is not None}


async def _large(who: Asked, job: Job) -> Response:
    """Read few at a time, and count what is under way to slow readers."""
    serverless = who.parts.serverless
    async with serverless.large:
        body = orjson.dumps(await _object(who, job))
    return _Paced(body, lambda: serverless.room.held(who.user_id, len(body)))


def _json(said: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(said), media_type="application/json")


class _Paced(Response):
    """A large body: in pieces, as fast as the client takes them, and counted for so long."""

    media_type = "application/json"

    def __init__(self, body: bytes, room: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        super().__init__(body)
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._room():
                await self._send(send)
        except Refused as refused:
            await refusal_at(scope["path"], refused)(scope, receive, send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        whole = memoryview(self.body)
        for at in range(0, len(whole), PIECE_BYTES):
            piece = bytes(whole[at : at + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": at + PIECE_BYTES < len(whole)})
