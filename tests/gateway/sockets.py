"""A gateway on a real port, and clients of its socket and its event stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
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
    address: str, key: str | None = None, *, subscribe: dict[str, Any] | None = None, query: str = "", **how: Any
) -> AsyncIterator[Client]:
    """A socket, authenticated if a key is given, subscribed if asked; welcome is read, the answer is not."""
    async with connect(f"ws://{address}/ws{query}", proxy=None, **how) as connection:
        client = Client(connection)
        if key is not None:
            await client.send(type="auth", token=key)
            assert (await client.receive())["type"] == "welcome"
        if subscribe is not None:
            await client.send(type="subscribe", **subscribe)
        yield client


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream."""

    name: str
    identity: str | None
    data: dict[str, Any]


class EventClient:
    """One event stream, read as browsers read them."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.last_id: str | None = None
        self.retry: int | None = None

    async def receive(self) -> ServerEvent | None:
        """The next event; None at the end."""
        name, data, identity = "message", "", None
        async with asyncio.timeout(DEADLINE_S):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                match field:
                    case "event":
                        name = value
                    case "data":
                        data += value
                    case "id":
                        identity = self.last_id = value
                    case "retry":
                        self.retry = int(value)
                    case "" if data:
                        return ServerEvent(name, identity, json.loads(data))
        return None

    async def until(self, *names: str) -> list[ServerEvent]:
        """Events up to and with the first of these names, pings left out."""
        events: list[ServerEvent] = []
        while not events or events[-1].name not in names:
            event = await self.receive()
            assert event is not None, f"the stream ended after {[one.name for one in events]}"
            if event.name != "ping" or "ping" in names:
                events.append(event)
        return events

    async def closed(self) -> dict[str, Any]:
        """What the last event says, which must be a ``close``."""
        last = None
        while (event := await self.receive()) is not None:
            last = event
        assert last is not None
        assert last.name == "close"
        return last.data


@asynccontextmanager
async def stream(
    address: str, key: str | None = None, *, headers: dict[str, str] | None = None, **query: str
) -> AsyncIterator[EventClient]:
    """An event stream; whatever its status."""
    given = ({"Authorization": f"Bearer {key}"} if key else {}) | (headers or {})
    limits = httpx.Timeout(DEADLINE_S)
    async with (
        httpx.AsyncClient(base_url=f"http://{address}", headers=given, timeout=limits, trust_env=False) as http,
        http.stream("GET", "/api/live/events", params=query) as response,
    ):
        yield EventClient(response)
