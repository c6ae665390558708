"""The WebSocket ``/ws``: the handshake. What follows is a ``Watch`` on a wire."""

from contextlib import suppress
from typing import cast

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.errors import Refused, answer
from gateway.live.asgi_wire import PlainWire
from gateway.live.sockets import Sockets
from gateway.live.watch import Watch
from gateway.live.wire import EXTENSION, UvicornWire

FULL = {"error": "Too many sockets; try again."}
RETRY_S = "2"


async def socket_endpoint(websocket: WebSocket) -> None:
    """Starlette's endpoint. It returns after the handshake where the wire needs no task of ours."""
    sockets: Sockets = websocket.app.state.sockets
    if sockets.full:
        await websocket.send_denial_response(JSONResponse(FULL, 503, {"Retry-After": RETRY_S}))
        return
    try:
        place = sockets.knock(websocket)
    except Refused as refused:
        await websocket.send_denial_response(answer(refused))
        return
    with suppress(WebSocketDisconnect):
        await websocket.accept()
        await _follow(sockets, websocket, place)


async def _follow(sockets: Sockets, websocket: WebSocket, place: str) -> None:
    direct = cast("UvicornWire | None", websocket.scope["extensions"].get(EXTENSION))
    wire = direct or PlainWire(websocket)
    watch = Watch(sockets, wire, place, websocket)
    sockets.join(watch)
    ticket = websocket.query_params.get("ticket")
    if ticket is not None:
        watch.come_in_by_ticket(ticket)
    if isinstance(wire, PlainWire):
        await wire.run(watch)
    else:
        wire.attach(watch)
