"""What must not stop a reader: records that are no message, of every kind that Kafka itself takes in."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import orjson

from repo.clock import now_ms
from repo.ports import Position
from schemas.codec import Message, Record, encode
from schemas.topics import RECORD_MAX
from tests.outages.foreign import Foreign, Raw

Headers = tuple[tuple[str, bytes | None], ...]
ENVELOPE = 1024  # of a batch around its one record, and of the headers beside the value


@dataclass(frozen=True)
class Poison:
    """A record, and how the reason must begin that its dead letter gives."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str
    snappy: bool = False


def poisons(good: Message, other: Message) -> Mapping[str, Poison]:
    """By name. ``good``: a message that belongs on the topic; ``other``: one of another topic."""
    made, stranger = encode(good, source="/foreign", at=now_ms()), encode(other, source="/foreign", at=now_ms())
    key, value, headers = made.key, made.value, tuple(made.headers)
    untyped: Headers = tuple(pair for pair in headers if pair[0] != "ce_type")
    type_name, body = dict(headers)["ce_type"], orjson.loads(value)
    unheard = type_name.replace(b".v1", b".v99")
    none, invalid, no_type = "no value, or one over the limit", "not valid: ", "no ce_type header"
    return MappingProxyType(
        {
            "random bytes": Poison(key, bytes(range(256)), headers, invalid),
            "an empty value": Poison(key, b"", headers, none),
            "a tombstone": Poison(key, None, headers, none),
            "not JSON": Poison(key, b"{not JSON", headers, invalid),
            "an empty object": Poison(key, b"{}", headers, invalid),
            "a list": Poison(key, b"[" + value + b"]", headers, invalid),
            "members of wrong types": Poison(key, orjson.dumps({name: [1] for name in body}), headers, invalid),
            "a NUL in a name": Poison(key, value.replace(b'{"', b'{"\\u0000', 1), headers, invalid),
            "a lone surrogate": Poison(key, b'{"x":"\\ud800",' + value[1:], headers, invalid),
            "not a number": Poison(
                key, value[:-1] + b',"attempt":NaN,"sequence":NaN,"priority":NaN}', headers, invalid
            ),
            "nested without end": Poison(key, b'{"a":' * 50_000, headers, invalid),
            "no headers": Poison(key, value, (), no_type),
            "no type": Poison(key, value, untyped, no_type),
            "a type without a value": Poison(key, value, (*untyped, ("ce_type", None)), no_type),
            "an unknown type": Poison(
                key, value, (*untyped, ("ce_type", b"com.example.other")), "unknown type com.exam"
            ),
            "an unknown version": Poison(
                key, value, (*untyped, ("ce_type", unheard)), f"unknown type {unheard.decode()}"
            ),
            "a type of bytes": Poison(key, value, (*untyped, ("ce_type", b"\xff\xfe")), "unknown type \ufffd"),
            "the wrong type first": Poison(key, value, (("ce_type", b"x"), *headers), "unknown type x"),
            "another topic's message": Poison(stranger.key, stranger.value, tuple(stranger.headers), "type dev.openv."),
            "no key": Poison(None, value, headers, "the record's key"),
            "another's key": Poison(b"somebody else", value, headers, "the record's key"),
            "a key of bytes": Poison(b"\xff\xfe", value, headers, "the record's key"),
            "as large as may be": Poison(key, b"x" * (RECORD_MAX - ENVELOPE), headers, invalid),
            "a header named in bytes": Poison(key, b"{}", ((Raw(b"\xff\xfe"), b"1"), *headers), invalid),
            "a codec we can't read": Poison(key, b"{snappy", headers, invalid, snappy=True),
        }
    )


async def pour(foreign: Foreign, topic: str, partition: int, kinds: Mapping[str, Poison]) -> dict[Position, Poison]:
    """Write them all to one partition; where each lies."""
    return {
        Position(
            partition, await foreign.write(topic, partition, one.key, one.value, one.headers, snappy=one.snappy)
        ): one
        for one in kinds.values()
    }


def origin(letter: Record) -> tuple[str, Position]:
    """The topic and the place that a dead letter names."""
    known = dict(letter.headers)
    partition, offset = (int.from_bytes(known[f"kafka_dlt-original-{name}"], "big") for name in ("partition", "offset"))
    return known["kafka_dlt-original-topic"].decode(), Position(partition, offset)
