"""Reading records that aiokafka refuses although Kafka takes them: those with a header whose name is not UTF-8.

aiokafka reads names strictly, and fails at such a record whenever its partition is fetched: every reader in every
process would stand before it until it is no longer kept, and could not even put it aside. Here the batch is read again
with replacement characters. ``install`` changes aiokafka's fetcher for the whole process, Faust's consumers included.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT, _OVERHEAD = 8, 12  # of a batch: after the base offset, the length of all that follows


def install() -> None:
    """Idempotent."""
    fetcher.MemoryRecords = ForgivingRecords


class ForgivingRecords:
    """The batches of one fetched partition, as aiokafka's fetcher asks for them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> "_Batch":
        start = self._at
        length = int.from_bytes(self._data[start + _LENGTH_AT : start + _OVERHEAD], "big")
        self._at = start + _OVERHEAD + length
        return _Batch(self._records.next_batch(), memoryview(self._data)[start : self._at])


class _Batch:
    """A batch that can be iterated whatever its headers are called; else as it is."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """The one record of a batch that ends a transaction, as whoever reads committed ones alone asks for it."""
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                read += 1
                yield record
        except (UnicodeDecodeError, CorruptRecordException) as error:
            # Without its C extension aiokafka calls the whole record corrupt.
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
            yield from islice(_ForgivingBatch(self._data), read, None)


class _ForgivingBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Forgiving(self._buffer)


class _Forgiving(bytearray):
    """Bytes whose parts are decoded with replacement characters."""

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return _Forgiving(part) if isinstance(at, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
