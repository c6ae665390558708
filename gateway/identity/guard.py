"""What stands before every protected route: who the caller is, what the credential is for, the terms of use."""

import structlog
from starlette.requests import Request

from gateway.errors import Problem, Refused
from gateway.identity.principal import Principal
from gateway.parts import Parts, parts_of
from schemas.access import Scope
from schemas.accounts import Role
from schemas.endpoints import EndpointKind, ServerlessEndpoint

OF_OURS = "Jobs of this endpoint are run by OpenV's own workers: start one with `openv worker`."


async def caller(
    request: Request, scope: Scope = Scope.READ, *, nobody: Problem = Problem.UNAUTHORIZED, terms: bool = True
) -> Principal:
    """The caller of a protected route. Raises ``Refused``: 401, or 403 where the credential is not for this.

    ``nobody``: how the route words its 401. ``terms`` is false only for the routes where they are read and accepted.
    """
    parts = parts_of(request)
    try:
        principal = await parts.auth.of_request(request)
    except Refused as refused:
        raise Refused(nobody) if refused.problem is Problem.UNAUTHORIZED else refused from None
    structlog.contextvars.bind_contextvars(user_id=principal.user_id)  # until the request is over: ``Envelope``
    if scope not in principal.scopes:
        raise Refused(Problem.SCOPE, scope=scope.value)
    if not principal.may(scope):
        raise Refused(Problem.ADMIN_ONLY)
    if terms and not await terms_accepted(parts, principal):
        raise Refused(Problem.TERMS, version=parts.terms.version)
    return principal


async def maker(request: Request, *, nobody: Problem = Problem.UNAUTHORIZED) -> Principal:
    """The caller of a route that makes videos. Raises ``Refused`` as ``caller``, and 403 for a restricted account."""
    principal = await caller(request, Scope.WRITE, nobody=nobody)
    if principal.role is Role.RESTRICTED:
        standing = await parts_of(request).accounts.standing(principal.user_id)
        raise Refused(Problem.BLOCKED if standing.blocked else Problem.RESTRICTED)
    return principal


async def worker(request: Request, endpoint_id: str) -> ServerlessEndpoint:
    """The endpoint whose jobs a worker of RunPod's protocol asks for. Raises ``Refused``: 401 unless it shows a key of
    workers of that very endpoint, 404 where there is none, or its jobs are for workers of ours.

    A deleted endpoint keeps its workers: the jobs that it still has go on, and somebody must end them.
    """
    parts = parts_of(request)
    if not await parts.auth.is_worker(request, endpoint_id):
        raise Refused(Problem.NO_WORKER_KEY)
    endpoint = await parts.serverless.endpoints.find(endpoint_id)
    if endpoint is None:
        raise Refused(Problem.NO_ENDPOINT)
    if endpoint.kind is not EndpointKind.EXTERNAL:
        raise Refused(Problem.NO_ENDPOINT, words=OF_OURS)
    return endpoint


async def terms_accepted(parts: Parts, principal: Principal) -> bool:
    """Whether the caller may go on, as far as the terms of use are concerned. Raises ``Unavailable``.

    What is not a request (a socket, an event stream) asks for itself.
    """
    return await parts.terms.let_in(principal.user_id)
