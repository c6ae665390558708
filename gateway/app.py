"""The Starlette application: routes, refusals, and the tasks that live as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from gateway.damaged import tell
from gateway.errors import Problem, Refused
from gateway.http import (
    clerk,
    files,
    generation,
    health,
    page,
    runpod_webhook,
    spec,
    terms,
    tickets,
    usage,
    videos,
    vouchers,
    webhooks,
)
from gateway.live import sse
from gateway.live.handshake import socket_endpoint
from gateway.live.sockets import Sockets
from gateway.metrics import GatewayMetrics
from gateway.middleware import Envelope
from gateway.openai import models as openai_models
from gateway.openai import unsupported as openai_unsupported
from gateway.openai import videos as openai_videos
from gateway.parts import Parts, build
from gateway.refusals import refusal_at
from gateway.runpod import routes as runpod_client
from gateway.settings import GatewaySettings
from gateway.workers import routes as worker_protocol
from repo.clock import now_ms
from repo.core.documents import DamagedDocumentError
from repo.database import Database
from repo.ports import EventLog, Unavailable
from repo.stores import ObjectStores
from schemas.api.live import CloseCode

logger = structlog.get_logger()


def create_app(
    log: EventLog,
    database: Database,
    objects: ObjectStores,
    settings: GatewaySettings,
    now: Callable[[], int] = now_ms,
    metrics: GatewayMetrics | None = None,
) -> Starlette:
    """The gateway over these three ports. It serves at once; what it misses it names and waits for."""
    parts = build(log, database, objects, settings, now, metrics)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(parts.probes.run()), asyncio.create_task(parts.feed.run())]
        tasks.append(asyncio.create_task(parts.workers.room.run()))
        tasks.append(asyncio.create_task(parts.metrics.beat.run()))
        if parts.clerk is not None:
            tasks.append(asyncio.create_task(parts.clerk.keys.run()))
        try:
            yield
        finally:
            await leave(app)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = Starlette(
        routes=[
            *runpod_webhook.ROUTES,
            *generation.ROUTES,
            *videos.ROUTES,
            *usage.ROUTES,
            *terms.ROUTES,
            *vouchers.ROUTES,
            *tickets.ROUTES,
            *clerk.ROUTES,
            *webhooks.ROUTES,
            *files.ROUTES,
            *health.ROUTES,
            *page.ROUTES,
            *spec.ROUTES,
            *sse.ROUTES,
            *openai_models.ROUTES,
            *openai_unsupported.ROUTES,
            *openai_videos.ROUTES,
            *worker_protocol.ROUTES,
            *runpod_client.ROUTES,
            WebSocketRoute("/ws", socket_endpoint),
        ],
        middleware=_middleware(settings, parts.metrics),
        exception_handlers=dict.fromkeys((Refused, Unavailable, DamagedDocumentError, HTTPException), _say),
        lifespan=lifespan,
    )
    # Another address is another thing: a redirect would be built of the client's Host and lead a key astray.
    app.router.redirect_slashes = False
    app.state.parts = parts
    app.state.sockets = Sockets(parts)
    return app


def _middleware(settings: GatewaySettings, metrics: GatewayMetrics) -> list[Middleware]:
    around = [Middleware(Envelope, https=settings.origin.startswith("https:"), metrics=metrics.requests)]
    if settings.allowed_origins:
        around.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                # An operator names whole origins, never a pattern: those pages may act with the visitor's cookie.
                allow_credentials=True,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"],
                expose_headers=["Link", "Location", "Retry-After", "X-Request-Id"],
            )
        )
    return around


async def leave(app: Starlette) -> None:
    """Before the listener closes: nobody waits for a decision any more, every socket is told to come back."""
    parts: Parts = app.state.parts
    sockets: Sockets = app.state.sockets
    parts.decisions.leave()
    parts.serverless.endings.leave()
    with suppress(Exception):
        await sockets.close_all(CloseCode.RESTARTING)
    with suppress(Exception):
        await parts.workers.room.leave()


async def _say(request: Request, error: Exception) -> Response:
    """The response for what a handler raised."""
    path = request.scope["path"]
    match error:
        case Refused():
            return refusal_at(path, error)
        case Unavailable():
            logger.warning("request_unavailable", server=error.server, reason=error.reason)
            return refusal_at(path, Refused(Problem.UNAVAILABLE, missing=[error.server]))
        case DamagedDocumentError():
            tell(error)
            return refusal_at(path, Refused(Problem.DAMAGED))
        case HTTPException():
            problem = {404: Problem.NO_ROUTE, 405: Problem.NO_METHOD}.get(error.status_code, Problem.BAD_BODY)
            response = refusal_at(path, Refused(problem))
            response.headers.update(error.headers or {})
            return response
        case _:
            raise error
