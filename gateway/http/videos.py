"""OpenV's ``/api/videos``: the list, and deleting from it.

Without ``limit`` the answer holds every row, as OpenV's did. Where that is more than a page, the pages are read one
after another, and what changed meanwhile once more at the end: a client that goes on with the newest ``updatedAt`` it
has seen misses nothing. A client that asks for pages takes that instant from its first page. A job whose document can't
be read is left out, so that it does not take the others with it.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core.listing import LIMIT_MAX, BadQuery, Form, Listing, listing, place
from gateway.damaged import left_out
from gateway.errors import Problem, Refused
from gateway.http.answers import ask, shed
from gateway.http.bodies import read_json
from gateway.http.rows import host_for, listed
from gateway.identity.guard import caller
from gateway.identity.principal import Principal
from gateway.parts import Parts, parts_of
from repo.core.documents import LeftOut
from schemas.access import Scope
from schemas.api.openv import DeleteBody, monthly_quota
from schemas.commands import DeleteJob
from schemas.ids import is_name
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.shape import to_plain

SLICE = 100  # ids that are deleted at a time, and that cost one request of the user's allowance
ROUNDS_MAX = 20


async def videos(request: Request) -> Response:
    """``GET /api/videos``: newest first; an array, or ``{"videos":[…],"monthlyQuota":…}``.

    ``Link: <…>; rel="next"``, and ``nextCursor`` in the object, where a page was asked for and there are more.
    """
    parts = parts_of(request)
    principal = await caller(request, nobody=Problem.NO_CALLER)
    wanted = listing(request.query_params)
    if isinstance(wanted, BadQuery):
        raise Refused(Problem.BAD_QUERY, words=wanted.reason)
    host = host_for(request)
    following: str | None = None
    if wanted.limit is None:
        rows = await _all_rows(parts, principal.user_id, wanted, host)
    else:
        jobs = await _read(parts, principal.user_id, wanted, left_out(), wanted.limit + 1)
        rows = [orjson.dumps(listed(job, host)) for job in jobs[: wanted.limit]]
        following = place(jobs[wanted.limit - 1]) if len(jobs) > wanted.limit else None
    body = b"[%b]" % b",".join(rows)
    if (wanted.form or parts.settings.videos_format) is Form.OBJECT:
        left = await parts.standings.of(principal.user_id)
        beside = {"monthlyQuota": to_plain(monthly_quota(left)) if left else None}
        cursor = {"nextCursor": following} if wanted.limit is not None else {}
        body = b'{"videos":%b,%b' % (body, orjson.dumps(beside | cursor)[1:])
    return Response(body, media_type="application/json", headers=_link(request, following))


async def delete(request: Request) -> Response:
    """``DELETE /api/videos`` with ``{"jobIds":[…]}``: rows and files. Ids that are not the caller's change nothing."""
    parts = parts_of(request)
    principal = await caller(request, Scope.WRITE, nobody=Problem.NO_CALLER)
    body = await read_json(request, parts.settings.body_bytes, Problem.BAD_BODY)
    if not isinstance(body, dict):
        raise Refused(Problem.BAD_BODY)
    try:
        given = DeleteBody.model_validate(body).job_ids
    except ValidationError:
        raise Refused(Problem.BAD_JOB_IDS) from None
    job_ids = [job_id for job_id in dict.fromkeys(given) if is_name(job_id)]
    slices = [job_ids[at : at + SLICE] for at in range(0, len(job_ids), SLICE)]
    for _ in slices:
        shed(parts.allowance, principal.user_id, parts.now())
    waiting = [job_id for one in slices for job_id in await _delete_all(parts, principal, one)]
    if waiting:
        return JSONResponse({"success": True, "pending": waiting}, status_code=202)
    return JSONResponse({"success": True})


async def _read(parts: Parts, user_id: str, wanted: Listing, damaged: LeftOut, limit: int = LIMIT_MAX) -> list[Job]:
    return await parts.store.jobs_of(
        user_id,
        updated_since=wanted.updated_since,
        states=wanted.states,
        before=wanted.before,
        external=False,
        limit=limit,
        damaged=damaged,
    )


async def _all_rows(parts: Parts, user_id: str, wanted: Listing, host: str) -> list[bytes]:
    """Every row as JSON. Long lists are read for few requests at a time: they are what fills the memory."""
    damaged = left_out()
    page = await _read(parts, user_id, wanted, damaged)
    if len(page) < LIMIT_MAX:
        return [orjson.dumps(listed(job, host)) for job in page]
    async with parts.long_lists:
        found: dict[str, tuple[tuple[int, str], bytes]] = {}
        looked_for = wanted
        for _ in range(ROUNDS_MAX):
            pages, newest = 0, looked_for.updated_since or 0
            async for page in _pages(parts, user_id, looked_for, damaged):
                pages += 1
                if pages == 1 and page:
                    newest = max(job.updated_at for job in page)
                for job in page:
                    found.pop(job.job_id, None)
                    if job.state in wanted.states:
                        found[job.job_id] = ((job.created_at, job.job_id), orjson.dumps(listed(job, host)))
            if pages == 1:
                break  # read in one go: all of it is of one instant
            # A user's changes are stored one after another: what the first page showed knows all that came before it.
            looked_for = replace(wanted, updated_since=newest, states=tuple(State))
    return [row for _, row in sorted(found.values(), reverse=True)]


async def _pages(parts: Parts, user_id: str, wanted: Listing, damaged: LeftOut) -> AsyncIterator[list[Job]]:
    """All pages, at least one."""
    while True:
        page = await _read(parts, user_id, wanted, damaged)
        yield page
        if len(page) < LIMIT_MAX:
            return
        wanted = replace(wanted, before=(page[-1].created_at, page[-1].job_id))


async def _delete_all(parts: Parts, principal: Principal, job_ids: list[str]) -> list[str]:
    """Delete those that are the caller's; the ids of those that are not decided yet."""
    found = [await parts.store.job(job_id) for job_id in job_ids]
    theirs = [job for job in found if job and job.user_id == principal.user_id and not job.external]
    mine = [job for job in theirs if job.state is not State.DELETED]
    answers = await asyncio.gather(*(_delete(parts, job) for job in mine), return_exceptions=True)
    for failed in answers:
        if isinstance(failed, BaseException):
            raise failed
    return [job.job_id for job, done in zip(mine, answers, strict=True) if not done]


async def _delete(parts: Parts, job: Job) -> bool:
    command = DeleteJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id)
    try:
        return await ask(parts, command, job.job_id) is not None
    except Refused as refused:
        if refused.problem is Problem.NOT_FOUND:
            return True
        raise


def _link(request: Request, following: str | None) -> dict[str, str]:
    if following is None:
        return {}
    url = request.url.include_query_params(before=following)
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}


ROUTES = [
    Route("/api/videos", videos, methods=["GET"]),
    Route("/api/videos", delete, methods=["DELETE"]),
]
