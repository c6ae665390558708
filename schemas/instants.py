"""Points in time: milliseconds since the epoch (UTC) inside, ISO 8601 on the wire, BSON dates in documents.

``Instant`` reads all three (RFC 3339 section 5.6 for the text form) and is written as text in JSON mode and as an aware
``datetime`` in Python mode, which is what MongoDB stores.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, SerializationInfo, WithJsonSchema

# A decision reads and writes some forty instants, so this is arithmetic: exact, and cheaper than the calendar.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_iso(at: int) -> str:
    """Milliseconds since the epoch as RFC 3339 text in UTC with milliseconds: ``2026-11-21T09:04:06.123Z``."""
    return to_datetime(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_datetime(at: int) -> datetime:
    """The same instant as an aware ``datetime`` in UTC, exact to the millisecond."""
    return _EPOCH + at * _MILLISECOND


def from_datetime(moment: datetime) -> int:
    """Milliseconds since the epoch; a naive ``datetime`` is taken as UTC, as BSON dates are."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND


def _read(value: Any) -> Any:
    if isinstance(value, datetime):
        return from_datetime(value)
    if isinstance(value, str):
        return from_datetime(datetime.fromisoformat(value))
    return value


def _write(at: int, info: SerializationInfo) -> Any:
    return to_iso(at) if info.mode == "json" else to_datetime(at)


LAST = 253_402_300_799_999  # the end of the year 9999, the last that RFC 3339 and datetime can write
Instant = Annotated[
    int,
    BeforeValidator(_read),
    Field(ge=0, le=LAST),
    PlainSerializer(_write),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
