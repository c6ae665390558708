"""A small RunPod: an endpoint whose jobs a test moves by hand, which counts what it is asked and can misbehave.

It has RunPod's paths and answers, calls webhooks as RunPod does (at the end alone), and keeps results on a path of its
own that can be slow, large, moved, or something else than a video.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

KEY = "rp_secret_of_the_tests"
ENDPOINT = "mochi-there"

Odd = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class There:
    """A job as RunPod has it."""

    remote_id: str
    body: dict[str, Any]
    status: str = "IN_QUEUE"
    output: Any = None
    error: Any = None
    looks: int = 0

    def told(self) -> dict[str, Any]:
        told = {"id": self.remote_id, "status": self.status, "delayTime": 5}
        return told | {name: value for name, value in (("output", self.output), ("error", self.error)) if value}


@dataclass
class FakeRunPod:
    """``odd[kind]`` are answers that come first, in order: of ``run``, ``status``, ``cancel`` or ``health``."""

    port: int = 0
    jobs: dict[str, There] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    files: dict[str, Odd] = field(default_factory=dict)
    odd: dict[str, list[Odd]] = field(default_factory=dict)
    posted: list[int] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2"

    def file(self, path: str, answer: Odd) -> str:
        """The address of a result that is answered so."""
        self.files[path] = answer
        return f"http://127.0.0.1:{self.port}/files/{path}"

    def video(self, data: bytes, path: str = "a.mp4") -> str:
        return self.file(path, answering(200, body=data, content_type="video/mp4"))

    def newest(self) -> There:
        return list(self.jobs.values())[-1]

    async def end(self, job: There, status: str = "COMPLETED", *, output: Any = None, error: Any = None) -> None:
        """Move it to its end, and call the webhook."""
        job.status, job.output, job.error = status, output, error
        url = job.body.get("webhook")
        if url:
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, json={**job.told(), "input": job.body["input"], "webhook": url}) as answer,
            ):
                self.posted.append(answer.status)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        kind, _, remote_id = request.match_info["rest"].partition("/")
        self.asked.append(kind)
        assert request.match_info["endpoint"] == ENDPOINT
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if self.odd.get(kind):
            return await self.odd[kind].pop(0)(request)
        if kind == "run":
            return web.json_response({"id": self.accept(await request.json()).remote_id, "status": "IN_QUEUE"})
        if kind == "health":
            return web.json_response({"jobs": {}, "workers": {}})
        job = self.jobs.get(remote_id)
        if job is None:
            return web.json_response({"error": "job not found"}, status=404)
        if kind == "cancel":
            self.cancelled.append(remote_id)
            job.status = "CANCELLED"
        job.looks += 1
        return web.json_response(job.told())

    def accept(self, body: dict[str, Any]) -> There:
        job = There(f"there-{next(self.numbers)}-e1", body)
        self.jobs[job.remote_id] = job
        return job

    async def takes_and_is_lost(self, request: web.Request) -> web.StreamResponse:
        """As an answer of ``run``: the submission has arrived, and nobody is told."""
        self.accept(await request.json())
        return await lost(request)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        return await self.files[request.match_info["path"]](request)


def answering(status: int, *, headers: dict[str, str] | None = None, **content: Any) -> Odd:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, **content)

    return answer


async def lost(request: web.Request) -> web.StreamResponse:
    """The connection breaks before an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def slow(data: bytes, gate: asyncio.Event) -> Odd:
    """Half of it; the rest when the gate is open."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        await gate.wait()
        await response.write(data[len(data) // 2 :])
        return response

    return answer


@asynccontextmanager
async def fake_runpod() -> AsyncIterator[FakeRunPod]:
    fake = FakeRunPod()
    app = web.Application()
    app.router.add_route("*", "/v2/{endpoint}/{rest:.*}", fake.handle)
    app.router.add_get("/files/{path:.*}", fake.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.port = runner.addresses[0][1]
    try:
        yield fake
    finally:
        await runner.cleanup()
