"""OpenV's API: ``/api/runpod`` and ``/api/videos``. Bodies and order of checks are OpenV's; its faults are not.

Checks of a submission, in this order: who (401), may it (403), is the body right (400), then the ledger's decision:
quota (403), concurrency (409), rate (429), credits (403). 202: recorded, not decided yet. 503: not recorded.
"""

import asyncio
from uuid import uuid4

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core.listing import BadQuery, listing, place
from gateway.core.submission import Invalid, Ticket, is_idempotency_key, job_id_for, submission
from gateway.errors import Problem, Refused
from gateway.guard import caller, maker
from gateway.http.answers import ask, decided, shed
from gateway.http.bodies import read_json
from gateway.parts import Parts, parts_of
from gateway.principal import Principal
from schemas.access import Scope
from schemas.api.openv import DeleteBody
from schemas.commands import CancelJob, DeleteJob, RetryJob
from schemas.documents import job_document
from schemas.events import Outcome
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, TRANSITIONS, Fact, State
from schemas.shape import to_plain


async def submit(request: Request) -> Response:
    """``POST /api/runpod``: a prompt in, the row out (200), or a decision that is still to come (202)."""
    parts = parts_of(request)
    principal = await maker(request)
    key = request.headers.get("idempotency-key")
    if key is not None and not is_idempotency_key(key):
        raise Refused(Problem.BAD_KEY)
    body = await read_json(request, parts.settings.body_bytes)
    append_by = _append_by(parts)
    ticket = Ticket(str(uuid4()), job_id_for(principal.user_id, key, str(uuid4())), append_by)
    command = submission(body, principal.user_id, ticket)
    if isinstance(command, Invalid):
        raise Refused(Problem.INVALID, details=[to_plain(line) for line in command.details])
    shed(parts.allowance, principal.user_id, parts.now())
    answer = await ask(parts, command, command.job_id, append_by)
    return await decided(parts, answer, command.job_id)


async def status(request: Request) -> Response:
    """``GET /api/runpod/{job_id}``: the row."""
    parts = parts_of(request)
    principal = await caller(request)
    return JSONResponse(job_document(await own_job(parts, principal, request.path_params["job_id"])))


async def cancel(request: Request) -> Response:
    """``POST /api/runpod/{job_id}/cancel``: stops the run that the job is in now. Cancelled already: the row again."""
    parts = parts_of(request)
    principal = await caller(request, Scope.WRITE)
    job = await own_job(parts, principal, request.path_params["job_id"])
    if job.state in ACTIVE:
        shed(parts.allowance, principal.user_id, parts.now())
        command = CancelJob(command_id=str(uuid4()), user_id=principal.user_id, job_id=job.job_id, run=job.run)
        answer = await ask(parts, command, job.job_id)
        if answer is None:
            return JSONResponse(job_document(job), status_code=202)
        job = await own_job(parts, principal, job.job_id)
    if job.state is not State.CANCELLED:
        raise Refused(Problem.FINISHED, status=job_document(job)["status"], state=job.state.value)
    return JSONResponse(job_document(job))


async def retry(request: Request) -> Response:
    """``POST /api/runpod/{job_id}/retry``: another run of a job that ended without a video; charged as a new one."""
    parts = parts_of(request)
    principal = await maker(request)
    job = await own_job(parts, principal, request.path_params["job_id"])
    if Fact.RETRIED not in TRANSITIONS[job.state]:
        raise Refused(Problem.NOT_FINISHED, state=job.state.value)
    shed(parts.allowance, principal.user_id, parts.now())
    append_by = _append_by(parts)
    command = RetryJob(
        command_id=str(uuid4()), user_id=principal.user_id, job_id=job.job_id, run=job.run, append_by=append_by
    )
    answer = await ask(parts, command, job.job_id, append_by)
    if answer is not None and answer.outcome is Outcome.UNCHANGED:
        raise Refused(Problem.NOT_FINISHED, state=(await own_job(parts, principal, job.job_id)).state.value)
    return await decided(parts, answer, job.job_id)


async def videos(request: Request) -> Response:
    """``GET /api/videos``: a bare array, newest first; ``Link: <…>; rel="next"`` where there are more."""
    parts = parts_of(request)
    principal = await caller(request)
    wanted = listing(request.query_params)
    if isinstance(wanted, BadQuery):
        raise Refused(Problem.BAD_QUERY, words=wanted.reason)
    jobs = await parts.store.jobs_of(
        principal.user_id,
        updated_since=wanted.updated_since,
        states=wanted.states,
        before=wanted.before,
        limit=wanted.limit + 1,
    )
    page, more = jobs[: wanted.limit], len(jobs) > wanted.limit
    headers = {}
    if more:
        following = request.url.include_query_params(before=place(page[-1]))
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return JSONResponse([_listed(job) for job in page], headers=headers)


async def delete(request: Request) -> Response:
    """``DELETE /api/videos`` with ``{"jobIds":[…]}``: rows and files. Ids that are not the caller's change nothing."""
    parts = parts_of(request)
    principal = await caller(request, Scope.WRITE)
    body = await read_json(request, parts.settings.body_bytes, Problem.BAD_BODY)
    if not isinstance(body, dict):
        raise Refused(Problem.BAD_BODY)
    try:
        job_ids = dict.fromkeys(DeleteBody.model_validate(body).job_ids)
    except ValidationError:
        raise Refused(Problem.BAD_JOB_IDS) from None
    shed(parts.allowance, principal.user_id, parts.now())
    found = [await parts.store.job(job_id) for job_id in job_ids]
    mine = [job for job in found if job and job.user_id == principal.user_id and job.state is not State.DELETED]
    answers = await asyncio.gather(*(_delete(parts, job) for job in mine), return_exceptions=True)
    for failed in answers:
        if isinstance(failed, BaseException):
            raise failed
    waiting = [job.job_id for job, done in zip(mine, answers, strict=True) if not done]
    if waiting:
        return JSONResponse({"success": True, "pending": waiting}, status_code=202)
    return JSONResponse({"success": True})


async def own_job(parts: Parts, principal: Principal, job_id: str) -> Job:
    """The caller's job. Another's, a deleted one and none at all are the same: ``Refused`` with 404."""
    job = await parts.store.job(job_id)
    if job is None or job.user_id != principal.user_id or job.state is State.DELETED:
        raise Refused(Problem.NOT_FOUND)
    return job


async def _delete(parts: Parts, job: Job) -> bool:
    command = DeleteJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id)
    try:
        return await ask(parts, command, job.job_id) is not None
    except Refused as refused:
        if refused.problem is Problem.NOT_FOUND:
            return True
        raise


def _append_by(parts: Parts) -> int:
    settings = parts.settings
    return parts.now() + int((settings.decision_timeout_seconds + settings.append_margin_seconds) * 1000)


def _listed(job: Job) -> dict[str, object]:
    if job.state is State.DELETED:
        return {"jobId": job.job_id, "status": "deleted", "updatedAt": to_iso(job.updated_at)}
    return job_document(job)


ROUTES = [
    Route("/api/runpod", submit, methods=["POST"]),
    Route("/api/runpod/{job_id}", status, methods=["GET"]),
    Route("/api/runpod/{job_id}/cancel", cancel, methods=["POST"]),
    Route("/api/runpod/{job_id}/retry", retry, methods=["POST"]),
    Route("/api/videos", videos, methods=["GET"]),
    Route("/api/videos", delete, methods=["DELETE"]),
]
