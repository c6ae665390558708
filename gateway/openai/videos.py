"""``/v1/videos``: making, asking, listing, deleting and fetching videos as OpenAI's SDKs do it.

The same jobs, ledger and rules as ``/api/runpod``. Videos of every surface are shown; an external worker's job is none.
"""

from collections.abc import Mapping
from uuid import uuid4

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core.listing import VISIBLE
from gateway.core.openai_listing import BadPage, Page, page_of
from gateway.core.openai_request import Wrong, video_request
from gateway.core.submission import Ticket, command_for, is_idempotency_key, job_id_for
from gateway.damaged import left_out
from gateway.errors import Problem, Refused
from gateway.http.answers import ask, shed
from gateway.http.files import file_of
from gateway.http.rows import own_job
from gateway.identity.guard import caller, maker
from gateway.identity.principal import Principal
from gateway.openai.bodies import read_body
from gateway.parts import Parts, parts_of
from repo.ports import Position, Unavailable
from schemas.access import Scope
from schemas.api.live import PROGRESS_FRAMES
from schemas.api.openai import (
    POLL_AFTER,
    POLL_AFTER_MS,
    Video,
    VideoDeleted,
    VideoList,
    expected_video,
    job_id_in,
    video_of,
)
from schemas.commands import DeleteJob
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.progress import AttemptProgress

ORIGIN = "openai"
PROGRESS = PROGRESS_FRAMES[AttemptProgress.TYPE]
FILES: Mapping[str, str] = {"video": "video", "thumbnail": "thumbnail"}
NO_SPRITESHEET = "variant spritesheet is not supported; there are video and thumbnail."
UNFINISHED = frozenset({"queued", "in_progress"})


async def create(request: Request) -> Response:
    """``POST /v1/videos``: 200 with the video, 202 where the decision is still to come."""
    parts = parts_of(request)
    principal = await maker(request)
    key = request.headers.get("idempotency-key")
    if key is not None and not is_idempotency_key(key):
        raise Refused(Problem.BAD_KEY)
    body = await read_body(request, parts.settings.body_bytes)
    append_by = parts.append_by()
    job_id = job_id_for(principal.user_id, key, str(uuid4()))
    wish = video_request(body, job_id, parts.settings.openai_models)
    if isinstance(wish, Wrong):
        problem = Problem.NO_MODEL if wish.unknown_model else Problem.INVALID
        raise Refused(problem, words=wish.words, param=wish.param)
    command = command_for(wish, principal.user_id, Ticket(str(uuid4()), job_id, append_by), ORIGIN)
    shed(parts.allowance, principal.user_id, parts.now())
    lies: list[Position] = []
    answer = await ask(parts, command, job_id, append_by, lies.append)
    video = await _stored(parts, job_id)
    if video is None:
        video = expected_video(job_id, wish, (lies[0].at if lies else None) or parts.now())
    if answer is None:
        parts.undecided[job_id] = (principal.user_id, video)
    return _told(video, 202 if answer is None else 200)


async def retrieve(request: Request) -> Response:
    """``GET /v1/videos/{video_id}``, with the pace at which it is worth asking again while it is not finished."""
    parts = parts_of(request)
    principal = await caller(request)
    found = await _own(parts, principal, request.path_params["video_id"])
    return _told(found if isinstance(found, Video) else video_of(found, _fraction(parts, found)))


async def listing(request: Request) -> Response:
    """``GET /v1/videos``: a page of the caller's videos."""
    parts = parts_of(request)
    principal = await caller(request)
    page = page_of(request.query_params)
    if isinstance(page, BadPage):
        raise Refused(Problem.BAD_QUERY, words=page.words, param=page.param)
    jobs = await parts.store.jobs_of(
        principal.user_id,
        states=VISIBLE,
        external=False,
        before=await _place(parts, principal, page),
        oldest_first=page.oldest_first,
        limit=page.limit + 1,
        damaged=left_out(),
    )
    shown = [video_of(job, _fraction(parts, job)) for job in jobs[: page.limit]]
    made = VideoList(
        data=tuple(shown),
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=len(jobs) > page.limit,
    )
    return _json(made)


async def delete(request: Request) -> Response:
    """``DELETE /v1/videos/{video_id}``: the row and the files; one that is being made is stopped."""
    parts = parts_of(request)
    principal = await caller(request, Scope.WRITE)
    video_id = request.path_params["video_id"]
    found = await _own(parts, principal, video_id)
    job_id = job_id_in(found.id) or "" if isinstance(found, Video) else found.job_id
    shed(parts.allowance, principal.user_id, parts.now())
    command = DeleteJob(command_id=str(uuid4()), user_id=principal.user_id, job_id=job_id)
    answer = await ask(parts, command, job_id)
    parts.undecided.pop(job_id, None)
    return _json(VideoDeleted(id=video_id, deleted=answer is not None), 202 if answer is None else 200)


async def content(request: Request) -> Response:
    """``GET /v1/videos/{video_id}/content``: 307 to the file in the store, which the SDKs follow without the key."""
    parts = parts_of(request)
    principal = await caller(request)
    variant = request.query_params.get("variant", "video")
    if variant not in FILES:
        if variant == "spritesheet":
            raise Refused(Problem.UNSUPPORTED, words=NO_SPRITESHEET, param="variant")
        raise Refused(Problem.BAD_QUERY, words="variant must be video or thumbnail.", param="variant")
    found = await _own(parts, principal, request.path_params["video_id"])
    if isinstance(found, Video):
        raise Refused(Problem.NOT_READY)
    return await file_of(request, found, FILES[variant])


async def _own(parts: Parts, principal: Principal, video_id: str) -> Job | Video:
    """The caller's video; the little that is known of one whose decision is still to come. Raises ``Refused``: 404."""
    job_id = job_id_in(video_id)
    if job_id is None:
        raise Refused(Problem.NOT_FOUND)
    owner, undecided = parts.undecided.get(job_id, (None, None))
    try:
        return await own_job(parts, principal, job_id)
    except Refused:
        if undecided is not None and owner == principal.user_id and await parts.store.job(job_id) is None:
            return undecided
        raise


async def _stored(parts: Parts, job_id: str) -> Video | None:
    """What is stored under this id of the caller's; None where nothing is yet, or the store does not answer."""
    try:
        job = await parts.store.job(job_id)
    except Unavailable:
        return None
    if job is not None and job.state is State.DELETED:
        raise Refused(Problem.DELETED)
    return None if job is None else video_of(job, _fraction(parts, job))


async def _place(parts: Parts, principal: Principal, page: Page) -> tuple[int, str] | None:
    """Where the page begins: after a video of the caller's, which may have been deleted since."""
    if page.after is None:
        return None
    job = await parts.store.job(page.after)
    if job is None or job.user_id != principal.user_id or job.external:
        raise Refused(Problem.BAD_QUERY, words="after must be the id of a video of yours.", param="after")
    return job.created_at, job.job_id


def _fraction(parts: Parts, job: Job) -> float:
    """How far the job's newest attempt is (0-1), as far as this gateway has heard."""
    if job.state is not State.PROCESSING:
        return 0.0
    attempt, newest = parts.feed.hub.newest_of(job.job_id, PROGRESS) or (0, None)
    if newest is None or attempt != job.attempt:
        return 0.0
    fraction = orjson.loads(newest.frame.text)["data"].get("fraction")
    return float(fraction) if isinstance(fraction, int | float) else 0.0


def _told(video: Video, status: int = 200) -> Response:
    response = _json(video, status)
    if video.status in UNFINISHED:
        response.headers[POLL_AFTER] = str(POLL_AFTER_MS)
    return response


def _json(made: BaseModel, status: int = 200) -> Response:
    return JSONResponse(made.model_dump(mode="json"), status_code=status)


ROUTES = [
    Route("/v1/videos", create, methods=["POST"]),
    Route("/v1/videos", listing, methods=["GET"]),
    Route("/v1/videos/{video_id}", retrieve, methods=["GET"]),
    Route("/v1/videos/{video_id}", delete, methods=["DELETE"]),
    Route("/v1/videos/{video_id}/content", content, methods=["GET"]),
]
