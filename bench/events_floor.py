"""A bare aiokafka consumer of the same bytes as a gateway's feed: it counts them and keeps nothing."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from bench import bare
from bench.driver import Answer, serve
from repo.settings import ServerSettings
from schemas.topics import EVENTS


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the servers of the environment."""
    async with bare.consumer(ServerSettings(), EVENTS.name, range(EVENTS.partitions)) as receiver:

        async def answer(span: dict[str, tuple[int, int]]) -> dict[str, Any]:
            """Read every partition from its first offset to before its last."""
            left = {TopicPartition(EVENTS.name, int(partition)): end for partition, (_, end) in span.items()}
            for partition, (first, _) in span.items():
                receiver.seek(TopicPartition(EVENTS.name, int(partition)), first)
            count = 0
            began, cpu = time.perf_counter(), time.process_time()
            while left:
                for at, records in (await receiver.getmany(timeout_ms=900)).items():
                    count += len(records)
                    if at in left and records[-1].offset + 1 >= left[at]:
                        del left[at]
            return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "count": count}

        yield answer


if __name__ == "__main__":
    serve(answering)
