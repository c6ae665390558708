"""The clients of ``request_path.py``: each has one connection to the gateway and posts one submission after another.

Plain streams instead of an HTTP library, whose own work would count as the gateway's.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.driver import Answer, Failed, serve
from bench.loads import closed_loop

BODY = {"prompt": "a corgi surfing at sunset, cinematic light", "num_frames": 31, "steps": 40}


def request(method: str, path: str, authorization: str, body: bytes = b"") -> bytes:
    """The bytes of a request, which keeps its connection open."""
    carries = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n{carries}\r\n"
    return head.encode() + body


class Connection:
    """HTTP/1.1, kept alive; answers carry their length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, key: str, body: bytes) -> int:
        """The status of the answer, which is read to its end."""
        status, _ = await self.ask("POST", path, key, body)
        return status

    async def ask(self, method: str, path: str, key: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._writer.write(request(method, path, f"Bearer {key}", body))
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return int(lines[0].split()[1]), await self._reader.readexactly(length)


@asynccontextmanager
async def connected(port: int, clients: int) -> AsyncIterator[list[Connection]]:
    """A connection for each client, for one load: a server closes those that are idle for seconds."""
    open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    try:
        yield [Connection(reader, writer) for reader, writer in open_ones]
    finally:
        for _, writer in open_ones:
            writer.close()


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """For the gateway at ``BENCH_PORT``."""
    port = int(os.environ["BENCH_PORT"])

    async def answer(clients: int, keys: list[str]) -> dict[str, Any]:
        """One submission with each key."""
        async with connected(port, clients) as connections:

            async def submit(client: int, number: int) -> None:
                body = json.dumps(BODY | {"seed": number}).encode()
                status = await connections[client].post("/api/runpod", keys[number], body)
                if status != 200:
                    raise Failed(f"a submission was answered with {status}")

            return await closed_loop(clients, len(keys), submit)

    yield answer


if __name__ == "__main__":
    serve(answering)
