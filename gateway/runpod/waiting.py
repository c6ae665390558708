"""Requests that are answered when their job has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.types import Receive

from gateway.errors import Problem, Refused
from gateway.runpod.asked import Asked, newest
from gateway.runpod.endings import Waiter
from schemas.api.runpod import WAIT_DEFAULT_MS, WAIT_MS
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE


def wait_ms(request: Request) -> int:
    """``?wait=``, in RunPod's range. Raises ``Refused``."""
    text = request.query_params.get("wait")
    if text is None:
        return WAIT_DEFAULT_MS
    if text.isascii() and text.isdecimal() and len(text) <= 9 and WAIT_MS[0] <= int(text) <= WAIT_MS[1]:
        return int(text)
    raise Refused(Problem.BAD_QUERY, words=f"Invalid wait: a whole number of ms from {WAIT_MS[0]} to {WAIT_MS[1]}.")


@asynccontextmanager
async def presence(receive: Receive) -> AsyncIterator["asyncio.Future[None]"]:
    """Done when the client has gone."""
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.sleep(0)  # its turn: the client may have gone already
        yield gone
    finally:
        gone.cancel()
        await asyncio.wait([gone])  # not for its own sake, which would swallow a cancelling of ours


async def ended(who: Asked, job_id: str, waiter: Waiter, gone: "asyncio.Future[None]", wait: int) -> Job | None:
    """The job once it has ended; or as it is when the time is over, the client has gone or the process stops.

    None: nothing is known of it (yet). Raises ``Unavailable``.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + wait / 1000
    while True:
        job = await newest(who, job_id)
        left = until - clock()
        over = left <= 0 or gone.done() or who.parts.serverless.endings.leaving
        if over or (job is not None and job.state not in ACTIVE):
            return job
        await waiter.wait(left, gone)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
