"""Around every HTTP request: an id, one log line without query or body, safe headers, no stack traces outside."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Problem, Refused, answer

_ID = re.compile(rb"^[A-Za-z0-9._-]{8,64}$")
QUIET = frozenset({"/healthz", "/readyz"})
logger = structlog.get_logger()


class Envelope:
    """ASGI middleware, outermost. A client's ``X-Request-Id`` is kept if it is a plain word of 8-64 characters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _ID.fullmatch(given) else uuid4().hex
        started = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:  # the last door: whatever escaped is a defect; it is logged here and nowhere shown
                logger.exception("request_failed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                refusal = answer(Refused(Problem.INTERNAL, requestId=request_id))
                await refusal(scope, receive, send_with_headers)
            finally:
                if scope["path"] not in QUIET:
                    took = round((time.monotonic() - started) * 1000, 1)
                    logger.info("request", method=scope["method"], path=scope["path"], status=status, ms=took)
