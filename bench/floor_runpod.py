"""The baseline of RunPod's protocol: Starlette, jobs in a dictionary, one process; nothing checked, nothing kept.

The same paths as ours, so that the same clients and the same SDK workers can come.
"""

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.driver import Answer, serve

BACKLOG = 1024
POLL_S = 80.0  # an SDK worker gives up after 90
NOTHING = Response(status_code=204)


class Jobs:
    """By id, and the ids of those that wait; the polls that wait for them."""

    def __init__(self) -> None:
        self.by_id: dict[str, dict[str, Any]] = {}
        self.ended: Counter[str] = Counter()
        self._queue: deque[str] = deque()
        self._polls: deque[asyncio.Future[None]] = deque()

    def submit(self, given: Any) -> dict[str, Any]:
        job = {"id": str(uuid4()), "input": given, "status": "IN_QUEUE"}
        self.by_id[job["id"]] = job
        self._queue.append(job["id"])
        while self._polls:
            poll = self._polls.popleft()
            if not poll.done():
                poll.set_result(None)
                break
        return job

    async def take(self, at_most: int) -> list[dict[str, Any]]:
        """Those that wait; else the first that comes, or none within ``POLL_S``."""
        try:
            async with asyncio.timeout(POLL_S):
                while not self._queue:
                    self._polls.append(poll := asyncio.get_running_loop().create_future())
                    await poll
        except TimeoutError:
            return []
        taken = [self.by_id[self._queue.popleft()] for _ in range(min(at_most, len(self._queue)))]
        for job in taken:
            job["status"] = "IN_PROGRESS"
        return taken

    def end(self, job_id: str, word: dict[str, Any]) -> None:
        status = "FAILED" if "error" in word else "COMPLETED"
        self.by_id[job_id] |= {**word, "status": status}
        self.ended[status.lower()] += 1


def app(jobs: Jobs) -> Starlette:
    """``/v2/{endpoint}/…``, whatever the endpoint is called."""

    async def run(request: Request) -> Response:
        job = jobs.submit(orjson.loads(await request.body())["input"])
        return _json({"id": job["id"], "status": job["status"]})

    async def status(request: Request) -> Response:
        job = jobs.by_id[request.path_params["job"]]
        return _json({name: job[name] for name in ("id", "status", "output", "error") if name in job})

    async def health(_: Request) -> Response:
        return _json({"jobs": {"completed": jobs.ended["completed"], "failed": jobs.ended["failed"]}})

    async def take(_: Request) -> Response:
        taken = await jobs.take(1)
        return _json(_handed(taken[0])) if taken else NOTHING

    async def take_batch(request: Request) -> Response:
        taken = await jobs.take(int(request.query_params["batch_size"]))
        return _json([_handed(job) for job in taken]) if taken else NOTHING

    async def done(request: Request) -> Response:
        jobs.end(request.path_params["job"], orjson.loads(await request.body()))
        return _json({})

    async def ping(_: Request) -> Response:
        return _json({})

    async def stop(_: Request) -> Response:
        await asyncio.sleep(POLL_S)
        return NOTHING

    at = "/v2/{endpoint}"
    return Starlette(
        routes=[
            Route(f"{at}/run", run, methods=["POST"]),
            Route(f"{at}/status/{{job}}", status),
            Route(f"{at}/health", health),
            Route(f"{at}/job-take/{{pod}}", take),
            Route(f"{at}/job-take-batch/{{pod}}", take_batch),
            Route(f"{at}/job-done/{{pod}}/{{job}}", done, methods=["POST"]),
            Route(f"{at}/ping/{{pod}}", ping),
            Route(f"{at}/job-stop/{{pod}}", stop),
        ]
    )


def _handed(job: dict[str, Any]) -> dict[str, Any]:
    return {"id": job["id"], "input": job["input"]}


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Asked anything: where it listens."""
    # With its protocol named, asyncio turns Nagle's algorithm off, as the gateway's listener has it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # polls that are open when it ends are no news
    config = uvicorn.Config(app(Jobs()), access_log=False, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))

    async def answer() -> dict[str, Any]:
        return {"port": listener.getsockname()[1]}

    try:
        yield answer
    finally:
        server.should_exit = True
        await serving


if __name__ == "__main__":
    serve(answering)
