"""The clients of ``fan_out.py``: as many sockets as asked for, each subscribed; counts what arrives on all of them."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bench.driver import Answer, serve
from bench.subscriber import Subscriber, subscribed

AT_ONCE = 25


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """``do="open"``: connect; ``do="receive"``: until each socket has so many more events."""
    url, key = f"ws://127.0.0.1:{os.environ['BENCH_PORT']}/ws", os.environ["BENCH_KEY"]
    crowd: list[Subscriber] = []
    async with AsyncExitStack() as stack:

        async def answer(do: str, sockets: int = 0, events: int = 0) -> dict[str, Any]:
            for opened in range(0, sockets, AT_ONCE):
                some = [subscribed(url, key) for _ in range(min(AT_ONCE, sockets - opened))]
                crowd.extend(await asyncio.gather(*(stack.enter_async_context(one) for one in some)))
            for _ in range(events):
                await asyncio.gather(*(one.event() for one in crowd))
            return {"did": do, "sockets": len(crowd)}

        yield answer


if __name__ == "__main__":
    serve(answering)
