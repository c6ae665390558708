"""``POST /api/live/ticket``: a secret that opens one socket or event stream, for clients that can't send a header."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.http.answers import shed
from gateway.identity.guard import caller
from gateway.parts import parts_of
from schemas.api.access import Ticket
from schemas.shape import to_plain


async def make(request: Request) -> Response:
    """200 with ``Ticket``, good once and for seconds; 429 in floods."""
    parts = parts_of(request)
    principal = await caller(request)
    shed(parts.tickets, principal.user_id, parts.now())
    ticket = await parts.auth.new_ticket(principal)
    told = Ticket(ticket=ticket, expires_in_seconds=parts.settings.ticket_seconds)
    return JSONResponse(to_plain(told), headers={"Cache-Control": "no-store"})


ROUTES = [Route("/api/live/ticket", make, methods=["POST"])]
