"""The event log on Kafka, through aiokafka: one idempotent producer a process, and consumers without groups.

aiokafka retries a batch of an idempotent producer until it is in the log, in order, however long the broker is away;
only our callers' patience is bounded. So an append that raised ``Unavailable`` may still land, once. Where the
producer itself fails (a fatal error, or nothing delivered for ``GIVE_UP_AFTER_S``), a new one takes its place.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from repo.core.sizes import check_size
from repo.kafka_clients import Consumer, Producer, Reconnecting, connection_options, describe, within
from repo.kafka_tail import follow, to_records
from repo.partitions import partition_of, partitions_of
from repo.ports import Position, Unavailable
from repo.settings import ServerSettings
from schemas.codec import Encoded, Record
from schemas.topics import RECORD_MAX, TOPICS

logger = structlog.get_logger()
R = TypeVar("R")

GIVE_UP_AFTER_S = 30.0


class KafkaEventLog:
    """``async with KafkaEventLog(settings, client_id="gateway") as log``. Implements ``EventLog``.

    Entering never waits for Kafka: it connects in the background, and so it does after every outage. ``timeout_s``
    bounds every call but ``tail``.
    """

    def __init__(self, settings: ServerSettings, client_id: str, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._client_id = client_id
        self._timeout_s = timeout_s
        self._producer = Reconnecting(self._new_producer)
        self._queries = Reconnecting(self._new_consumer)
        self._failing_since: float | None = None
        self._first_connection: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to connect. Raises OSError only for a CA file that can't be read."""
        self._options = connection_options(self._settings)
        self._first_connection = asyncio.create_task(self._producer.get())

    async def stop(self) -> None:
        """Deliver what is on its way, as far as ``timeout_s`` allows, and disconnect."""
        if self._first_connection is not None:
            self._first_connection.cancel()
            await asyncio.gather(self._first_connection, return_exceptions=True)
        await self._producer.close(self._timeout_s)
        await self._queries.close(0)

    async def append(self, message: Encoded, *, partition: int | None = None) -> Position:
        """See ``EventLog.append``."""
        (position,) = await self._send([message], partition)
        return position

    async def append_all(self, messages: Sequence[Encoded]) -> list[Position]:
        """See ``EventLog.append_all``."""
        return await self._send(messages, None)

    async def _send(self, messages: Sequence[Encoded], partition: int | None) -> list[Position]:
        for message in messages:
            check_size(message)
            _check_partitions(message.topic, () if partition is None else (partition,))
        try:
            async with asyncio.timeout(self._timeout_s):
                producer = await self._producer.get()
                positions = await self._deliver(producer, messages, partition)
        except TimeoutError:
            raise Unavailable("kafka", f"no acknowledgement in {self._timeout_s:g} s") from None
        self._failing_since = None
        return positions

    async def _deliver(self, producer: Producer, messages: Sequence[Encoded], partition: int | None) -> list[Position]:
        try:
            sent = [await self._enqueue(producer, message, partition) for message in messages]
            results = await asyncio.gather(*sent, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        except asyncio.CancelledError:
            self._note_silence(producer)
            raise
        except (KafkaError, AssertionError, TypeError) as failure:
            # After a failed batch the broker refuses the ones behind it (their sequence numbers have a gap), and an
            # assertion or a TypeError is aiokafka's way to say that its metadata lost the topic: start afresh.
            self._producer.discard(producer)
            logger.warning("kafka producer replaced", reason=describe(failure))
            raise Unavailable("kafka", describe(failure)) from failure
        return [_position(result) for result in results]

    async def _enqueue(self, producer: Producer, message: Encoded, partition: int | None) -> "asyncio.Future[Any]":
        """Messages enter their partition's queue in the order of these calls; the future is the acknowledgement."""
        where = partition_of(message.topic, message.key) if partition is None else partition
        future: asyncio.Future[Any] = await producer.send(
            message.topic, message.value, key=message.key, partition=where, headers=list(message.headers)
        )
        future.add_done_callback(_seen)
        return future

    def _note_silence(self, producer: Producer) -> None:
        """A caller ran out of patience. A producer that delivers nothing for long may look at addresses of old."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since > GIVE_UP_AFTER_S:
            self._failing_since = None
            self._producer.discard(producer)
            logger.warning("kafka producer replaced", reason=f"nothing delivered for {GIVE_UP_AFTER_S:g} s")

    async def ends(self, topic: str) -> dict[int, int]:
        """See ``EventLog.ends``."""
        return await self._ask(self._offsets(topic, "end_offsets"))

    async def starts(self, topic: str) -> dict[int, int]:
        """See ``EventLog.starts``."""
        return await self._ask(self._offsets(topic, "beginning_offsets"))

    async def offsets_at(self, topic: str, timestamp: int) -> dict[int, int]:
        """See ``EventLog.offsets_at``."""

        async def ask() -> dict[int, int]:
            # The ends first: a record that comes in between is then after them, not skipped.
            ends = await self._offsets(topic, "end_offsets")
            consumer = await self._queries.get()
            wanted = {TopicPartition(topic, partition): max(0, timestamp) for partition in ends}
            found = await consumer.offsets_for_times(wanted)
            return {at.partition: ends[at.partition] if hit is None else hit.offset for at, hit in found.items()}

        return await self._ask(ask())

    async def _offsets(self, topic: str, which: str) -> dict[int, int]:
        partitions = [TopicPartition(topic, partition) for partition in partitions_of(topic)]
        consumer = await self._queries.get()
        found = await getattr(consumer, which)(partitions)
        return {at.partition: int(found[at]) for at in partitions}

    def tail(self, topic: str, start: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
        """See ``EventLog.tail``."""
        _check_partitions(topic, start)
        return follow(self._new_consumer, lambda: self.ends(topic), topic, start)

    async def read(self, topic: str, partition: int, start: int, stop: int) -> list[Record]:
        """See ``EventLog.read``."""
        _check_partitions(topic, (partition,))
        first = max(start, (await self.starts(topic))[partition])
        last = min(stop, (await self.ends(topic))[partition])
        return await self._ask(self._range(TopicPartition(topic, partition), first, last)) if first < last else []

    async def _range(self, at: TopicPartition, first: int, last: int) -> list[Record]:
        consumer = self._new_consumer()
        records: list[Record] = []
        try:
            await consumer.start()
            consumer.assign([at])
            consumer.seek(at, first)
            while await consumer.position(at) < last:
                records += to_records(await consumer.getmany(at, timeout_ms=200))
        finally:
            await consumer.end(0)
        return [record for record in records if first <= record.offset < last]

    def partition_of(self, topic: str, key: bytes) -> int:
        """See ``EventLog.partition_of``."""
        return partition_of(topic, key)

    async def ping(self) -> None:
        """See ``EventLog.ping``."""

        async def ask() -> set[str]:
            return set(await (await self._queries.get()).topics())

        missing = sorted(set(TOPICS) - await self._ask(ask()))
        if missing:
            raise Unavailable("kafka", f"missing topics: {', '.join(missing)}; run `openv topics apply`")

    async def _ask(self, question: Coroutine[Any, Any, R]) -> R:
        """The answer in bounded time; after a silence the next question goes through a new connection."""
        consumer = self._queries.current
        try:
            return await within(self._timeout_s, question)
        except Unavailable:
            if consumer is not None:
                self._queries.discard(consumer)
            raise

    def _new_producer(self) -> Producer:
        return Producer(
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_request_size=RECORD_MAX,
            request_timeout_ms=int(self._timeout_s * 1000),
            **self._options,
        )

    def _new_consumer(self) -> Consumer:
        return Consumer(
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=int(self._timeout_s * 1000),
            **self._options,
        )


def _seen(acknowledgement: "asyncio.Future[Any]") -> None:
    """A failure that nobody waits for any more is no news for the loop's log."""
    if not acknowledgement.cancelled():
        acknowledgement.exception()


def _check_partitions(topic: str, partitions: Iterable[int]) -> None:
    unknown = set(partitions) - set(partitions_of(topic))
    if unknown:
        raise ValueError(f"{topic} has no partition {min(unknown)}")


def _position(acknowledged: Any) -> Position:
    if acknowledged.offset < 0:  # durable, but the broker no longer knew where: let the caller repeat it
        raise Unavailable("kafka", "the record's offset is not known any more")
    return Position(acknowledged.partition, acknowledged.offset, _when(acknowledged))


def _when(acknowledged: Any) -> int | None:
    """The broker's time, on a topic that has it; else None."""
    at = acknowledged.timestamp
    return int(at) if at is not None and at >= 0 else None
