"""A request's span, made when it is known whose trace it belongs to; and what passes through the gateway for a job.

A request that asks something of a job is part of the job's trace; any other is a trace of its own, so that a client
that polls does not grow its job's. A client's own ``traceparent`` becomes a link: whoever calls decides neither what
is kept here nor into which trace it goes.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import structlog

from repo import tracing
from repo.spans import Attributes, Kind, Span
from schemas.codec import Message, Record, type_of
from schemas.topics import EVENTS, TOPIC_OF
from schemas.traces import HEADER, parent_of, trace_id_of


class RequestTrace:
    """One request's; ``of_job`` as soon as its job is known, ``end`` in any case."""

    def __init__(self, method: str, request_id: str, traceparent: bytes | None) -> None:
        self._method = method
        self._request_id = request_id
        self._link = parent_of(traceparent.decode("latin-1")) if traceparent else None
        self._began = tracing.now_ns()
        self._span: Span | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace that it belongs to; None while that is not known, or where it is not kept."""
        return None if self._span is None else self._span.trace_id

    def of_job(self, job_id: str) -> str | None:
        """The request as a parent for what follows in this job's trace; None: it belongs to another job's already."""
        if self._span is None:
            self._span = tracing.begin(
                self._method,
                Kind.SERVER,
                job_id=job_id,
                attributes=self._attributes(),
                started_ns=self._began,
                link=self._link,
            )
        return self._span.traceparent

    def end(self, status: int, route: str | None, refused: str | None = None) -> None:
        """It was answered. ``route``: the template."""
        span = self._span
        if span is None:
            span = self._span = tracing.begin_apart(
                self._method, Kind.SERVER, link=self._link, attributes=self._attributes(), started_ns=self._began
            )
        if route:
            span.rename(f"{self._method} {route}")
        span.set({"http.response.status_code": status or None, "http.route": route})
        if status >= 500 or not status:
            span.fail(refused or str(status or "no answer"))
        span.end()

    def _attributes(self) -> Attributes:
        return {
            "http.request.method": self._method,
            "openv.request.id": self._request_id,
            "openv.client.traceparent": None if self._link is None else f"{self._link.trace_id}-{self._link.span_id}",
        }


_request: ContextVar[RequestTrace | None] = ContextVar("openv_request", default=None)
_NOTHING = nullcontext(None)  # one for all: every request, command and event comes past here


def traced(method: str, request_id: str, traceparent: bytes | None) -> AbstractContextManager[RequestTrace | None]:
    """Around a request; None where nothing is traced."""
    return _traced(method, request_id, traceparent) if tracing.is_on() else _NOTHING


@contextmanager
def _traced(method: str, request_id: str, traceparent: bytes | None) -> Iterator[RequestTrace]:
    request = RequestTrace(method, request_id, traceparent)
    token = _request.set(request)
    try:
        yield request
    finally:
        _request.reset(token)


def sending(message: Message) -> AbstractContextManager[str | None]:
    """Around an append of something about a job, on behalf of the request under way; yields its ``traceparent``."""
    job_id = getattr(message, "job_id", None) if tracing.is_on() else None
    return _NOTHING if job_id is None else _sending(message, job_id)


@contextmanager
def _sending(message: Message, job_id: str) -> Iterator[str | None]:
    request = _request.get()
    parent = request.of_job(job_id) if request is not None else None
    topic = TOPIC_OF[type(message)].name
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.operation.name": "append",
        "messaging.destination.name": topic,
        "messaging.message.id": message.message_id,
        "openv.type": type_of(message),
        "openv.attempt": getattr(message, "attempt", None),
    }
    bound = {"job_id": job_id, "user_id": getattr(message, "user_id", None), "trace_id": trace_id_of(job_id)}
    with (
        structlog.contextvars.bound_contextvars(**bound),
        tracing.span(f"send {topic}", Kind.PRODUCER, job_id=job_id, parent=parent, attributes=attributes) as span,
    ):
        yield span.traceparent


def pushing(record: Record, job_id: str, watchers: Callable[[], int]) -> AbstractContextManager[object]:
    """Around handing an event to live connections: one span, however many they are; none where there are none."""
    parent = record.header(HEADER) if tracing.is_on() else None
    connections = watchers() if parent is not None else 0
    if not connections:
        return _NOTHING
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "push",
        "messaging.destination.name": EVENTS.name,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "openv.type": record.header("ce_type"),
        "openv.connections": connections,
        "openv.waited_ms": max(0, tracing.now_ns() // tracing.NS_PER_MS - record.timestamp),
    }
    return tracing.span("push", Kind.CONSUMER, job_id=job_id, parent=parent, attributes=attributes)
