"""``/api/terms``: which version of the terms of use counts, whether the caller has agreed to it, and saying so.

OpenV answers 500 to whom it does not know, because its own error handling swallows the 401; here it is 401. A browser
may say which version it showed (``{"version"}``): a yes to an older one is not taken for a yes to the new one.
"""

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import Problem, Refused
from gateway.http.bodies import read_body
from gateway.identity.guard import caller
from gateway.parts import parts_of
from schemas.access import Scope
from schemas.api.access import TermsStatus, TermsYes
from schemas.api.answers import Success
from schemas.shape import to_plain

BODY_MAX = 4_096


async def check(request: Request) -> Response:
    """200 with ``TermsStatus``; every refusal says ``hasAccepted: false`` too."""
    parts = parts_of(request)
    try:
        principal = await caller(request, nobody=Problem.NO_CALLER, terms=False)
    except Refused as refused:
        raise Refused(refused.problem, **{"hasAccepted": False, **refused.members}) from None
    said = await parts.terms.history(principal.user_id)
    now = next((one for one in said if one.version == parts.terms.version), None)
    status = TermsStatus(
        has_accepted=now is not None,
        required=parts.terms.required,
        version=parts.terms.version,
        accepted_at=now.accepted_at if now else None,
        history=tuple(TermsYes(version=one.version, accepted_at=one.accepted_at) for one in said),
    )
    return JSONResponse(to_plain(status))


async def accept(request: Request) -> Response:
    """200 once it is kept, however often it is said; 409 where the caller was shown another version."""
    parts = parts_of(request)
    principal = await caller(request, Scope.WRITE, nobody=Problem.NO_CALLER, terms=False)
    shown = _shown(await read_body(request, BODY_MAX))
    if shown is not None and shown != parts.terms.version:
        raise Refused(Problem.TERMS_CHANGED, version=parts.terms.version)
    await parts.terms.accept(principal.user_id, parts.now())
    return JSONResponse(to_plain(Success(success=True)))


def _shown(body: bytes) -> str | None:
    """The version that the caller says it was shown; None where it says nothing, as OpenV's page."""
    if not body.strip():
        return None
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(Problem.NOT_JSON) from None
    if not isinstance(told, dict) or not isinstance(told.get("version"), str | None):
        raise Refused(Problem.BAD_BODY)
    version: str | None = told.get("version")
    return version


ROUTES = [
    Route("/api/terms/check", check, methods=["GET"]),
    Route("/api/terms/accept", accept, methods=["POST"]),
]
