"""The clients of ``runpod_requests.py`` and ``sdk_workers.py``: ``/run``, ``/status`` and ``/health`` of either server.

One process for both, over plain streams, so that what the clients cost is the same for both.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.driver import Answer, Failed, serve
from bench.loads import closed_loop
from bench.request_load import Connection, connected

BODY = json.dumps({"input": {"prompt": "a corgi surfing at sunset, cinematic light", "steps": 40}}).encode()
LOOK_S = 0.05
WITHIN_S = 120.0


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Driven: ``do`` is ``run``, ``status`` or ``work``; ``at`` is the base address without its host."""

    async def answer(
        do: str, port: int, at: str, clients: int, keys: list[str], ids: list[str] | None = None
    ) -> dict[str, Any]:
        if do == "status":
            return await _statuses(port, at, clients, keys, ids or [])
        if do == "run":
            return await _runs(port, at, clients, keys)
        return await _work(port, at, clients, keys)

    yield answer


async def _runs(port: int, at: str, clients: int, keys: list[str]) -> dict[str, Any]:
    """One submission with each key; ``ids`` are in the order of the keys."""
    ids: dict[int, str] = {}
    async with connected(port, clients) as connections:

        async def submit(client: int, number: int) -> None:
            ids[number] = (await _asked(connections[client], "POST", f"{at}/run", keys[number], BODY))["id"]

        took = await closed_loop(clients, len(keys), submit)
    return took | {"ids": [ids[number] for number in range(len(keys))]}


async def _statuses(port: int, at: str, clients: int, keys: list[str], ids: list[str]) -> dict[str, Any]:
    """Each job asked for once, with the key of whose it is."""
    async with connected(port, clients) as connections:

        async def look(client: int, number: int) -> None:
            told = await _asked(connections[client], "GET", f"{at}/status/{ids[number]}", keys[number])
            if (told["id"], told["status"]) != (ids[number], "IN_QUEUE"):
                raise Failed(f"a job that waits is told of as {told['status']}")

        return await closed_loop(clients, len(ids), look)


async def _work(port: int, at: str, clients: int, keys: list[str]) -> dict[str, Any]:
    """A job with each key; seconds from the first submission to the last one's end."""
    async with connected(port, 1) as (connection,):
        wanted = await _completed(connection, at, keys[0]) + len(keys)
    began = time.perf_counter()
    await _runs(port, at, clients, keys)
    async with asyncio.timeout(WITHIN_S), connected(port, 1) as (connection,):
        while await _completed(connection, at, keys[0]) < wanted:  # noqa: ASYNC110 -- another process's doing
            await asyncio.sleep(LOOK_S)
    return {"seconds": time.perf_counter() - began}


async def _completed(connection: Connection, at: str, key: str) -> int:
    jobs = (await _asked(connection, "GET", f"{at}/health", key))["jobs"]
    if jobs["failed"]:
        raise Failed(f"{jobs['failed']} jobs have failed")
    return int(jobs["completed"])


async def _asked(connection: Connection, method: str, path: str, key: str, body: bytes = b"") -> Any:
    status, said = await connection.ask(method, path, key, body)
    if status != 200:
        raise Failed(f"{method} {path} was answered with {status}: {said[:200].decode(errors='replace')}")
    return json.loads(said)


if __name__ == "__main__":
    serve(answering)
