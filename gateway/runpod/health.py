"""``/v2/{endpoint}/health``: the jobs of an endpoint, counted, and its workers."""

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.runpod.asked import Asked, asked
from schemas.endpoints import DAY
from schemas.lifecycle import State

COUNT_MS = 1_000


async def health(request: Request) -> Response:
    """200 with the endpoint's jobs by state and its workers."""
    who = await asked(request)
    counts = await _counts(who)
    updates = who.parts.serverless.updates
    pool = updates.pool(who.endpoint.pool, who.parts.now())
    jobs = {
        "completed": counts.get(State.COMPLETED, 0),
        "failed": counts.get(State.FAILED, 0) + counts.get(State.TIMED_OUT, 0),
        "inProgress": counts.get(State.PROCESSING, 0),
        "inQueue": counts.get(State.QUEUED, 0),
        "retried": updates.tried_again(who.endpoint.endpoint_id),
    }
    idle = pool.idle if pool else 0
    workers = {
        "idle": idle,
        "initializing": pool.starting if pool else 0,
        "ready": idle,
        "running": pool.running if pool else 0,
        "throttled": pool.draining if pool else 0,
    }
    return JSONResponse({"jobs": jobs, "workers": workers})


async def _counts(who: Asked) -> Mapping[State, int]:
    """Counted at most once a second, for all who ask. Raises ``Unavailable``."""
    serverless, now, endpoint_id = who.parts.serverless, who.parts.now(), who.endpoint.endpoint_id
    known = serverless.counts.get(endpoint_id)
    if known is not None and now - known[1] < COUNT_MS:
        return known[0]
    counting = serverless.counting.get(endpoint_id)
    if counting is None:
        counting = asyncio.create_task(_count(who, endpoint_id, now), name="health")
        serverless.counting[endpoint_id] = counting
    return await asyncio.shield(counting)


async def _count(who: Asked, endpoint_id: str, now: int) -> Mapping[State, int]:
    serverless = who.parts.serverless
    try:
        counts = await who.parts.store.endpoint_counts(endpoint_id, now - DAY)
        serverless.counts[endpoint_id] = (counts, now)
        return counts
    finally:
        del serverless.counting[endpoint_id]
