"""``/healthz`` and ``/readyz``, the only routes without a key: whether it answers, and what it misses."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from repo.database import Database
from repo.ports import EventLog, Unavailable

ASK_AGAIN_S = 2.0
PATIENCE_S = 3.0


class _Probe:
    """What does not answer, asked at most every two seconds however many want to know."""

    def __init__(self, log: EventLog, database: Database) -> None:
        self._pings = {"kafka": log.ping, "mongodb": database.jobs.ping}
        self._asking: asyncio.Task[list[str]] | None = None
        self._asked_at = float("-inf")

    async def missing(self) -> list[str]:
        """The names of the servers that do not answer."""
        at = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and at - self._asked_at >= ASK_AGAIN_S):
            self._asked_at = at
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def _ask_all(self) -> list[str]:
        answers = await asyncio.gather(*(_answers(ping) for ping in self._pings.values()))
        return [name for name, there in zip(self._pings, answers, strict=True) if not there]


async def _answers(ping: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await ping()
    except (Unavailable, TimeoutError):
        return False
    return True


def health_routes(log: EventLog, database: Database) -> list[Route]:
    """Both routes."""
    probe = _Probe(log, database)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        missing = await probe.missing()
        headers = {"Retry-After": "2"} if missing else {}
        return JSONResponse(
            {"ready": not missing, "missing": missing}, status_code=503 if missing else 200, headers=headers
        )

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
