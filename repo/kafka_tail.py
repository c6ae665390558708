"""Following a topic for ever: one consumer without a group, opened again whenever it fails or stands still.

aiokafka waits out most outages by itself, but never looks at the bootstrap addresses again, and a fetcher that stalls
says nothing. So after some idle seconds we ask for the ends: if there is more than we were given, we start afresh.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from repo.kafka_clients import FAILURES, RETRY_S, Consumer, describe, settle
from repo.ports import Unavailable
from schemas.codec import Record

logger = structlog.get_logger()

BATCH_WITHIN_S = 0.9  # of the second within which the port promises a batch, if only an empty one
CHECK_AFTER_IDLE = 5  # empty batches
PATIENCE = 3  # empty batches after a check that found more

Ends = Callable[[], Awaitable[Mapping[int, int]]]


async def follow(
    make: Callable[[], Consumer], ends: Ends, topic: str, start: Mapping[int, int]
) -> AsyncIterator[Sequence[Record]]:
    """Batches as ``EventLog.tail`` promises them."""
    follower = _Follower(make, ends, topic, dict(start))
    try:
        while True:
            yield await follower.batch()
    finally:
        await follower.close()


class _Follower:
    """``positions``: the next offset of each partition, ours to keep; the consumer is replaceable."""

    def __init__(self, make: Callable[[], Consumer], ends: Ends, topic: str, positions: dict[int, int]) -> None:
        self._make = make
        self._ends = ends
        self._topic = topic
        self._positions = positions
        self._consumer: Consumer | None = None
        self._opening: asyncio.Task[Consumer] | None = None
        self._checking: asyncio.Task[bool] | None = None
        self._idle = 0
        self._behind = 0

    async def batch(self) -> Sequence[Record]:
        """The next records, or none after ``BATCH_WITHIN_S``."""
        consumer = self._consumer or await self._open()
        if consumer is None:
            return ()
        try:
            async with asyncio.timeout(BATCH_WITHIN_S + 1):
                found = await consumer.getmany(timeout_ms=int(BATCH_WITHIN_S * 1000))
        except FAILURES as failure:
            await self._drop(describe(failure) or "the consumer does not return")
            return ()
        records = to_records(found)
        for record in records:
            self._positions[record.partition] = record.offset + 1
        await self._judge(idle=not records)
        return records

    async def _open(self) -> Consumer | None:
        """The consumer, if there is one now; keeps trying across calls, each in bounded time."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._opened())
        done, _ = await asyncio.wait({self._opening}, timeout=BATCH_WITHIN_S)
        if not done:
            return None
        opening, self._opening = self._opening, None
        try:
            self._consumer = opening.result()
        except FAILURES as failure:
            logger.info("kafka is away", topic=self._topic, reason=describe(failure))
            await asyncio.sleep(RETRY_S)
        return self._consumer

    async def _opened(self) -> Consumer:
        consumer = self._make()
        try:
            await consumer.start()
            consumer.assign([TopicPartition(self._topic, partition) for partition in self._positions])
            for partition, offset in self._positions.items():
                consumer.seek(TopicPartition(self._topic, partition), offset)
        except BaseException:
            await consumer.end(0)
            raise
        return consumer

    async def _judge(self, *, idle: bool) -> None:
        """Count idle batches; drop a consumer that was given nothing although there is something."""
        if not idle:
            self._idle = self._behind = 0
            return
        self._idle += 1
        if self._checking is None:
            if self._idle % CHECK_AFTER_IDLE == 0:
                self._checking = asyncio.create_task(self._more_to_read())
        elif self._checking.done():
            checking, self._checking = self._checking, None
            self._behind = self._behind + 1 if checking.result() else 0
            if self._behind == PATIENCE:
                await self._drop("it was given nothing although there is more")
            elif self._behind:
                self._checking = asyncio.create_task(self._more_to_read())

    async def _more_to_read(self) -> bool:
        try:
            ends = await self._ends()
        except Unavailable:
            return True  # perhaps the addresses of old are dead: a fresh start looks at the bootstrap servers again
        return any(ends[partition] > offset for partition, offset in self._positions.items())

    async def _drop(self, reason: str) -> None:
        logger.warning("kafka consumer replaced", topic=self._topic, reason=reason)
        self._idle = self._behind = 0
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.end(0)

    async def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        if self._opening is not None:
            await settle(self._opening)
            if not self._opening.cancelled() and self._opening.exception() is None:
                await self._opening.result().end(0)
        if self._consumer is not None:
            await self._consumer.end(0)


def to_records(found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> list[Record]:
    """aiokafka's records as ours, in order within each partition. Missing keys and values read as empty."""
    return [
        Record(
            topic=one.topic,
            partition=one.partition,
            offset=one.offset,
            timestamp=one.timestamp,
            key=one.key or b"",
            value=one.value or b"",
            headers=tuple((name, value if value is not None else b"") for name, value in one.headers),
        )
        for records in found.values()
        for one in records
    ]
