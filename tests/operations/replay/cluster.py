"""Topics of a test's own on the real Kafka, filled and read whole; and the command as a process that can be killed."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from repo.settings import ServerSettings
from repo.topic_reader import TopicReader
from repo.topic_writer import TopicWriter
from tests.streams.streams_process import REPOSITORY

PARTITIONS = 4
Row = tuple[int, bytes | None, bytes | None, Sequence[tuple[str, bytes]]]


@asynccontextmanager
async def topics_named(settings: ServerSettings, *names: str) -> AsyncIterator[None]:
    """They are there, and empty."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names], timeout_ms=30_000)
        yield
        await admin.delete_topics(list(names), timeout_ms=30_000)
    finally:
        await admin.close()


async def fill(settings: ServerSettings, topic: str, rows: Sequence[Row]) -> None:
    """Append (partition, key, value, headers)."""
    async with TopicWriter(settings, "tests") as writer:
        for partition, key, value, headers in rows:
            writer.add(topic, partition, key, value, list(headers))
        await (await writer.send()).landed(30)


async def whole(settings: ServerSettings, topic: str, since: Mapping[int, int] | None = None) -> list[ConsumerRecord]:
    """All records, in order within each partition; from these offsets on."""
    found: list[ConsumerRecord] = []
    async with TopicReader(settings, "tests") as reader:
        starts = since if since is not None else await reader.starts(topic)
        ends = await reader.ends(topic)
        reader.begin(topic, {at: (starts[at], ends[at]) for at in ends})
        while (batches := await reader.next(10_000)) is not None:
            for records in batches.values():
                found += records
    return found


class OpenV:
    """``openv`` as processes, against these servers."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = {**os.environ, **environment, "OPENV_LOG_LEVEL": "error"}
        self._folder = folder

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Begun; its output is read by ``ended``."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "operations", *words, "--data-dir", str(self._folder / "nowhere"),
            env=self._environment, cwd=REPOSITORY,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *words: str, code: int = 0) -> str:
        """To its end, which must be this."""
        process = await self.start(*words)
        async with asyncio.timeout(90):
            out, err = await process.communicate()
        assert process.returncode == code, (process.returncode, out.decode(), err.decode())
        return (out if code in (0, 3) else err).decode()

    async def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        """What it prints at its end."""
        text = await self(*words, "--json", code=code)
        found: dict[str, Any] = json.loads(text[text.index("{\n") :])
        return found
