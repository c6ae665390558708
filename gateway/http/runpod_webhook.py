"""``POST /api/runpod/webhook``: what RunPod says of a job, turned into a report to the ledger.

Who calls is known by a token in the query, as OpenV has it, or by a signature over job and attempt
(``gateway.core.signed_calls``), where the ``id`` in the body is RunPod's own. Either is looked at before anything else:
a forged call costs no read of the body and no look into a store. 200 means that Kafka has the report, or that it would
change nothing; whether it counts is the ledger's decision, as with every report.

An address that names one of our workers was made by that worker, whose attempt runs on RunPod. A call there is no
report: it wakes the worker up, which asks RunPod itself, so that nothing but the id is taken from the body.
"""

import hmac
from uuid import uuid4

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core.ingress import is_told_again, moved_of, remote_id_of, report_of
from gateway.core.signed_calls import verified
from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.http.bodies import read_json
from gateway.parts import Parts, parts_of
from schemas.api.runpod_calls import BadCall, read_call
from schemas.ids import is_name
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.signed_calls import Signed

BODY_MAX = 256 * 1024
SHOWN_MAX = 128  # characters of an id that are said back
HIDDEN = frozenset({State.DELETED, State.REJECTED})


async def webhook(request: Request) -> Response:
    """200 ``{"success":true}``; 400 what can't be read; 401; 404 no such job; 429 a flood about one job; 503."""
    parts = parts_of(request)
    signed = _vouched_for(parts, request.query_params)
    if signed is not None and signed.worker_id is not None:
        return await _wake(parts, signed, request)
    call = read_call(await read_json(request, BODY_MAX, Problem.BAD_BODY))
    if isinstance(call, BadCall):
        raise Refused(Problem.BAD_BODY, words=call.reason)
    job_id = signed.job_id if signed else call.job_id
    shed(parts.webhook_calls, job_id, parts.now())
    job = await _job(parts, job_id)
    if signed is None and is_told_again(call, job, parts.now()):
        return JSONResponse({"success": True})
    report = report_of(call, job, str(uuid4()), signed.attempt if signed else None)
    if report is not None:
        await parts.decisions.record(report)
    return JSONResponse({"success": True})


async def _wake(parts: Parts, signed: Signed, request: Request) -> Response:
    """Tell the worker that follows the run now: the one that the document names, or else the one that began it."""
    shed(parts.webhook_calls, signed.job_id, parts.now())
    remote_id = remote_id_of(await read_json(request, BODY_MAX, Problem.BAD_BODY))
    job = await parts.store.job(signed.job_id)
    moved = moved_of(signed, job, remote_id, str(uuid4())) if job else None
    if moved is not None:
        await parts.decisions.record(moved)
    return JSONResponse({"success": True})


def _vouched_for(parts: Parts, query: QueryParams) -> Signed | None:
    """What the signature names; None: the token was right. Raises ``Refused``, and says nothing about why."""
    if "signature" in query:
        secrets = [secret.get_secret_value() for secret in parts.settings.webhook_secret]
        signed = verified(secrets, query, parts.now())
        if signed is None:
            raise Refused(Problem.NO_CALLER)
        return signed
    token = parts.settings.webhook_token
    expected = token.get_secret_value() if token else ""
    given = next(iter(query.getlist("token")), "")
    if not expected or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode()):
        raise Refused(Problem.NO_CALLER)
    return None


async def _job(parts: Parts, job_id: str) -> Job:
    job = await parts.store.job(job_id) if is_name(job_id) else None
    if job is None or job.external or job.state in HIDDEN:
        raise Refused(Problem.NOT_FOUND, words=f"Video not found with jobId: {job_id[:SHOWN_MAX]}")
    return job


ROUTES = [Route("/api/runpod/webhook", webhook, methods=["POST"])]
