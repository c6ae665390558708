"""What the headers of a dead letter say: where its record first lay, who could not process it, and why.

Ours are Spring Kafka's (``DeadLetterPublishingRecoverer``), which operators' tools show: numbers are big-endian there
(4 bytes for the partition, 8 for offset and timestamp). Letters of others are read too: those of Spring Cloud Stream
(``x-original-…``) and of Kafka Connect (``__connect.errors.…``), whose numbers are text or big-endian. Where a name is
there several times, the first origin counts, and the last exception.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "kafka_dlt-"
REASON = "openv_reason"
CUT = "openv_cut_from_bytes"

_STREAM = "x-"
_CONNECT = "__connect.errors."

# What we call it, and the headers that say it, in the order in which they are believed.
NAMES: Mapping[str, tuple[str, ...]] = {
    "topic": (f"{PREFIX}original-topic", f"{_STREAM}original-topic", f"{_CONNECT}topic"),
    "partition": (f"{PREFIX}original-partition", f"{_STREAM}original-partition", f"{_CONNECT}partition"),
    "offset": (f"{PREFIX}original-offset", f"{_STREAM}original-offset", f"{_CONNECT}offset"),
    "timestamp": (f"{PREFIX}original-timestamp", f"{_STREAM}original-timestamp"),
    "group": (f"{PREFIX}original-consumer-group", f"{_CONNECT}connector.name"),
    "exception": (
        f"{PREFIX}exception-fqcn",
        f"{PREFIX}key-exception-fqcn",
        f"{_STREAM}exception-fqcn",
        f"{_CONNECT}exception.class.name",
    ),
    "cause": (f"{PREFIX}exception-cause-fqcn",),
    "message": (
        f"{PREFIX}exception-message",
        f"{PREFIX}key-exception-message",
        f"{_STREAM}exception-message",
        f"{_CONNECT}exception.message",
    ),
    "stack": (
        f"{PREFIX}exception-stacktrace",
        f"{PREFIX}key-exception-stacktrace",
        f"{_STREAM}exception-stacktrace",
        f"{_CONNECT}exception.stacktrace",
    ),
}
_OWN = frozenset(name for names in NAMES.values() for name in names) | {REASON, CUT}
_NUMBERS_BYTES = {4, 8}


@dataclass(frozen=True, slots=True)
class Letter:
    """What is known of a dead letter; None where no header says it. ``timestamp`` in ms; ``cut_from``: how long the
    value was that had to be cut."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    timestamp: int | None = None
    group: str | None = None
    exception: str | None = None
    cause: str | None = None
    message: str | None = None
    stack: str | None = None
    reason: str | None = None
    cut_from: int | None = None

    @property
    def origin(self) -> str | None:
        """``topic/partition/offset`` of the record that could not be processed, where all three are known."""
        if self.topic is None or self.partition is None or self.offset is None:
            return None
        return f"{self.topic}/{self.partition}/{self.offset}"


def letter_of(headers: Iterable[tuple[str, bytes]]) -> Letter:
    """What the headers say; never raises, whoever wrote them."""
    first: dict[str, bytes] = {}
    last: dict[str, bytes] = {}
    for name, value in headers:
        if value is not None and name in _OWN:
            first.setdefault(name, value)
            last[name] = value

    def text(name: str, found: Mapping[str, bytes]) -> str | None:
        value = next((found[header] for header in NAMES[name] if header in found), None)
        return None if value is None else value.decode("utf-8", "replace")

    def number(name: str) -> int | None:
        return next((_number(first[header]) for header in NAMES[name] if header in first), None)

    cut = last.get(CUT)
    reason = last.get(REASON)
    return Letter(
        topic=text("topic", first),
        partition=number("partition"),
        offset=number("offset"),
        timestamp=number("timestamp"),
        group=text("group", first),
        exception=text("exception", last),
        cause=text("cause", last),
        message=text("message", last),
        stack=text("stack", last),
        reason=None if reason is None else reason.decode("utf-8", "replace"),
        cut_from=None if cut is None else _decimal(cut),
    )


def _number(value: bytes) -> int | None:
    """Text, or a big-endian integer: digits alone, read as one, would be an offset beyond all that there are."""
    decimal = _decimal(value)
    if decimal is None and len(value) in _NUMBERS_BYTES:
        return max(0, int.from_bytes(value, "big", signed=True))
    return decimal


def _decimal(value: bytes) -> int | None:
    text = value.decode("ascii", "replace")
    return int(text) if len(text) < 19 and text.isascii() and text.isdecimal() else None
