"""``/healthz``: the process answers. ``/readyz``: it can do its work, or which server it misses."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.parts import Parts, parts_of

# Without S3 requests are still taken and videos still made; only their files can't be followed.
NEEDED = frozenset({"kafka", "mongodb"})


def missing(parts: Parts) -> list[str]:
    """What keeps this gateway from being ready: servers, or ``events`` while it reads what it missed."""
    servers = [server for server in parts.probes.missing() if server in NEEDED]
    return servers if servers or parts.feed.caught_up else ["events"]


async def healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 or 503 with ``missing``; ``degraded`` names what is away but not needed."""
    parts = parts_of(request)
    lacks = missing(parts)
    degraded = [server for server in parts.probes.missing() if server not in NEEDED]
    body = {"ready": not lacks, "missing": lacks, "degraded": degraded}
    headers = {"Retry-After": "2"} if lacks else {}
    return JSONResponse(body, status_code=503 if lacks else 200, headers=headers)


ROUTES = [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
