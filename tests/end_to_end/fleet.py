"""Several gateways, streams and workers as processes of their own on servers of their own, to be killed one by one.

A small supervisor starts again what has died, as ``openv up`` does, and writes down how each life ended: what no test
has done to a process is a fault.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.identity.keys import new_key
from operations.stack.child import Child, Command
from operations.stack.readiness import NotifySocket
from operations.stack.servers import EmbeddedServers
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_jobs import MongoJobStore
from repo.s3 import S3ObjectStore
from repo.topic_admin import TopicAdmin
from schemas.topics import DEADLETTER
from tests.end_to_end.people import Person
from tests.end_to_end.stack import until
from tests.end_to_end.staged_engine import STAGE
from tests.servers import closed_port, settings_of

REPOSITORY = Path(__file__).parents[2]
MODULES = {"gateway": "gateway", "streams": "streams", "worker": "inference_worker"}
EXPECTED = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 0}
LIVES_MOST = 12  # of one process: more are a loop of crashes
# What aiokafka's own reader says when its task is broken off; it replaces the connection, and nothing is lost by it.
HEALED = "Unexpected exception in AIOKafkaConnection"
ALARMS = ("Traceback (most recent call last)", "worker_fault", "unexpected failure", "ending the process")
QUICK = {
    "OPENV_LOG_FORMAT": "json",
    "OPENV_ENGINE": "tests.end_to_end.staged_engine:Staged",
    "OPENV_BEAT_S": "1",
    "OPENV_RETRY_DELAY_SECONDS": "0.5",
    "OPENV_MAX_ACTIVE": "500",
    "OPENV_RATE_LIMIT": "10000",
    "OPENV_SHED_REQUESTS": "10000",
    "MONTHLY_LIMIT_SECONDS": "100000",
    "OPENV_SOCKET_HEARTBEAT_SECONDS": "5",
    "OPENV_STREAMS_SESSION_TIMEOUT_SECONDS": "6",
}


@dataclass
class Life:
    """One process from its start to its end. ``done``: the signal that the test ended it with, if it did."""

    child: Child
    log: Path
    done: signal.Signals | None = None
    code: int | None = None

    def session(self) -> str | None:
        """A worker's session, as its log names it; None if it did not live long enough to say."""
        for line in self.log.read_text(errors="replace").splitlines():
            if '"worker_starts"' in line:
                return str(json.loads(line)["session"])
        return None


@dataclass
class Member:
    """One place in the fleet: ``worker-2`` and all the processes that have held it."""

    name: str
    environ: Mapping[str, str] = field(repr=False)
    logs: Path
    notify: NotifySocket = field(default_factory=NotifySocket)
    lives: list[Life] = field(default_factory=list)
    leaving: bool = False

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def pid(self) -> int:
        return self.life.child.pid

    async def keep(self) -> None:
        """Start it, and again whenever it has ended, until ``leaving``."""
        while not self.leaving and len(self.lives) < LIVES_MOST:
            self.notify.reset()
            log = self.logs / f"{self.name}.{len(self.lives) + 1}.log"
            told = {**os.environ, **self.environ, "NOTIFY_SOCKET": self.notify.address}
            child = Child.start(Command((sys.executable, "-m", MODULES[self.kind]), told, REPOSITORY), log)
            life = Life(child, log)
            self.lives.append(life)
            life.code = await child.wait()

    async def ready(self) -> None:
        """Wait until the newest process says READY."""

        async def look() -> bool:
            return bool(self.lives) and self.life.code is None and self.notify.poll()

        await until(look, f"{self.name} ready")

    def end(self, how: signal.Signals) -> Life:
        """Send a signal that ends it, and write down that it was we."""
        life = self.life
        life.done = how
        os.kill(self.pid, how)
        return life

    async def ended(self, how: signal.Signals) -> Life:
        """End it and wait until another process has its place and is ready."""
        life = self.end(how)

        async def look() -> bool:
            return self.life is not life

        await until(look, f"{self.name} started again")
        await self.ready()
        return life

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[Life]:
        """It stands still, as on a machine that sleeps; it lives on afterwards."""
        life = self.life
        os.kill(life.child.pid, signal.SIGSTOP)
        try:
            yield life
        finally:
            if life.code is None:
                os.kill(life.child.pid, signal.SIGCONT)


@dataclass
class Fleet:
    """The processes, and the servers' own view of what they did."""

    members: dict[str, Member]
    urls: list[str]
    stage: Path
    log: KafkaEventLog
    database: MongoDatabase
    objects: S3ObjectStore

    @property
    def store(self) -> MongoJobStore:
        return self.database.jobs

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def of(self, kind: str) -> list[Member]:
        return [member for member in self.members.values() if member.kind == kind]

    async def ready(self) -> None:
        for member in self.members.values():
            await member.ready()

    @asynccontextmanager
    async def person(self, user_id: str) -> AsyncIterator[Person]:
        """A user with a key, who asks whichever gateway answers."""
        secret, key = new_key(user_id, now=now_ms())
        await self.database.access.store_api_key(key)
        async with Person(user_id, secret, self.urls) as person:
            yield person

    async def applied(self, role: str, topic: str) -> None:
        """Wait until all that is in the topic now has been applied by this role."""
        ends = await self.log.ends(topic)

        async def look() -> bool:
            done = await self.store.applied_offsets(role)
            return all(done.get(partition, -1) >= end - 1 for partition, end in ends.items() if end)

        await until(look, f"the {role} at the end of {topic}")

    async def alarms(self) -> list[str]:
        """Ends that nobody asked for, what should be in no log, and dead letters."""
        starts, ends = await self.log.starts(DEADLETTER.name), await self.log.ends(DEADLETTER.name)
        found = [f"dead letters in partition {number}" for number, end in ends.items() if end > starts[number]]
        for member in self.members.values():
            for number, life in enumerate(member.lives, 1):
                expected = EXPECTED[life.done] if life.done else None
                if life.code != expected:
                    found.append(f"{member.name}, life {number}: ended with {life.code}, expected {expected}")
                lines = life.log.read_text(errors="replace").splitlines()
                found += [f"{life.log.name}: {line}" for line in lines if _alarms(line)]
        return found


def _alarms(line: str) -> bool:
    return HEALED not in line and any(alarm in line for alarm in ALARMS)


@asynccontextmanager
async def sailing(root: Path, names: Iterable[str], **environ: str) -> AsyncIterator[Fleet]:
    """Servers, and a process for each name (``gateway-1``, ``streams-2`` …), ready; all ended at the end."""
    logs, stage = root / "logs", root / "stage"
    async with AsyncExitStack() as stack:
        for folder in (logs, stage):
            folder.mkdir(parents=True)
        servers = await stack.enter_async_context(EmbeddedServers(root / "data"))
        settings = settings_of(servers)
        async with TopicAdmin(settings) as admin:
            await admin.apply()
        told = {**servers, **QUICK, STAGE: str(stage), "OPENV_WORK_DIR": str(root / "work"), **environ}
        ports = {name: str(closed_port()) for name in names if name.startswith("gateway")}
        members = {name: Member(name, told | _own(name, ports), logs) for name in names}
        fleet = Fleet(
            members,
            [f"http://127.0.0.1:{port}" for port in ports.values()],
            stage,
            await stack.enter_async_context(KafkaEventLog(settings, client_id="fleet")),
            await stack.enter_async_context(MongoDatabase(settings)),
            await stack.enter_async_context(S3ObjectStore(settings)),
        )
        await fleet.database.prepare()
        stack.push_async_callback(_end, members.values(), [asyncio.create_task(one.keep()) for one in members.values()])
        await fleet.ready()
        yield fleet


def _own(name: str, ports: Mapping[str, str]) -> dict[str, str]:
    return {"OPENV_PORT": ports[name]} if name in ports else {"OPENV_WORKER_ID": name}


async def _end(members: Iterable[Member], keepers: Iterable[asyncio.Task[None]]) -> None:
    """Kill whatever still runs, awake or suspended."""
    for member in members:
        member.leaving = True
        for life in member.lives:
            if life.code is None:
                life.child.kill()
        member.notify.close()
    await asyncio.gather(*keepers)
