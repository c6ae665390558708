"""``/v2/{endpoint}/status | status-sync | cancel | retry``: one job, and what becomes of it."""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.runpod.asked import HIDDEN, asked, asked_by_maker, own_job
from gateway.runpod.commands import TOO_OFTEN, sent
from gateway.runpod.telling import told
from gateway.runpod.waiting import ended, presence, wait_ms
from schemas.access import Scope
from schemas.api.runpod import STATUS
from schemas.commands import CancelJob, RetryJob
from schemas.events import Outcome
from schemas.lifecycle import ACTIVE, State

RETRYABLE = frozenset({State.FAILED, State.TIMED_OUT})


async def status(request: Request) -> Response:
    """200 with the job as it is."""
    who = await asked(request)
    return await told(who, await own_job(who, request.path_params["job_id"]))


async def status_sync(request: Request) -> Response:
    """As ``status``, when the job has ended or ``wait`` ms (90 s) are over."""
    who = await asked(request)
    wait, job_id = wait_ms(request), request.path_params["job_id"]
    with who.parts.serverless.endings.waiting_for(job_id, who.user_id) as waiter:
        job = await own_job(who, job_id)
        if job.state in ACTIVE:
            async with presence(request.receive) as gone:
                job = await ended(who, job_id, waiter, gone, wait) or job
    if job.state in HIDDEN:  # deleted meanwhile
        raise Refused(Problem.NO_JOB)
    return await told(who, job)


async def cancel(request: Request) -> Response:
    """200 ``{id, status}`` with the state that the job is in then: one that has ended stays as it ended."""
    who = await asked(request, Scope.WRITE)
    job = await own_job(who, request.path_params["job_id"])
    if job.state in ACTIVE:
        shed(who.parts.serverless.requests, who.user_id, who.parts.now(), TOO_OFTEN)
        command = CancelJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id, run=job.run)
        if await sent(who.parts, command) is not None:
            job = await own_job(who, job.job_id)
    return JSONResponse({"id": job.job_id, "status": STATUS[job.state]})


async def retry(request: Request) -> Response:
    """200 ``{id, status}``: another run of a job that failed or timed out, under the same id."""
    who = await asked_by_maker(request)
    job = await own_job(who, request.path_params["job_id"], from_store=True)
    if job.state not in RETRYABLE:
        raise Refused(Problem.NOT_RETRYABLE, state=job.state.value)
    shed(who.parts.serverless.requests, who.user_id, who.parts.now(), TOO_OFTEN)
    append_by = who.parts.append_by()
    command = RetryJob(
        command_id=str(uuid4()),
        user_id=job.user_id,
        job_id=job.job_id,
        run=job.run,
        append_by=append_by,
        endpoint=who.endpoint.endpoint_id,
        limits=who.endpoint.limits,
    )
    answer = await sent(who.parts, command, append_by=append_by)
    if answer is not None and answer.outcome is Outcome.UNCHANGED:
        now = await own_job(who, job.job_id, from_store=True)
        raise Refused(Problem.NOT_RETRYABLE, state=now.state.value)
    return JSONResponse({"id": job.job_id, "status": STATUS[State.QUEUED]})
