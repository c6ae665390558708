"""A Kafka of a test module's own, which may be frozen and killed, and a gateway and streams on it, as processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from gateway.identity.keys import new_key
from operations.stack import kafka, tether
from operations.stack.child import Child
from operations.stack.jars import ensure_jars, program
from operations.stack.kafka_archive import ensure_archive
from operations.stack.ports import choose
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.topic_admin import TopicAdmin
from schemas.codec import Record
from schemas.lifecycle import State
from tests.gateway.sockets import Client, socket
from tests.servers import closed_port, settings_of
from tests.streams.streams_process import StreamsProcess, eventually
from tests.streams.submissions import new_id

P = TypeVar("P", bound=StreamsProcess)

# Limits are other tests' business.
GENEROUS = {
    "OPENV_MAX_ACTIVE": "500",
    "OPENV_RATE_LIMIT": "10000",
    "OPENV_SHED_REQUESTS": "10000",
    "MONTHLY_LIMIT_SECONDS": "100000",
}
# Whoever is killed takes its processes with it: an interrupted run leaves none behind.
_TETHERED = (sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), sys.executable, "-m")


class Broker:
    """One embedded Kafka over a folder; it keeps its records and its ports whatever is done to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: Child | None = None
        self._ports = choose(kafka.PORTS, {})
        self.address = ""

    async def start(self) -> None:
        """Start it (again) and wait until it answers."""
        java, quiet = program("java"), lambda _line: None
        jars = await ensure_jars(quiet, os.environ)
        archive = await ensure_archive(jars, java, quiet, os.environ)
        server = kafka.KafkaServer(self._folder / "kafka", java, jars.kafka, archive)
        command = await server.prepare(self._ports)
        self._child = Child.start(command, self._folder / "kafka.log")
        self.address = server.address
        await eventually(server.is_ready, 60, what="the broker ready")

    def kill(self) -> None:
        """kill -9."""
        if self._child is not None:
            self._child.kill()

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """Killed; connections are refused until the end."""
        self.kill()
        try:
            yield
        finally:
            await self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still: requests are taken by its host, and carried out only after the end."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WNOWAIT)  # a busy machine takes its time to stop one
            yield
        finally:
            os.kill(self._child.pid, signal.SIGCONT)


class Streams(StreamsProcess):
    """``python -m streams``."""

    COMMAND = (*_TETHERED, "streams")


class Gateway(StreamsProcess):
    """``python -m gateway`` on a free port."""

    COMMAND = (*_TETHERED, "gateway")

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{closed_port()}"
        told = {"OPENV_HOST": "127.0.0.1", "OPENV_PORT": str(urlsplit(self.url).port)}
        super().__init__({**environment, **told}, log)

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


@dataclass(frozen=True)
class User:
    """A user with a key and a client of the gateway."""

    user_id: str
    key: str
    http: httpx.AsyncClient

    async def submit(self, key: str | None = None, **fields: Any) -> dict[str, Any]:
        """The row of a new video, decided; asked for as often as that takes, under one key."""
        headers = {"Idempotency-Key": key or new_id()}

        async def ask() -> dict[str, Any] | None:
            answer = await self.http.post(
                "/api/runpod", json={"prompt": "a corgi", "num_frames": 7, **fields}, headers=headers
            )
            assert answer.status_code in (200, 202, 503), answer.text
            return dict(answer.json()) if answer.status_code == 200 else None

        found = await eventually(ask, 90, what="a decision")
        assert found is not None
        return found


class Started:
    """All processes of a world, so that all are ended with it."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._all: list[StreamsProcess] = []

    def gateway(self) -> Gateway:
        return self._note(Gateway(self._environment, self._log("gateway")))

    def streams(self) -> Streams:
        return self._note(Streams(self._environment, self._log("streams")))

    def close(self) -> None:
        for one in self._all:
            one.close()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}-{len(self._all)}.log"

    def _note(self, one: P) -> P:
        self._all.append(one)
        return one


class World:
    """``log`` and ``store`` are the test's own; ``broker`` is the only server that may come to harm."""

    def __init__(
        self,
        broker: Broker,
        started: "Started",
        log: KafkaEventLog,
        database: MongoDatabase,
    ) -> None:
        self.broker = broker
        self._started = started
        self.gateway = started.gateway()
        self.streams = started.streams()
        self.log = log
        self.database = database
        self.store = database.jobs

    @asynccontextmanager
    async def user(self, user_id: str | None = None) -> AsyncIterator[User]:
        """A user of one's own. 30 s: what a noisy machine may need for any answer."""
        name = user_id or new_id("u-")
        secret, key = new_key(name, now=now_ms())
        await self.database.access.store_api_key(key)
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=30, trust_env=False) as http:
            yield User(name, secret, http)

    @asynccontextmanager
    async def watching(self, user: User) -> AsyncIterator[Client]:
        """A live socket of the user, past its snapshot."""
        async with socket(self.gateway.address, user.key, subscribe={}) as client:
            assert (await client.receive())["type"] == "snapshot"
            yield client

    async def says_ready(self, status: int = 200) -> dict[str, Any]:
        """Wait until /readyz answers with this status; its body."""

        async def look() -> dict[str, Any] | None:
            async with httpx.AsyncClient(base_url=self.gateway.url, timeout=10, trust_env=False) as http:
                answer = await http.get("/readyz")
            return dict(answer.json()) if answer.status_code == status else None

        found = await eventually(look, 60, what=f"readyz {status}")
        assert found is not None
        return found

    async def records(self, topic: str, since: Mapping[int, int]) -> list[Record]:
        """What was written to a topic since then."""
        ends = await self.log.ends(topic)
        return [record for p, end in ends.items() for record in await self.log.read(topic, p, since[p], end)]

    async def queued(self, user_id: str) -> list[str]:
        """The user's jobs that wait to be made."""
        return [job.job_id for job in await self.store.jobs_of(user_id, states=[State.QUEUED])]

    async def applied(self, consumer: str, topic: str) -> None:
        """Wait until this consumer has gone through all that is in the topic now."""
        ends = await self.log.ends(topic)

        async def look() -> bool:
            done = await self.store.applied_offsets(consumer)
            return all(done.get(partition, -1) >= end - 1 for partition, end in ends.items() if end)

        await eventually(look, 60, what=f"{consumer} at the end of {topic}")

    async def replace_streams(self) -> None:
        """Stop the streams in order, and start others."""
        assert await self.streams.terminate() == 0, self.streams.words()
        self.streams = self._started.streams()
        await self.streams.ready(120)

    def unharmed(self) -> None:
        """Both processes are the ones that were started, and nothing went wrong in them."""
        for one in (self.gateway, self.streams):
            assert one.process.poll() is None, one.words()
            assert "Traceback" not in one.log.read_text(errors="replace"), one.words()
            assert "unexpected failure" not in one.log.read_text(errors="replace"), one.words()


@asynccontextmanager
async def sailing(servers: Mapping[str, str], folder: Path, **environ: str) -> AsyncIterator[World]:
    """A world that is ready; MongoDB and S3 are the session's."""
    broker = Broker(folder)
    told = {**servers, **GENEROUS, "MONGODB_DATABASE": new_id("test_"), **environ}
    try:
        await broker.start()
        told["KAFKA_BOOTSTRAP_SERVERS"] = broker.address
        settings, started = settings_of(told), Started(told, folder)
        async with TopicAdmin(settings) as admin:
            await admin.apply()
        async with KafkaEventLog(settings, client_id="outages") as log, MongoDatabase(settings) as database:
            await database.prepare()
            try:
                world = World(broker, started, log, database)
                await asyncio.gather(*(one.ready(120) for one in (world.gateway, world.streams)))
                await world.says_ready()
                yield world
            finally:
                started.close()
    finally:
        broker.kill()
