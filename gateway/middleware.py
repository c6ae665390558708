"""Around every HTTP request: an id, one log line without anything of the client's, safe headers, no stack traces.

A log line names the route's template, never the path: whatever a client puts into an address (a code, a key that went
astray) is not written down. Job ids are, for they are what people ask about.
"""

import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Problem, Refused
from gateway.metrics import GatewayMetrics
from gateway.refusals import refusal_at
from gateway.tracing import traced
from schemas.api.openai import job_id_in
from schemas.ids import is_job_id

_ID = re.compile(rb"^[A-Za-z0-9._-]{8,64}$")
QUIET = frozenset({"/healthz", "/readyz"})
# What an answer carries unless its handler says otherwise: nothing of it is a document, a frame or another site's.
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
)
# Not for subdomains, which may be somebody else's.
HSTS = "max-age=31536000"
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
logger = structlog.get_logger()


class Envelope:
    """ASGI middleware, outermost. A client's ``X-Request-Id`` is kept if it is a plain word of 8-64 characters.

    ``https``: browsers reach this gateway over TLS, and shall do so from then on.
    """

    def __init__(self, app: ASGIApp, https: bool = False, metrics: GatewayMetrics | None = None) -> None:
        self._app = app
        self._metrics = metrics or GatewayMetrics()
        self._headers = {**HEADERS, "Strict-Transport-Security": HSTS} if https else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers_in = dict(scope["headers"])
        given = headers_in.get(b"x-request-id", b"")
        request_id = given.decode() if _ID.fullmatch(given) else uuid4().hex
        started = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send_with_headers)
            return
        traceparent = headers_in.get(b"traceparent", b"").decode("latin-1")
        self._metrics.began()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            traced(_method(scope), request_id, traceparent) as trace,
        ):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:  # the last door: whatever escaped is a defect; it is logged here and nowhere shown
                logger.exception("request_failed", method=_method(scope), **_where(scope))
                if status:
                    raise
                refusal = refusal_at(scope["path"], Refused(Problem.INTERNAL, requestId=request_id))
                await refusal(scope, receive, send_with_headers)
            finally:
                template = getattr(scope.get("route"), "path", None)
                self._metrics.ended(template, _method(scope), status, time.monotonic() - started)
                if trace is not None and scope["path"] not in QUIET:
                    trace.end(status, _where(scope).get("path"))
                if scope["path"] not in QUIET:
                    took = round((time.monotonic() - started) * 1000, 1)
                    logger.info("request", method=_method(scope), status=status, ms=took, **_where(scope))
                structlog.contextvars.unbind_contextvars("user_id")  # of ``identity/guard.py``


def _where(scope: Scope) -> dict[str, str]:
    """Which route it was (``path`` is its template; none: nothing is there), and which job."""
    found = {"path": route.path} if (route := scope.get("route")) is not None else {}
    params = scope.get("path_params", {})
    job_id = params.get("job_id") or job_id_in(params.get("video_id", "")) or ""
    return found | ({"job_id": job_id} if is_job_id(job_id) else {})


def _method(scope: Scope) -> str:
    """A client may call its method anything."""
    return scope["method"] if scope["method"] in _METHODS else "other"


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
