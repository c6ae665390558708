"""Instants: milliseconds inside, RFC 3339 on the wire, BSON dates in documents."""

from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import ValidationError

from schemas.instants import LAST, Instant, from_datetime, to_datetime, to_iso
from schemas.shape import from_json, from_plain, shape, to_json, to_plain, to_stored


@shape
class Moment:
    at: Instant
    end: Instant | None = None


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_773_144_000_123, "2026-03-10T12:00:00.123Z"),
        (1_835_395_199_999, "2028-02-28T23:59:59.999Z"),
        (LAST, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_by_example(at: int, text: str) -> None:
    assert to_iso(at) == text
    assert to_plain(Moment(at=at)) == {"at": text}
    assert from_plain(Moment, {"at": text}) == Moment(at=at)


@given(at=st.integers(0, LAST), end=st.none() | st.integers(0, LAST))
def test_all_three_forms_come_back(at: int, end: int | None) -> None:
    moment = Moment(at=at, end=end)
    assert from_json(Moment, to_json(moment)) == moment
    assert from_plain(Moment, to_stored(moment)) == moment
    assert from_plain(Moment, {"at": at, "end": end}) == moment
    assert from_datetime(to_datetime(at)) == at
    assert to_stored(moment)["at"].tzinfo is UTC


def test_other_zones_and_naive_dates() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert from_datetime(datetime(1970, 1, 1, 5, 30, tzinfo=india)) == 0
    assert from_datetime(datetime(1970, 1, 1, 0, 0, 1)) == 1_000  # noqa: DTZ001, as BSON dates come
    assert from_plain(Moment, {"at": "1970-01-01T05:30:00+05:30"}).at == 0


@pytest.mark.parametrize("value", ["yesterday", "", None, -1, LAST + 1, 1.5, [], "10000-01-01T00:00:00Z"])
def test_what_is_no_instant_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        from_plain(Moment, {"at": value})
