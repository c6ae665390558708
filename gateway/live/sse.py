"""``GET /api/live/events``: the frames of the WebSocket as server-sent events, for clients that only listen.

A browser's ``EventSource`` comes back by itself after the end of a stream and gives up for good on any status but 200.
So what would not help again is refused with a status, and what may help later is said in a stream of one ``close``.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.core.frame import Frame
from gateway.errors import Problem, Refused
from gateway.identity import guard
from gateway.identity.principal import Principal
from gateway.live.asgi_wire import AsgiWire
from gateway.live.entry import why_not
from gateway.live.sockets import Sockets
from gateway.live.watch import Watch
from gateway.live.wire import Listener
from gateway.parts import parts_of
from repo.ports import Unavailable
from schemas.access import Scope as ScopeOfKey
from schemas.api.live import JOB_ID_MAX, POSITION_MAX, CloseCode, Previews, close

RETRY_MS = 2000
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would gather events
}
PREAMBLE = b"retry: %d\n\n" % RETRY_MS
CUT = "cut"  # in the connection's state: what ends it at once
_REFUSALS = {CloseCode.TERMS: Problem.TERMS, CloseCode.ACCOUNT: Problem.BLOCKED}


async def events_endpoint(request: Request) -> Response:
    """The stream. Raises ``Refused``; ``DamagedDocumentError`` for an account or a job that can't be read."""
    sockets: Sockets = request.app.state.sockets
    place = sockets.knock(request)
    asked = _asked(request)
    if (last := _if_full(sockets)) is not None:
        return last
    try:
        principal = await _caller(request)
        if asked[1] is not None:
            await sockets.parts.store.job(asked[1])  # one that can't be read is a status: streams are asked for again
    except Unavailable:
        return Last(CloseCode.NOT_READY)
    if (last := _if_full(sockets)) is not None:  # others came while it was found out who this is
        return last
    if not sockets.has_room_at(place) or not sockets.has_room_for(principal.user_id):
        raise Refused(Problem.SOCKETS)
    if request.method == "HEAD":
        return Response(headers=HEADERS)
    return Stream(sockets, place, principal, asked)


def _if_full(sockets: Sockets) -> Response | None:
    if not sockets.full:
        return None
    return Last(CloseCode.RESTARTING if sockets.leaving else CloseCode.NOT_READY)


def _asked(request: Request) -> tuple[str | None, str | None, Previews]:
    """Position, job and previews. Raises ``Refused``."""
    query = request.query_params
    position = request.headers.get("last-event-id") or query.get("position")
    job_id = query.get("jobId")
    previews = query.get("previews", Previews.JSON.value)
    if job_id is not None and not 0 < len(job_id) <= JOB_ID_MAX:
        raise Refused(Problem.BAD_QUERY, words="jobId must name a video.")
    if position is not None and len(position) > POSITION_MAX:
        raise Refused(Problem.BAD_QUERY, words="position must be one that an event carried.")
    if previews not in {Previews.JSON, Previews.NONE}:
        raise Refused(Problem.BAD_QUERY, words='previews must be "json" or "none".')
    return position, job_id, Previews(previews)


async def _caller(request: Request) -> Principal:
    """By ticket, or as on every other route. Raises ``Refused`` and ``Unavailable``."""
    parts, ticket = parts_of(request), request.query_params.get("ticket")
    if ticket is None:
        principal: Principal | None = await guard.caller(request)
    else:
        principal = await parts.auth.by_ticket(ticket)
    if principal is None:
        raise Refused(Problem.UNAUTHORIZED)
    refusal = await why_not(parts, principal)
    if refusal is CloseCode.SCOPE:
        raise Refused(Problem.SCOPE, scope=ScopeOfKey.READ.value)
    if refusal is not None:
        raise Refused(_REFUSALS[refusal])
    return principal


class EventWire(AsgiWire):
    """Frames as events of an HTTP response."""

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__()
        self._receive = receive
        self._out = send

    def hold(self, held: bool) -> None:
        """Nothing comes from the client."""

    async def begin(self) -> None:
        """The head and the first line."""
        headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        await self._out({"type": "http.response.start", "status": 200, "headers": headers})
        await self._put(PREAMBLE)

    async def _put(self, data: bytes, *, more: bool = True) -> None:
        await self._out({"type": "http.response.body", "body": data, "more_body": more})

    async def _send(self, frames: Sequence[Frame]) -> None:
        await self._put(b"".join([frame.event for frame in frames]))

    async def _end(self, code: int, _: str) -> None:
        await self._put(Frame("close", close(CloseCode(code))).event, more=False)

    async def _listen(self, _: Listener) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Last(Response):
    """A stream of one ``close``."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(PREAMBLE + Frame("close", close(code)).event, headers=HEADERS)


class Stream(Response):
    """One event stream, from its head to its end."""

    def __init__(
        self, sockets: Sockets, place: str, principal: Principal, asked: tuple[str | None, str | None, Previews]
    ) -> None:
        super().__init__()
        self._sockets = sockets
        self._place = place
        self._principal = principal
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = EventWire(receive, send)
        watch = Watch(self._sockets, wire, self._place, None)
        self._sockets.join(watch)
        try:
            await wire.begin()
            watch.begin(self._principal, *self._asked)
            await wire.run(watch)
        finally:
            watch.lost()
            if not wire.is_over:  # what waits for a client that reads nothing is thrown away with the connection
                scope.get("state", {}).get(CUT, _nothing)()
                await asyncio.sleep(0)


def _nothing() -> None:
    """Where the server gave no way to cut a connection."""


def cuttable(protocol: type[Any]) -> type[Any]:
    """This uvicorn protocol for HTTP, with a way to end its connection at once in the ``state`` of its requests."""

    class Cuttable(protocol):  # type: ignore[misc]
        app_state: dict[str, Any]

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.app_state = {**self.app_state, CUT: transport.abort}
            super().connection_made(transport)

    return Cuttable


ROUTES = [Route("/api/live/events", events_endpoint, methods=["GET"])]
