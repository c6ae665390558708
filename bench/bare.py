"""The baselines' Kafka: aiokafka's own producer and consumer, set as ours are, and a trip through both."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from repo.settings import ServerSettings

PARTITIONS = 8


@asynccontextmanager
async def topics(settings: ServerSettings, *names: str) -> AsyncIterator[None]:
    """Topics of the baseline's own, so that nothing of ours reads along; deleted at the end."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names], timeout_ms=10_000)
        yield
        await admin.delete_topics(list(names), timeout_ms=10_000)
    finally:
        await admin.close()


@asynccontextmanager
async def producer(settings: ServerSettings) -> AsyncIterator[AIOKafkaProducer]:
    """As ``repo/kafka.py`` makes it: idempotent, acks of all, no linger."""
    made = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, acks="all", enable_idempotence=True, linger_ms=0
    )
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def consumer(settings: ServerSettings, topic: str, partitions: Iterable[int]) -> AsyncIterator[AIOKafkaConsumer]:
    """Without a group, assigned and at the ends."""
    made = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers, group_id=None, enable_auto_commit=False)
    await made.start()
    try:
        at = [TopicPartition(topic, partition) for partition in partitions]
        made.assign(at)
        await made.seek_to_end(*at)
        for one in at:
            await made.position(one)
        yield made
    finally:
        await made.stop()


class Trips:
    """Through the broker and back: ``async with Trips(settings, topic, producer).running() as trips``, then ``go``."""

    def __init__(self, settings: ServerSettings, topic: str, sender: AIOKafkaProducer) -> None:
        self._settings = settings
        self._topic = topic
        self._sender = sender
        self._under_way: dict[bytes, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Trips"]:
        """With the consumer at work."""
        async with consumer(self._settings, self._topic, range(PARTITIONS)) as receiver:
            receiving = asyncio.create_task(self._receive(receiver))
            try:
                yield self
            finally:
                receiving.cancel()
                with suppress(asyncio.CancelledError):
                    await receiving

    async def go(self, value: bytes) -> None:
        """Produced, acknowledged and received."""
        key = uuid4().bytes
        arrived = self._under_way[key] = asyncio.get_running_loop().create_future()
        acknowledged = await self._sender.send(self._topic, value, key=key, partition=key[0] % PARTITIONS)
        await acknowledged
        await arrived

    async def _receive(self, receiver: AIOKafkaConsumer) -> None:
        while True:
            for records in (await receiver.getmany(timeout_ms=1000)).values():
                for record in records:
                    self._under_way.pop(record.key).set_result(None)
