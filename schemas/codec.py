"""Messages to Kafka records and back: CloudEvents 1.0, Kafka protocol binding, binary content mode.

Attributes travel as headers (``ce_id``, ``ce_type``, ``ce_source``, ``ce_subject``, ``ce_time``, ``traceparent``), the
value is JSON. A record that can't be read is an answer, ``Unreadable``, never an exception that ends a consumer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError

from schemas.accounts import Account
from schemas.audit import AuditEntry
from schemas.commands import AnyCommand
from schemas.dispatch import AnyAssignment, AnyDispatch
from schemas.documents import job_json
from schemas.events import AccountEvent, AnyEvent, JobEvent
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.progress import AnyProgress
from schemas.shape import from_json, to_json
from schemas.topics import RECORD_MAX, TOPIC_OF, TOPICS

Message = AnyCommand | AnyEvent | AnyDispatch | AnyAssignment | AnyProgress | AuditEntry

OPENV_VERSION = "1"
CONTENT_TYPE = b"application/json"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message ready for the event log."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the event log returned it. ``timestamp`` is the topic's own time, milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str | None:
        """The first header of that name as text, or None; bytes that are not UTF-8 read with replacements."""
        for key, value in self.headers:
            if key == name:
                return value.decode("utf-8", "replace") if value is not None else None
        return None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record can't be read. The reason never quotes the value, which may hold a prompt."""

    reason: str


def _types() -> dict[str, tuple[type, type]]:
    table: dict[str, tuple[type, type]] = {}
    for topic in TOPICS.values():
        for message in topic.messages:
            body: type = {JobEvent: Job, AccountEvent: Account}.get(message, message)
            for name in getattr(message, "TYPES", None) or (cast("Any", message).TYPE,):
                table[name] = (message, body)
    return table


_TYPES: Mapping[str, tuple[type, type]] = MappingProxyType(_types())
TYPE_NAMES = tuple(_TYPES)


def type_of(message: Message) -> str:
    """The versioned CloudEvents type of a message."""
    if isinstance(message, JobEvent | AccountEvent):
        return message.type
    return message.TYPE


def encode(message: Message, *, source: str, at: int, traceparent: str | None = None) -> Encoded:
    """A message as a record of its topic. ``source`` names the sending part (a URI reference), ``at`` is in ms."""
    if isinstance(message, JobEvent):
        value = job_json(message.job)
    elif isinstance(message, AccountEvent):
        value = to_json(replace(message.account, pending={}))
    else:
        value = to_json(message)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", message.message_id.encode()),
        ("ce_type", type_of(message).encode()),
        ("ce_source", source.encode()),
        ("ce_subject", message.subject.encode()),
        ("ce_time", to_iso(at).encode()),
        ("content-type", CONTENT_TYPE),
        ("openv_version", OPENV_VERSION.encode()),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return Encoded(TOPIC_OF[type(message)].name, message.key.encode(), value, tuple(headers))


def decode(record: Record) -> Message | Unreadable:
    """The message of a record, or why it can't be read: unknown type, wrong topic or key, not JSON, a wrong member."""
    name = record.header("ce_type")
    if not name:
        return Unreadable("no ce_type header: not a CloudEvents record in binary mode")
    known = _TYPES.get(name)
    if known is None:
        return Unreadable(f"unknown type {name[:100]}")
    message_class, body_class = known
    if TOPIC_OF[message_class].name != record.topic:
        return Unreadable(f"type {name} does not belong on {record.topic}")
    if not record.value or len(record.value) > RECORD_MAX:
        return Unreadable("no value, or one over the limit")
    try:
        body: object = from_json(body_class, record.value)
    except ValidationError as error:
        return Unreadable(_places(error))
    message = cast("Message", body if body_class is message_class else message_class(body))
    if message.key.encode() != record.key and message.key:
        return Unreadable("the record's key is not the message's")
    if type_of(message) != name:
        return Unreadable(f"type {name} does not fit the document's state")
    return message


def _places(error: ValidationError) -> str:
    """Which members are wrong and how, without their values."""
    first = [f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['type']}" for e in error.errors()[:5]]
    return "not valid: " + "; ".join(first)
