"""OpenTelemetry's SDK behind ``repo/tracing.py``: spans to a collector by OTLP over HTTP, from a thread of its own.

Spans wait in a bounded queue (``OTEL_BSP_MAX_QUEUE_SIZE``, 2048), of which the oldest go first; a collector that is
away costs them and one line of the log, nothing else. The exporter itself reads what else it wants to know, such as
``OTEL_EXPORTER_OTLP_HEADERS``.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from uuid import uuid4

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from repo.spans import Attributes, Kind, Span, Value
from schemas.traces import Parent

KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
}
NAMESPACE = "openv"
# Ours are sampled by trace id alone: the parent's opinion would be lost with the process that had it.
PARENT_BASED = "parentbased_"
logger = structlog.get_logger()


def make(part: str, environment: Mapping[str, str]) -> "SdkTracer":
    """What the standard variables ask for. Raises ValueError for a value that means nothing."""
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol and protocol.strip().lower() != "http/protobuf":
        logger.warning("tracing_protocol", wanted=protocol, used="http/protobuf")
    # What the SDK has to say of a collector that is away, it says for every batch.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    share = share_of(environment)
    exporter = Once(OTLPSpanExporter())
    return SdkTracer(exporter, _resource(part, environment), share)


def share_of(environment: Mapping[str, str]) -> float:
    """The share of traces that is kept, of ``OTEL_TRACES_SAMPLER`` and its argument. Raises ValueError."""
    name = (environment.get("OTEL_TRACES_SAMPLER") or f"{PARENT_BASED}always_on").strip().lower()
    match name.removeprefix(PARENT_BASED):
        case "always_on":
            return 1.0
        case "always_off":
            return 0.0
        case "traceidratio":
            share = float(environment.get("OTEL_TRACES_SAMPLER_ARG") or 1.0)
            if not 0.0 <= share <= 1.0:
                raise ValueError("OTEL_TRACES_SAMPLER_ARG must lie between 0 and 1")
            return share
    raise ValueError("OTEL_TRACES_SAMPLER: always_on, always_off or traceidratio, also with parentbased_ before it")


def _resource(part: str, environment: Mapping[str, str]) -> Resource:
    ours = {SERVICE_NAMESPACE: NAMESPACE, SERVICE_INSTANCE_ID: uuid4().hex}
    ours |= {SERVICE_NAME: environment.get("OTEL_SERVICE_NAME") or f"openv-{part}"}
    given = Resource.create()
    named = given.attributes.get(SERVICE_NAME)
    if "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "") and named:
        ours[SERVICE_NAME] = str(named)
    return given.merge(Resource(ours))


class SdkTracer:
    """Implements ``Tracer``. ``share``: of traces that are kept, chosen by their ids."""

    def __init__(self, exporter: SpanExporter, resource: Resource, share: float) -> None:
        self._ids = _Ids()
        self._sampler = TraceIdRatioBased(share)
        # Nothing at exit: the SDK would wait for a collector that is away.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("openv")

    def keeps(self, trace_id: str) -> bool:
        """See ``Tracer.keeps``."""
        return self._sampler.should_sample(None, int(trace_id, 16), "").decision is Decision.RECORD_AND_SAMPLE

    def begin(
        self,
        name: str,
        kind: Kind,
        trace_id: str,
        *,
        parent: str | None,
        own_id: str | None,
        link: Parent | None,
        attributes: Attributes,
        started_ns: int | None,
    ) -> Span:
        """See ``Tracer.begin``."""
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_context(trace_id, parent)), context)
        with self._ids.given(trace_id, own_id):
            made = self._tracer.start_span(
                name,
                context,
                KINDS[kind],
                attributes=_present(attributes),
                links=[Link(_context(link.trace_id, link.span_id))] if link else None,
                start_time=started_ns,
            )
        return _SdkSpan(made)

    def close(self, within_s: float) -> None:
        """See ``Tracer.close``. What the collector does not take in time is lost."""
        closing = threading.Thread(
            target=self._provider.force_flush, args=(int(within_s * 1000),), name="tracing.close", daemon=True
        )
        closing.start()
        closing.join(within_s)


class _SdkSpan(Span):
    def __init__(self, made: SdkSpan) -> None:
        self._made = made
        context = made.get_span_context()
        self.trace_id = format_trace_id(context.trace_id)
        self.traceparent = f"00-{self.trace_id}-{format_span_id(context.span_id)}-01"

    def set(self, attributes: Attributes) -> None:
        self._made.set_attributes(_present(attributes))

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        self._made.add_event(name, _present(attributes or {}))

    def rename(self, name: str) -> None:
        self._made.update_name(name)

    def fail(self, words: str) -> None:
        self._made.set_status(StatusCode.ERROR, words)
        self._made.set_attribute("error.type", words)

    def end(self) -> None:
        self._made.end()


class _Given(threading.local):
    """The ids of the span that this thread is about to make."""

    trace_id = 0
    span_id = 0


class _Ids(RandomIdGenerator):
    """Random ids, but for the ones that a job's id gives."""

    def __init__(self) -> None:
        self._given = _Given()

    def given(self, trace_id: str, span_id: str | None) -> "_Ids":
        self._given.trace_id = int(trace_id, 16)
        self._given.span_id = int(span_id, 16) if span_id else 0
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._given.trace_id = self._given.span_id = 0

    def generate_trace_id(self) -> int:
        return self._given.trace_id or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._given.span_id or super().generate_span_id()


class Once(SpanExporter):
    """Says once that spans are lost, and once that they are not any more."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 -- whatever it is, the spans are lost and nothing else
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            logger.warning(
                "traces_lost", reason="the collector does not take them", check="OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        elif self._failing and not failed:
            logger.info("traces_sent_again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _present(attributes: Attributes) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}
