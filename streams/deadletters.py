"""What a handler can't process goes to ``openv.deadletter``, whole, with the reason, under Spring Kafka's header names.

Those are what operators' tools read (``schemas/letters.py``). A record that comes back from there and fails again keeps
its first origin and gets its last reason.
"""

import traceback
from pathlib import PurePath

from schemas.codec import Encoded, Record
from schemas.letters import CUT, PREFIX, REASON
from schemas.topics import DEADLETTER, RECORD_MAX

REASON_MAX = 500

_ORIGIN = ("original-topic", "original-partition", "original-offset", "original-timestamp", "original-consumer-group")
_ROOM = 16 * 1024  # for our own headers and the record's envelope
_HEADERS_MAX = 128 * 1024
_HEADER_MAX = 8 * 1024
_PER_HEADER = 16


class CannotProcess(Exception):
    """This message can't be processed, now or later. The reason never quotes it: it may hold a prompt."""

    def __init__(self, reason: str, cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cause = cause


def dead_letter(record: Record, group: str, failure: CannotProcess) -> Encoded:
    """The dead letter of a record. A value too large to be produced again is cut, and a header says how long it was."""
    own = _own_headers(record, group, failure)
    names = {name for name, _ in own}
    kept = tuple((name, value) for name, value in _bounded(record.headers) if name not in names)
    key, value = record.key or b"", record.value or b""
    room = RECORD_MAX - _ROOM - len(key) - _size(own) - _size(kept)
    if len(value) > room:
        own = (*own, (CUT, str(len(value)).encode()))
        value = value[: max(0, room)]
    return Encoded(DEADLETTER.name, key, value, (*kept, *own))


def describe(error: BaseException) -> str:
    """Where an exception came from. Not its text: a core's exception may quote the message, prompt and all."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {last.name}, {PurePath(last.filename).name} line {last.lineno}"


def stack_of(error: BaseException) -> str:
    """The traceback for the log, without the exception's text and without values."""
    return "".join(traceback.format_tb(error.__traceback__)).rstrip()


def _own_headers(record: Record, group: str, failure: CannotProcess) -> tuple[tuple[str, bytes], ...]:
    known = {name: value for name, value in record.headers if value is not None}
    origin = {
        "original-topic": record.topic.encode(),
        "original-partition": record.partition.to_bytes(4, "big"),
        "original-offset": record.offset.to_bytes(8, "big"),
        "original-timestamp": max(0, record.timestamp).to_bytes(8, "big"),
        "original-consumer-group": group.encode(),
    }
    first = {PREFIX + name: known.get(PREFIX + name, origin[name]) for name in _ORIGIN}
    cause = failure.cause or failure
    reason = failure.reason[:REASON_MAX].encode()
    return (
        *first.items(),
        (f"{PREFIX}exception-fqcn", f"{type(cause).__module__}.{type(cause).__qualname__}".encode()),
        (f"{PREFIX}exception-message", reason),
        (REASON, reason),
    )


def _bounded(headers: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    """The headers as they are; where somebody filled them with megabytes, only those of a sane size."""
    present = tuple((name, value) for name, value in headers if value is not None)
    if _size(present) <= _HEADERS_MAX:
        return present
    kept: list[tuple[str, bytes]] = []
    room = _HEADERS_MAX
    for name, value in present:
        size = _size(((name, value),))
        if size <= _HEADER_MAX + _PER_HEADER and room > 0:
            kept.append((name, value))
            room -= size
    return tuple(kept)


def _size(headers: tuple[tuple[str, bytes], ...]) -> int:
    return sum(len(name.encode()) + len(value) + _PER_HEADER for name, value in headers)
