"""Traces: ``with tracing.span("put", Kind.CLIENT): …``. Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` says where to.

One trace a job, whose ids follow from the job's id (``schemas/traces.py``), so that every part and every process goes
on with it. Whether it is kept is a function of its trace id as well: all parts that sample alike agree, whoever died
in between. Off, or not kept, a span is one shared object that does nothing, and nothing of OpenTelemetry is imported.

No span holds a prompt, an input, a secret or an address of a client's; nor the user, not even as a hash: ids of users
can be guessed and hashed again, and whoever may look into the documents finds the user by the job.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from uuid import uuid4

import structlog

from repo.spans import SILENT, Attributes, Kind, Span, Tracer
from schemas.traces import Parent, parent_of, root_span_of, trace_id_of

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
JOB = "openv.job.id"
NS_PER_MS = 1_000_000
logger = structlog.get_logger()


_tracer: Tracer | None = None
_current: ContextVar[Span] = ContextVar("openv_span", default=SILENT)
_muted: ContextVar[bool] = ContextVar("openv_tracing_muted", default=False)


def set_up(part: str, environment: Mapping[str, str] = os.environ) -> None:
    """Begin to trace this process, where the environment says where to. Never raises, never waits for the collector."""
    wanted = any(environment.get(name, "").strip() for name in ENDPOINTS)
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not wanted or disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return
    try:
        from repo.tracing_sdk import make

        use(make(part, environment))
    except Exception as error:  # noqa: BLE001 -- a part that can't tell what it does must do it all the same
        logger.error("tracing_off", error=type(error).__name__, check="the OTEL_… variables")


def use(tracer: Tracer | None) -> None:
    """Make spans with this from now on; None: make none."""
    global _tracer  # noqa: PLW0603 -- one a process, as logging is
    _tracer = tracer


def close(within_s: float) -> None:
    """Send what waits, for at most as long as this, and make no more spans."""
    tracer = _tracer
    use(None)
    if tracer is not None:
        tracer.close(within_s)


def is_on() -> bool:
    """Whether this process traces at all, and this task is not ``muted``."""
    return _heard() is not None


@contextmanager
def muted() -> Iterator[None]:
    """Make no spans in this task meanwhile: what is only tried out has not happened to any job."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def current() -> Span:
    """The span that this task works in."""
    return _current.get()


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    job_id: str | None = None,
    parent: str | None = None,
    attributes: Attributes | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block. ``job_id``: in the trace of this job; None: a child of the current span, or nothing.

    ``parent`` is a ``traceparent``; one of another trace is not believed. Without one: the current span if it is of
    the same trace, else the job's own root. An exception marks it as failed, by its type alone.
    """
    if _heard() is None:
        return _SILENCE
    return _around(begin(name, kind, job_id=job_id, parent=parent, attributes=attributes))


def begin(
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    job_id: str | None = None,
    parent: str | None = None,
    attributes: Attributes | None = None,
    started_ns: int | None = None,
    link: Parent | None = None,
) -> Span:
    """As ``span``, to be ended by hand; it does not become the current one (``within`` does that).

    ``started_ns``: since the epoch. ``link``: a span of somebody else's trace that it has to do with.
    """
    tracer, here = _heard(), _current.get()
    if tracer is None:
        return SILENT
    if job_id is None:
        trace_id = here.trace_id
        if trace_id is None:
            return SILENT
    else:
        trace_id = trace_id_of(job_id)
        if not tracer.keeps(trace_id):
            return SILENT
    return tracer.begin(
        name,
        kind,
        trace_id,
        parent=_parent_in(trace_id, here, parent) or (root_span_of(job_id) if job_id else None),
        own_id=None,
        link=link,
        attributes={JOB: job_id, **(attributes or {})},
        started_ns=started_ns,
    )


def begin_apart(
    name: str,
    kind: Kind,
    *,
    link: Parent | None = None,
    attributes: Attributes | None = None,
    started_ns: int | None = None,
) -> Span:
    """The first span of a trace that is no job's."""
    tracer, trace_id = _heard(), uuid4().hex
    if tracer is None or not tracer.keeps(trace_id):
        return SILENT
    return tracer.begin(
        name,
        kind,
        trace_id,
        parent=None,
        own_id=None,
        link=link,
        attributes=attributes or {},
        started_ns=started_ns,
    )


def whole_life(job_id: str, name: str, began_ms: int, attributes: Attributes) -> None:
    """The root of a job's trace, from its beginning until now. Told by the one who ends the job's first run."""
    tracer, trace_id = _heard(), trace_id_of(job_id)
    if tracer is None or not tracer.keeps(trace_id):
        return
    tracer.begin(
        name,
        Kind.INTERNAL,
        trace_id,
        parent=None,
        own_id=root_span_of(job_id),
        link=None,
        attributes={JOB: job_id, **attributes},
        started_ns=began_ms * NS_PER_MS,
    ).end()


@contextmanager
def within(span: Span) -> Iterator[Span]:
    """Work in this span; it is not ended."""
    token = _current.set(span)
    try:
        yield span
    finally:
        _current.reset(token)


def traceparent(job_id: str | None = None) -> str | None:
    """What a record says of where it comes from: the current span, if it is of this job's trace; else the job's root.

    None where nothing is to be said: tracing is off, or the trace is not kept.
    """
    tracer, here = _heard(), _current.get()
    if tracer is None or job_id is None:
        return here.traceparent
    trace_id = trace_id_of(job_id)
    if here.trace_id == trace_id:
        return here.traceparent
    return f"00-{trace_id}-{root_span_of(job_id)}-01" if tracer.keeps(trace_id) else None


def now_ns() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def _heard() -> Tracer | None:
    """Who makes this task's spans; None: nobody."""
    return None if _tracer is None or _muted.get() else _tracer


def _parent_in(trace_id: str, here: Span, given: str | None) -> str | None:
    said = parent_of(given)
    if said is None and here.traceparent is not None:
        said = parent_of(here.traceparent)
    return said.span_id if said is not None and said.trace_id == trace_id else None


@contextmanager
def _around(span: Span) -> Iterator[Span]:
    token = _current.set(span)
    try:
        yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        _current.reset(token)
        span.end()


class _Silence:
    """``nullcontext`` without an object for each use."""

    def __enter__(self) -> Span:
        return SILENT

    def __exit__(self, *_: object) -> None:
        return None


_SILENCE = _Silence()
