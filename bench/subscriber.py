"""One live socket that waits for events, on websockets' client."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect


class Subscriber:
    """Authenticated and subscribed."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def event(self) -> str:
        """The next job event, as it came; pings are answered on the way."""
        while True:
            frame = str(await self._socket.recv())
            if frame.startswith('{"type":"event"'):
                return frame
            if frame.startswith('{"type":"ping"'):
                await self._socket.send('{"type":"pong"}')

    async def until(self, kind: str) -> None:
        """Read on until a frame of this type."""
        while json.loads(await self._socket.recv())["type"] != kind:
            pass


@asynccontextmanager
async def subscribed(url: str, key: str) -> AsyncIterator[Subscriber]:
    """Connected, and its snapshot received: what is announced from now on arrives."""
    async with connect(url, proxy=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "auth", "token": key}))
        await socket.send(json.dumps({"type": "subscribe"}))
        subscriber = Subscriber(socket)
        await subscriber.until("snapshot")
        yield subscriber
