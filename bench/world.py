"""What a measurement runs on: Kafka, the MongoDB stand-in and S3 of its own, and OpenV's real processes on them."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.driver import ROOT, Failed
from gateway.identity.keys import new_key
from operations.stack.child import Child, Command
from operations.stack.ports import choose
from operations.stack.readiness import NotifySocket
from operations.stack.servers import EmbeddedServers
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from schemas.topics import COMMANDS, DISPATCH, EVENTS

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 6.0
# Limits that no load of ours reaches: what is measured is admission, not refusal.
UNLIMITED = {
    "OPENV_MAX_ACTIVE": "1000000",
    "OPENV_RATE_LIMIT": "1000000",
    "OPENV_SHED_REQUESTS": "1000000",
    "MONTHLY_LIMIT_SECONDS": "100000000",
    # A slow machine makes a slow answer, not one that is given up.
    "OPENV_DECISION_TIMEOUT_SECONDS": "30",
    "OPENV_LOG_LEVEL": "warning",
    "OPENV_LOG_FORMAT": "json",
}


@dataclass(frozen=True)
class User:
    """Somebody with an API key."""

    user_id: str
    key: str


class World:
    """``async with World(folder, quick=…) as world``. ``environment`` is the whole one that our processes are given.

    ``log`` and ``store`` are connected; ``settings`` say where the servers are.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(EmbeddedServers(self.folder))
            self.environment: dict[str, str] = {**servers, **UNLIMITED}
            self.settings = _settings_of(servers)
            async with TopicAdmin(self.settings) as admin:
                await admin.apply()
            async with S3ObjectStore(self.settings) as objects:
                await objects.prepare()
            self.log = await stack.enter_async_context(KafkaEventLog(self.settings, client_id="bench", timeout_s=30))
            database = await stack.enter_async_context(MongoDatabase(self.settings))
            self.store, self.access, self.endpoints = database.jobs, database.access, database.endpoints
            await database.prepare()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def streams(self, **environ: str) -> AsyncIterator[Child]:
        """``python -m streams``, ready: its partitions are assigned."""
        async with self.process("streams", environ) as child:
            yield child

    @asynccontextmanager
    async def gateway(self, **environ: str) -> AsyncIterator["Gateway"]:
        """``python -m gateway`` on a free port, ready: it has read what was on ``openv.events``."""
        port = choose(("gateway",), {})["gateway"]
        async with self.process("gateway", {"OPENV_PORT": str(port), **environ}) as child:
            yield Gateway(child, port)

    @asynccontextmanager
    async def process(self, module: str, environ: Mapping[str, str]) -> AsyncIterator[Child]:
        """Any of our modules that says READY; stopped by SIGTERM at the end. Raises ``Failed``."""
        notify = NotifySocket()
        told = {**self.environment, **environ, "NOTIFY_SOCKET": notify.address}
        logs = self.folder / "logs" / f"{module}.{time.monotonic_ns()}.log"
        child = Child.start(Command((sys.executable, "-m", module), told, ROOT), logs)
        try:
            deadline = time.monotonic() + READY_WITHIN_S
            while not notify.poll():
                if child.exit_code() is not None or time.monotonic() > deadline:
                    raise Failed(f"{module} was not ready: {notify.status or child.last_words()}")
                await asyncio.sleep(0.05)
            yield child
            if child.exit_code() is not None:
                raise Failed(f"{module} ended with {child.exit_code()}: {child.last_words()}")
        finally:
            await child.stop(STOP_WITHIN_S)
            notify.close()

    async def settled(self, within_s: float = 30.0) -> None:
        """Wait until ledger, scheduler and janitor have applied what is in their topics. Raises ``TimeoutError``."""
        async with asyncio.timeout(within_s):
            for role, topic in (("ledger", COMMANDS), ("scheduler", DISPATCH), ("janitor", EVENTS)):
                ends = await self.log.ends(topic.name)
                applied: dict[int, int] = {}
                while any(applied.get(partition, -1) < end - 1 for partition, end in ends.items()):
                    await asyncio.sleep(0.05)
                    applied = await self.store.applied_offsets(role)

    async def users(self, count: int, prefix: str = "user") -> list[User]:
        """Users who have a key, and nothing else yet."""
        made: list[User] = []
        for number in range(count):
            user_id = f"{prefix}-{number}"
            secret, key = new_key(user_id, now=now_ms())
            await self.access.store_api_key(key)
            made.append(User(user_id, secret))
        return made


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _settings_of(environment: Mapping[str, str]) -> ServerSettings:
    """The settings that our processes will read. They read the environment, so it is lent to them for a moment."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        return ServerSettings()
    finally:
        os.environ.clear()
        os.environ.update(before)
