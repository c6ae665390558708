"""``GET /api/usage``: what the caller has left, asked of the ledger, which alone knows the rules.

Nothing is remembered here: an answer is true when it is given, and whoever has just made a video asks again at once.
Each question and its answer are records that Kafka keeps for weeks, so a user has few in a time; an allowance of their
own, so that many open pages never use up what submissions are allowed.
"""

from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.decisions import NotRecorded
from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.identity.guard import caller
from gateway.parts import parts_of
from schemas.api.usage import usage_of
from schemas.commands import AskUsage
from schemas.events import Outcome
from schemas.shape import to_plain


async def usage(request: Request) -> Response:
    """200 with ``schemas.api.usage.Usage``; 429 in floods; 503 where the ledger's answer does not come in time."""
    parts = parts_of(request)
    principal = await caller(request)
    shed(parts.questions, principal.user_id, parts.now())
    try:
        answer = await parts.decisions.ask(AskUsage(command_id=str(uuid4()), user_id=principal.user_id))
    except NotRecorded:
        raise Refused(Problem.UNAVAILABLE, missing=["kafka"]) from None
    if answer is not None and answer.outcome is Outcome.SET_ASIDE:
        raise Refused(Problem.DAMAGED)
    if answer is None or answer.remaining is None:
        raise Refused(Problem.UNAVAILABLE)
    return JSONResponse(to_plain(usage_of(answer.remaining)))


ROUTES = [Route("/api/usage", usage, methods=["GET"])]
