"""What a span is to those who make and fill one: its kind, its attributes, and one that does nothing."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Protocol

from schemas.traces import Parent

Value = str | int | float | bool
Attributes = Mapping[str, Value | None]


class Kind(IntEnum):
    """OpenTelemetry's ``SpanKind``."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class Span:
    """A span that does nothing: tracing is off, or this trace is not kept."""

    trace_id: str | None = None
    traceparent: str | None = None

    def set(self, attributes: Attributes) -> None:
        """Add attributes; None is left out."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Note that something happened just now."""

    def rename(self, name: str) -> None:
        """Give it another name."""

    def fail(self, words: str) -> None:
        """It failed. The words must not quote what a client or a foreign library said."""

    def end(self) -> None:
        """Send it off. Once."""


class Tracer(Protocol):
    """What makes real spans; ``repo/tracing_sdk.py``."""

    def keeps(self, trace_id: str) -> bool:
        """Whether spans of this trace are sent."""
        ...

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
        """A span that runs. ``parent``, ``own_id``: span ids; no parent: the trace begins with it."""
        ...

    def close(self, within_s: float) -> None:
        """Send what waits, as far as the time allows."""
        ...


SILENT = Span()
