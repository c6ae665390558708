"""Around every HTTP request: an id, one log line without anything of the client's, safe headers, no stack traces.

A log line names the route's template, never the path: whatever a client puts into an address (a code, a key that went
astray) is not written down. Job ids are, for they are what people ask about.
"""

import re
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Problem, Refused
from gateway.refusals import refusal_at
from gateway.request_metrics import RequestMetrics
from gateway.tracing import RequestTrace, traced
from schemas.api.openai import job_id_in
from schemas.ids import is_job_id
from schemas.traces import HEADER as TRACEPARENT

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
RawHeaders = list[tuple[bytes, bytes]]
REQUEST_ID, PARENT = b"x-request-id", TRACEPARENT.encode()
logger = structlog.get_logger()


class Envelope:
    """ASGI middleware, outermost. A client's ``X-Request-Id`` is kept if it is a plain word of 8-64 characters.

    ``https``: browsers reach this gateway over TLS, and shall do so from then on.
    """

    def __init__(self, app: ASGIApp, https: bool = False, metrics: RequestMetrics | None = None) -> None:
        self._app = app
        self._metrics = metrics or RequestMetrics()
        words = {**HEADERS, "Strict-Transport-Security": HSTS} if https else HEADERS
        self._headers = [(name.lower().encode(), value.encode()) for name, value in words.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers_in = dict(scope["headers"])
        given = headers_in.get(REQUEST_ID, b"")
        request_id = given.decode() if _ID.fullmatch(given) else uuid4().hex
        started = time.monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = message["status"]
                message["headers"] = self._enveloped(message.get("headers", ()), request_id)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send_with_headers)
            return
        self._metrics.began()
        # By token: ``bound_contextvars`` copies the whole context, twice a request.
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        with traced(_method(scope), request_id, headers_in.get(PARENT)) as trace:
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
                if scope["path"] not in QUIET:
                    _tell(scope, status, time.monotonic() - started, trace)
                structlog.contextvars.unbind_contextvars(
                    "user_id", "job_id"
                )  # of ``identity/guard.py``, ``decisions.py``
                structlog.contextvars.reset_contextvars(**bound)

    def _enveloped(self, given: Iterable[tuple[bytes, bytes]], request_id: str) -> RawHeaders:
        """What an answer carries, with what stands on all of them and is not there yet."""
        headers = [pair for pair in given if pair[0].lower() != REQUEST_ID]
        present = {name.lower() for name, _ in headers}
        headers += [pair for pair in self._headers if pair[0] not in present]
        headers.append((REQUEST_ID, request_id.encode()))
        return headers


def _tell(scope: Scope, status: int, seconds: float, trace: RequestTrace | None) -> None:
    """One line, and the end of its span."""
    where, told = _where(scope), {}
    if trace is not None:
        trace.end(status, where.get("path"))
        told = {"trace_id": trace.trace_id} if trace.trace_id else {}
    logger.info("request", method=_method(scope), status=status, ms=round(seconds * 1000, 1), **where, **told)


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
