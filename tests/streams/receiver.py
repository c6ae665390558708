"""A web server of a user: what it is sent is kept, and each path answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

Answer = Callable[["Call"], "Awaitable[web.Response] | web.Response"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Empty where the call is not signed."""
        return self.headers.get("webhook-id", "")

    @property
    def told(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """``answers`` by path; others are 204."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    async def handle(self, request: web.Request) -> web.Response:
        call = Call(
            request.path, {name.lower(): value for name, value in request.headers.items()}, await request.read()
        )
        self.calls.append(call)
        answer = self.answers.get(call.path, lambda _: web.Response(status=204))(call)
        return await answer if isinstance(answer, Awaitable) else answer


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def never(_: Call) -> web.Response:
    """It holds the line and says nothing."""
    await asyncio.Event().wait()
    raise AssertionError
