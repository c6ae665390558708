"""``POST /v2/{endpoint}/run`` and ``/runsync``: a job in, its id out, or the whole of it once it has ended.

Only 200 says that a job was taken, whether or not it is decided: RunPod's JavaScript client takes anything else for a
failure.
"""

from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.core.runpod_wishes import Wish, job_id_at, wish_of
from gateway.core.submission import Invalid, is_idempotency_key
from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.runpod.asked import HIDDEN, Asked, asked_by_maker, newest
from gateway.runpod.bodies import large_json
from gateway.runpod.commands import TOO_OFTEN, refused, sent
from gateway.runpod.telling import told
from gateway.runpod.waiting import ended, presence, wait_ms
from gateway.runpod.webhook_addresses import wrong_with_webhook
from repo.ports import Unavailable
from repo.values import store_input
from schemas.api.runpod import INLINE_BYTES, RUN_BYTES, RUNSYNC_BYTES, STATUS
from schemas.commands import SubmitJob
from schemas.events import CommandAnswered
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest, external_request
from schemas.shape import to_plain


async def run(request: Request) -> Response:
    """200 ``{id, status}``. Recorded and not decided yet is ``IN_QUEUE`` as well."""
    who = await asked_by_maker(request)
    key = _idempotency_key(request)
    job_id = job_id_at(who.endpoint.endpoint_id, who.user_id, key, str(uuid4()), sync=False)
    answer = await _submit(request, who, job_id, RUN_BYTES, key)
    state = await _state(who, job_id) if key is not None and answer is not None else State.QUEUED
    return JSONResponse({"id": job_id, "status": STATUS[state]})


async def runsync(request: Request) -> Response:
    """200 with the job as ``/status`` tells of it, when it has ended or ``wait`` ms (90 s) are over."""
    who = await asked_by_maker(request)
    wait, key = wait_ms(request), _idempotency_key(request)
    job_id = job_id_at(who.endpoint.endpoint_id, who.user_id, key, str(uuid4()), sync=True)
    with who.parts.serverless.endings.waiting_for(job_id, who.user_id) as waiter:
        await _submit(request, who, job_id, RUNSYNC_BYTES, key)
        async with presence(request.receive) as gone:
            job = await ended(who, job_id, waiter, gone, wait)
    if job is None:
        return JSONResponse({"id": job_id, "status": STATUS[State.QUEUED]})
    _check(job)
    return await told(who, job)


async def _submit(
    request: Request, who: Asked, job_id: str, limit: int, idempotency_key: str | None
) -> CommandAnswered | None:
    """The ledger's yes; None: recorded, not decided yet. Raises ``Refused``."""
    parts = who.parts
    shed(parts.serverless.requests, who.user_id, parts.now(), TOO_OFTEN)  # before the body, which may be large
    async with large_json(request, who, limit) as holder:
        wish = wish_of(holder[0], who.endpoint, lambda url: wrong_with_webhook(url, parts.notifications.rules))
        if isinstance(wish, Invalid):
            raise Refused(Problem.INVALID, details=[to_plain(line) for line in wish.details])
        holder.clear()
        made = await _request(who, job_id, wish)
    command = _command(who, job_id, wish, made)
    try:
        return await sent(parts, command, append_by=command.append_by)
    except Refused as refused:
        # Under a key of the client's the same input may belong to a job that was taken; what is set aside may yet be.
        may_run = idempotency_key is not None or refused.problem is Problem.DAMAGED
        if not may_run and made.input_key is not None:
            with suppress(Unavailable):
                await parts.objects.main.delete([made.input_key])
        raise


def _command(who: Asked, job_id: str, wish: Wish, made: GenerationRequest) -> SubmitJob:
    endpoint = who.endpoint
    return SubmitJob(
        command_id=str(uuid4()),
        user_id=who.user_id,
        job_id=job_id,
        pool=endpoint.pool,
        request=made,
        request_hash=wish.digest,
        append_by=who.parts.append_by(),
        priority=wish.priority,
        ttl_ms=wish.ttl_ms,
        execution_timeout_ms=wish.execution_timeout_ms,
        max_retries=endpoint.max_retries,
        origin="runpod",
        webhook=wish.webhook,
        endpoint=endpoint.endpoint_id,
        external=wish.request is None,
        limits=endpoint.limits,
    )


async def _request(who: Asked, job_id: str, wish: Wish) -> GenerationRequest:
    """What is asked for, with the input that a worker reads in it or in the object store. Raises ``Unavailable``."""
    text = wish.text
    if text is None:
        if wish.request is None:
            raise AssertionError("an external worker is always given a text")
        return wish.request
    if wish.request is None and not wish.is_secret and len(text) <= INLINE_BYTES:
        return external_request(text=text.decode())
    key = await store_input(who.parts.objects, who.user_id, job_id, text)
    return external_request(key=key) if wish.request is None else replace(wish.request, input_key=key)


async def _state(who: Asked, job_id: str) -> State:
    """Where the job of a key stands that may have been used before. Raises ``Refused``."""
    job = await newest(who, job_id)
    if job is None:
        return State.QUEUED
    _check(job)
    return job.state


def _check(job: Job) -> None:
    """Raises ``Refused`` for a job that there is not (any more)."""
    if job.refusal is not None and job.state is State.REJECTED:
        raise refused(job.refusal.code, job.refusal.remaining, job.endpoint if job.limits is not None else None)
    if job.state in HIDDEN:
        raise Refused(Problem.KEY_OF_DELETED)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not is_idempotency_key(key):
        raise Refused(Problem.BAD_KEY)
    return key
