"""The baseline of ``makespan.py``: a consumer group, each member working off its partitions one record at a time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer

from bench import bare
from bench.driver import Answer, serve
from repo.settings import ServerSettings

TOPIC = "bench.group"
ASSIGNED_WITHIN_S = 60.0


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the Kafka of the environment."""
    settings = ServerSettings()
    async with bare.topics(settings, TOPIC), bare.producer(settings) as sender:

        async def answer(durations_ms: list[int], workers: int, users: int) -> dict[str, Any]:
            done = asyncio.Semaphore(0)
            async with AsyncExitStack() as stack:
                members = [_member(settings) for _ in range(workers)]
                await asyncio.gather(*(stack.enter_async_context(member) for member in members))
                async with asyncio.timeout(ASSIGNED_WITHIN_S):
                    while not all(member.assignment() for member in members):  # noqa: ASYNC110 -- nobody tells
                        await asyncio.sleep(0.1)
                working = [asyncio.create_task(_work(member, done)) for member in members]
                began = time.perf_counter()
                for number, duration in enumerate(durations_ms):
                    await sender.send(TOPIC, str(duration).encode(), key=f"queue-{number % users}".encode())
                for _ in durations_ms:
                    await done.acquire()
                seconds = time.perf_counter() - began
                for task in working:
                    task.cancel()
                await asyncio.gather(*working, return_exceptions=True)
            return {"seconds": seconds}

        yield answer


def _member(settings: ServerSettings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id="bench-group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


async def _work(member: AIOKafkaConsumer, done: asyncio.Semaphore) -> None:
    async for record in member:
        await asyncio.sleep(int(record.value) / 1000)
        await member.commit()
        done.release()


if __name__ == "__main__":
    serve(answering)
