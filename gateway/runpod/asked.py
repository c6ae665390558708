"""Which job of which endpoint a request is about, if its caller may see it."""

import re
from dataclasses import dataclass

from starlette.requests import Request

from gateway.errors import Problem, Refused
from gateway.identity.guard import caller, maker
from gateway.identity.principal import Principal
from gateway.parts import Parts, parts_of
from schemas.access import Scope
from schemas.endpoints import ServerlessEndpoint
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from schemas.shape import from_json

HIDDEN = frozenset({State.DELETED, State.REJECTED})
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and of which endpoint."""

    parts: Parts
    principal: Principal
    endpoint: ServerlessEndpoint

    @property
    def user_id(self) -> str:
        return self.principal.user_id


async def asked(request: Request, scope: Scope = Scope.READ) -> Asked:
    """The caller of a route of an endpoint. Raises ``Refused``; an endpoint that is not for the caller is none."""
    return await _at_endpoint(request, await caller(request, scope, nobody=Problem.NO_KEY))


async def asked_by_maker(request: Request) -> Asked:
    """As ``asked``, of a route that starts jobs."""
    return await _at_endpoint(request, await maker(request, nobody=Problem.NO_KEY))


async def _at_endpoint(request: Request, principal: Principal) -> Asked:
    parts = parts_of(request)
    endpoint = await parts.serverless.endpoints.usable(request.path_params["endpoint_id"], principal.user_id)
    return Asked(parts, principal, endpoint)


async def own_job(who: Asked, job_id: str, *, from_store: bool = False) -> Job:
    """The caller's job on this endpoint, for as long as its result is kept. Raises ``Refused``.

    ``from_store``: where the feed's being a moment late would be a wrong answer.
    """
    job = await newest(who, job_id, from_store=from_store)
    if job is None or job.state in HIDDEN:
        raise Refused(Problem.NO_JOB)
    ended_at = job.finished_at if job.state not in ACTIVE else None
    if ended_at is not None and who.parts.now() > ended_at + who.endpoint.result_ms:
        raise Refused(Problem.RESULT_GONE)
    return job


async def newest(who: Asked, job_id: str, *, from_store: bool = False) -> Job | None:
    """The caller's job on this endpoint, whatever has become of it: as the feed has it, which spares MongoDB a read,
    or as the store has it. Raises ``Unavailable``."""
    if not _JOB_ID.fullmatch(job_id):
        return None
    job = None if from_store else _heard(who, job_id)
    if job is None:
        job = await who.parts.store.job(job_id)
    if job is None or (job.user_id, job.endpoint) != (who.user_id, who.endpoint.endpoint_id):
        return None
    return job


def _heard(who: Asked, job_id: str) -> Job | None:
    feed = who.parts.feed
    if not feed.caught_up:
        return None
    heard = feed.window.newest(who.user_id, feed.partition_of(who.user_id), job_id)
    return None if heard is None else from_json(Job, heard.value)
