"""The baseline of ``fan_out.py``: ``websockets`` with its own ``broadcast`` of the same bytes, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_sockets

from bench.driver import Answer, serve

BACKLOG = 1024


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """``do="port"``: where it listens; ``do="send"``: the text to everybody, so many times, and when that began."""
    sockets: set[ServerConnection] = set()

    async def live(connection: ServerConnection) -> None:
        """It greets as a gateway does, so that the same clients can come."""
        await connection.recv()
        await connection.send('{"type":"welcome"}')
        await connection.recv()
        await connection.send('{"type":"snapshot"}')
        sockets.add(connection)
        await connection.wait_closed()
        sockets.discard(connection)

    async with serve_sockets(live, "127.0.0.1", 0, compression=None, backlog=BACKLOG) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        async def answer(do: str, text: str = "", times: int = 1) -> dict[str, Any]:
            began = time.perf_counter()
            if do == "send":
                for _ in range(times):
                    broadcast(sockets, text)
                    await asyncio.sleep(0)
            return {"port": port, "sockets": len(sockets), "began": began}

        yield answer


if __name__ == "__main__":
    serve(answering)
