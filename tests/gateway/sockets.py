"""A gateway on a real port, and clients of its socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.server import Server, listen
from tests.gateway.world import DEADLINE_S, World, until


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[str]:
    """The world's gateway on a free port; its address as ``host:port``. Ends as a signal would end it."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = QuietServer(world.app, world.parts.settings)
    server.config.lifespan = "off"  # the world runs it
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started)
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


class QuietServer(Server):
    """Leaves the test run's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Client:
    """One socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            frame: dict[str, Any] = json.loads(await self.connection.recv())
        return frame

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Frames up to and with the wanted one, pings left out."""
        frames: list[dict[str, Any]] = []
        while not (frames and wanted(frames[-1])):
            frame = await self.receive()
            if frame["type"] != "ping":
                frames.append(frame)
        return frames

    async def closed(self) -> int:
        """The code with which the gateway closed it; frames before that are thrown away."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    await self.connection.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006


@asynccontextmanager
async def socket(
    address: str, key: str | None = None, *, subscribe: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[Client]:
    """A socket, authenticated if a key is given, subscribed if asked; welcome is read, the answer is not."""
    async with connect(f"ws://{address}/ws", proxy=None, **how) as connection:
        client = Client(connection)
        if key is not None:
            await client.send(type="auth", token=key)
            assert (await client.receive())["type"] == "welcome"
        if subscribe is not None:
            await client.send(type="subscribe", **subscribe)
        yield client
