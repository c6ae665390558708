"""OpenV's ``/api/runpod``: making a video, and what happens to it. Bodies, order of checks and words are OpenV's; its
faults are not.

Checks of a submission, in this order: who (401), may it (403), is the body right (400), then the ledger's decision:
quota (403), concurrency (409), rate (429), credits (403). 202: recorded, not decided yet. 503: not recorded.
"""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core.submission import Invalid, Ticket, is_idempotency_key, job_id_for, submission
from gateway.errors import Problem, Refused
from gateway.http.answers import ask, decided, shed
from gateway.http.bodies import read_json
from gateway.http.rows import host_for, own_job, row_of, status_of
from gateway.identity.guard import caller, maker
from gateway.parts import parts_of
from repo.ports import Position
from schemas.access import Scope
from schemas.commands import CancelJob, RetryJob, SubmitJob
from schemas.documents import expected_row, job_document
from schemas.events import Outcome
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
    append_by = parts.append_by()
    ticket = Ticket(str(uuid4()), job_id_for(principal.user_id, key, str(uuid4())), append_by)
    command = submission(body, principal.user_id, ticket)
    if isinstance(command, Invalid):
        raise Refused(Problem.INVALID, details=[to_plain(line) for line in command.details])
    shed(parts.allowance, principal.user_id, parts.now())
    lies: list[Position] = []
    answer = await ask(parts, command, command.job_id, append_by, lies.append)
    expected = _expected(command, (lies[0].at if lies else None) or parts.now())
    return await decided(parts, answer, command.job_id, host_for(request), expected)


async def status(request: Request) -> Response:
    """``GET /api/runpod/{job_id}``: the row, with what OpenV passed on of RunPod's own answer."""
    parts = parts_of(request)
    principal = await caller(request)
    job = await own_job(parts, principal, request.path_params["job_id"])
    return JSONResponse(status_of(job, row_of(request, job)))


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
    append_by = parts.append_by()
    command = RetryJob(
        command_id=str(uuid4()), user_id=principal.user_id, job_id=job.job_id, run=job.run, append_by=append_by
    )
    answer = await ask(parts, command, job.job_id, append_by)
    if answer is not None and answer.outcome is Outcome.UNCHANGED:
        raise Refused(Problem.NOT_FINISHED, state=(await own_job(parts, principal, job.job_id)).state.value)
    return await decided(parts, answer, job.job_id, host_for(request))


def _expected(command: SubmitJob, at: int) -> dict[str, object]:
    return expected_row(command.job_id, command.user_id, command.request, at)


ROUTES = [
    Route("/api/runpod", submit, methods=["POST"]),
    Route("/api/runpod/{job_id}", status, methods=["GET"]),
    Route("/api/runpod/{job_id}/cancel", cancel, methods=["POST"]),
    Route("/api/runpod/{job_id}/retry", retry, methods=["POST"]),
]
