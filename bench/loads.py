"""A load: so many clients, each with one request under way, until a count is reached; and how long each took."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

WITHIN_S = 120.0


async def closed_loop(clients: int, count: int, request: Callable[[int, int], Awaitable[None]]) -> dict[str, Any]:
    """``request(client, number)`` for every number below ``count``; ``{"seconds", "ms": [one each]}``."""
    numbers = iter(range(count))
    took: list[float] = []

    async def client(which: int) -> None:
        for number in numbers:
            began = time.perf_counter()
            await request(which, number)
            took.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    try:
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            for which in range(clients):
                group.create_task(client(which))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {"seconds": time.perf_counter() - began, "ms": [round(one, 3) for one in took]}
