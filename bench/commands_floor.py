"""What one process needs for the I/O of submissions alone: it reads the same records as the ledger did, and for each of
them reads a document, inserts or replaces an account, stores a job and produces three records. Nothing is decided.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from motor.motor_asyncio import AsyncIOMotorClient

from bench import bare
from bench.driver import Answer, serve
from repo.settings import ServerSettings
from schemas.topics import COMMANDS

EVENTS, DISPATCH = "bench.events", "bench.dispatch"
SIZES = ((EVENTS, 1_300), (DISPATCH, 250), (EVENTS, 450))  # of the records that an admission announces
FILLING = "x" * 1_000


class Floor:
    """Records of a partition one after the other, partitions side by side, as in the ledger."""

    def __init__(self, database: Any, sender: AIOKafkaProducer, receiver: AIOKafkaConsumer) -> None:
        self._database = database
        self._sender = sender
        self._receiver = receiver
        self._versions: dict[str, int] = {}

    async def run(self, span: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
        """Every partition from its first offset to before its last; the seconds from the first fetch on."""
        for partition, (first, _) in span.items():
            self._receiver.seek(TopicPartition(COMMANDS.name, partition), first)
        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as lanes:
            for partition, (first, end) in span.items():
                lanes.create_task(self._lane(TopicPartition(COMMANDS.name, partition), end - first))
        count = sum(end - first for first, end in span.values())
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "count": count}

    async def _lane(self, at: TopicPartition, left: int) -> None:
        while left:
            for record in (await self._receiver.getmany(at, timeout_ms=1_000, max_records=left)).get(at, ()):
                job_id = dict(record.headers)["ce_subject"].decode()
                await self._apply(job_id, record.key.decode())
                left -= 1

    async def _apply(self, job_id: str, user_id: str) -> None:
        jobs, accounts = self._database["jobs"], self._database["accounts"]
        await jobs.find_one({"_id": job_id})
        version = self._versions.get(user_id, 0)
        account = {"_id": user_id, "version": version + 1, "filling": FILLING}
        if version == 0:
            await accounts.insert_one(account)
        else:
            await accounts.replace_one({"_id": user_id, "version": version}, account)
        self._versions[user_id] = version + 1
        job = {"_id": job_id, "version": 1, "filling": FILLING}
        await jobs.replace_one({"_id": job_id, "version": {"$lt": 1}}, job, upsert=True)
        key = user_id.encode()
        await asyncio.gather(*[await self._sender.send(topic, b"x" * size, key=key) for topic, size in SIZES])


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the servers of the environment."""
    settings = ServerSettings()
    mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        settings.mongodb_uri, retryWrites=False, w="majority", journal=True
    )
    async with (
        bare.topics(settings, EVENTS, DISPATCH),
        bare.producer(settings) as sender,
        bare.consumer(settings, COMMANDS.name, range(COMMANDS.partitions)) as receiver,
    ):
        floor = Floor(mongo["bench_floor"], sender, receiver)

        async def answer(span: dict[str, tuple[int, int]]) -> dict[str, Any]:
            return await floor.run({int(partition): (first, end) for partition, (first, end) in span.items()})

        yield answer
    mongo.close()


if __name__ == "__main__":
    serve(answering)
