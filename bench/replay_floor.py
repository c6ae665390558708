"""A bare aiokafka loop that copies a topic: getmany, send, await; the same acks and batches as ours."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench import bare
from bench.driver import Answer, serve
from repo.settings import ServerSettings
from repo.topic_reader import FETCH_BYTES
from repo.topic_writer import BATCH_BYTES

UNDER_WAY = 8_000
AT_A_TIME = 2_000


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the Kafka of the environment."""
    address = ServerSettings().kafka_bootstrap_servers

    async def answer(source: str, target: str, count: int) -> dict[str, Any]:
        receiver = AIOKafkaConsumer(
            bootstrap_servers=address, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
        )  # fmt: skip
        sender = AIOKafkaProducer(
            bootstrap_servers=address, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=BATCH_BYTES
        )
        began = time.perf_counter()
        await receiver.start()
        await sender.start()
        try:
            receiver.assign([TopicPartition(source, partition) for partition in range(bare.PARTITIONS)])
            await _copy(receiver, sender, target, count)
        finally:
            await sender.stop()
            await receiver.stop()
        return {"seconds": time.perf_counter() - began}

    yield answer


async def _copy(receiver: AIOKafkaConsumer, sender: AIOKafkaProducer, target: str, count: int) -> None:
    waiting: list[asyncio.Future[Any]] = []
    while count > 0:
        for at, records in (await receiver.getmany(timeout_ms=500, max_records=AT_A_TIME)).items():
            for one in records:
                headers = list(one.headers)
                sent = await sender.send(target, one.value, key=one.key, partition=at.partition, headers=headers)
                waiting.append(sent)
            count -= len(records)
        if len(waiting) > UNDER_WAY:
            await asyncio.gather(*waiting[:-AT_A_TIME])
            del waiting[:-AT_A_TIME]
    await asyncio.gather(*waiting)


if __name__ == "__main__":
    serve(answering)
