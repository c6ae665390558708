"""Batches whose headers have names that are no UTF-8 are read whole; all others as aiokafka reads them."""

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from repo.kafka_clients import connection_options
from repo.kafka_records import ForgivingRecords
from tests.servers import settings_of

PLAIN, GZIP = 0, 1
NOWHERE = {
    "MONGODB_URI": "mongodb://127.0.0.1:1",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "a",
    "S3_SECRET_ACCESS_KEY": "b",
}


class Name(str):
    """A header's name that is written as bytes which are no UTF-8."""

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"\xff\xfe"


def batch(*names: str, codec: int = PLAIN) -> bytes:
    """One record with one header for each name, in one batch."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 2**20)
    for number, name in enumerate(names):
        value = b"value" * 20
        builder.append(number, 1_000 + number, str(number).encode(), value, [("first", b"1"), (name, None)])
    return bytes(builder.build())


def read(records: Any) -> list[tuple[Any, ...]]:
    found = []
    while records.has_next():
        one = records.next_batch()
        assert one.validate_crc()
        found += [(r.offset, r.timestamp, r.key, r.value, [name for name, _ in r.headers]) for r in one]
    return found


@pytest.mark.parametrize("codec", [PLAIN, GZIP])
@pytest.mark.parametrize("bad", [{0}, {1}, {2}, {0, 1, 2}])
def test_a_name_of_bytes_reads_with_replacements_and_the_others_as_they_are(codec: int, bad: set[int]) -> None:
    names = [Name("xx") if number in bad else "good" for number in range(3)]
    data = batch("before", codec=codec) + batch(*names, codec=codec) + batch("after", codec=codec)
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        read(MemoryRecords(data))
    found = read(ForgivingRecords(data))
    expected = ["\ufffd\ufffd" if number in bad else "good" for number in range(3)]
    assert [headers for *_, headers in found] == [["first", name] for name in ("before", *expected, "after")]
    clean = batch("before") + batch("good", "good", "good") + batch("after")
    assert [one[:4] for one in found] == [one[:4] for one in read(MemoryRecords(clean))]


def test_what_was_cut_off_is_left_for_the_next_fetch() -> None:
    data = batch("a") + batch("b")
    found = ForgivingRecords(data[:-1])
    assert found.size_in_bytes() == len(data) - 1
    assert len(read(found)) == len(read(MemoryRecords(data[:-1]))) == 1


def test_the_rest_of_a_batch_is_aiokafkas() -> None:
    one, other = ForgivingRecords(batch("a")).next_batch(), MemoryRecords(batch("a")).next_batch()
    for name in ("next_offset", "base_offset", "is_control_batch", "is_transactional", "producer_id"):
        assert getattr(one, name) == getattr(other, name)


def test_whoever_connects_reads_so() -> None:
    connection_options(settings_of({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", **NOWHERE}))
    assert fetcher.MemoryRecords is ForgivingRecords
