"""The baseline of ``fan_out.py``: Starlette and uvicorn, a set of sockets, and the same bytes to each of them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.driver import Answer, serve

BACKLOG = 1024


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """``do="port"``: where it listens; ``do="send"``: the text to everybody."""
    sockets: set[WebSocket] = set()

    async def live(websocket: WebSocket) -> None:
        """It greets as a gateway does, so that the same clients can come."""
        await websocket.accept()
        try:
            await websocket.receive_text()
            await websocket.send_text('{"type":"welcome"}')
            await websocket.receive_text()
            await websocket.send_text('{"type":"snapshot"}')
            sockets.add(websocket)
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            sockets.discard(websocket)

    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/ws", live)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))

    async def answer(do: str, text: str = "") -> dict[str, Any]:
        if do == "send":
            for one in list(sockets):
                await one.send_text('{"type":"event","data":' + text + "}")
        return {"port": listener.getsockname()[1], "sockets": len(sockets)}

    try:
        yield answer
    finally:
        server.should_exit = True
        await serving


if __name__ == "__main__":
    serve(answering)
