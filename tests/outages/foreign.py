"""Records as other programs may write them: with nothing of what our own producer makes sure of."""

import struct
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c

_RECORDS_AT, _ATTRIBUTES_AT, _CRC_AT = 61, 21, 17  # in a batch of Kafka's format 2
_SNAPPY = 2


class Raw(str):
    """A header's name that is written as these bytes."""

    name: bytes

    def __new__(cls, name: bytes) -> Self:
        made = super().__new__(cls, name.decode("latin-1"))
        made.name = name
        return made

    def encode(self, *_: Any, **__: Any) -> bytes:
        return self.name


class Foreign:
    """Another program's producer: ``async with Foreign(address) as foreign``."""

    def __init__(self, address: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=address, enable_idempotence=False, max_request_size=2**21, max_batch_size=2**21
        )

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def write(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        *,
        snappy: bool = False,
    ) -> int:
        """Write one record as it is, in a batch of its own; its offset. ``snappy``: a codec that we can't read."""
        batch = self._producer.create_batch()
        builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 2**21)
        builder.append(0, None, key, value, list(headers))
        data = bytes(builder.build())
        batch._builder = _Built(_in_snappy(data) if snappy else data)
        batch._relative_offset = 1
        batch.close()
        written = await (await self._producer.send_batch(batch, topic, partition=partition))
        return int(written.offset)


class _Built:
    """What aiokafka asks of a builder that is done."""

    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)

    def build(self) -> bytearray:
        return self._data

    def size(self) -> int:
        return len(self._data)


def _in_snappy(batch: bytes) -> bytes:
    """The batch with its records as one literal of Snappy's block format."""
    records = batch[_RECORDS_AT:]
    length, rest = bytearray(), len(records)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    literal = bytes([61 << 2]) + (len(records) - 1).to_bytes(2, "little")
    made = bytearray(batch[:_RECORDS_AT] + length + literal + records)
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">h", made, _ATTRIBUTES_AT, _SNAPPY)
    struct.pack_into(">I", made, _CRC_AT, calc_crc32c(bytes(made[_ATTRIBUTES_AT:])))
    return bytes(made)
