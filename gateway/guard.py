"""What stands before every protected route: who the caller is, what the credential is for, the terms of use."""

from starlette.requests import Request

from gateway.errors import Problem, Refused
from gateway.parts import parts_of
from gateway.principal import Principal
from schemas.access import Scope
from schemas.accounts import Role


async def caller(request: Request, scope: Scope = Scope.READ) -> Principal:
    """The caller of a protected route. Raises ``Refused``: 401, or 403 where the credential is not for this."""
    principal = await parts_of(request).auth.of_request(request)
    if not principal.may(scope):
        raise Refused(Problem.SCOPE, scope=scope.value)
    return principal


async def maker(request: Request) -> Principal:
    """The caller of a route that makes videos. Raises ``Refused`` as ``caller``, and 403 for a restricted account."""
    principal = await caller(request, Scope.WRITE)
    if principal.role is Role.RESTRICTED:
        raise Refused(Problem.RESTRICTED)
    return principal
