"""Two streams processes and a gateway that reach MongoDB over a wire, and what Kafka knows of their groups."""

import json
import os
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from gateway.identity.keys import new_key
from operations.stack import tether
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.kafka_clients import connection_options
from repo.mongo import MongoDatabase
from schemas.topics import COMMANDS, DISPATCH, EVENTS
from streams.core.policy import Policy
from streams.inspector import INSPECTED, consumer_of
from tests.outages.mongo_wire import MongoWire
from tests.servers import closed_port, settings_of
from tests.streams.streams_process import StreamsProcess, eventually
from tests.streams.submissions import new_id

TOPIC_OF = {"ledger": COMMANDS, "scheduler": DISPATCH, "janitor": EVENTS}
GROUPS = {f"openv-{role}": topic.partitions for role, topic in TOPIC_OF.items()}
LIMITS = {"OPENV_MAX_ACTIVE": "100", "OPENV_RATE_LIMIT": "1000", "MONTHLY_LIMIT_SECONDS": "100"}
POLICY = Policy(max_active=100, rate_limit=1000, monthly_limit_seconds=100.0)

# Whoever is killed takes its processes with it: an interrupted run leaves none behind.
_TETHERED = (sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), sys.executable, "-m")

PATIENCE_S = 120.0  # with what has to come, however slow the machine
# Each request on a connection of its own: uvicorn closes an idle one just when a slow client takes it again.
_ANY = httpx.Limits(max_connections=None, max_keepalive_connections=0)
Members = dict[str, dict[str, list[int]]]


class Streams(StreamsProcess):
    """``python -m streams``."""

    COMMAND = (*_TETHERED, "streams")

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; a line that is no JSON (a traceback, say) as ``{"event": line}``.

        Without Faust's complaints that its timers run late, which are about the machine.
        """
        lines = self.log.read_text(errors="replace").splitlines()
        read = [json.loads(line) if line.startswith("{") else {"event": line} for line in lines]
        return [line for line in read if line.get("logger") != "mode.timers"]


class Gateway(Streams):
    """``python -m gateway`` on a free port."""

    COMMAND = (*_TETHERED, "gateway")

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{closed_port()}"
        port = str(urlsplit(self.url).port)
        super().__init__({**environment, "OPENV_HOST": "127.0.0.1", "OPENV_PORT": port}, log)


class World:
    """``async with World(environment, folder) as world``: everything is ready, and nothing has happened yet.

    ``store`` and ``log`` do not use the wire. ``environment`` names the servers; ``timings`` replace those of the
    streams under test.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, timings: Mapping[str, str] | None = None) -> None:
        database = {"MONGODB_DATABASE": new_id("away_")}
        self._direct = {**environment, **database}
        self._folder = folder
        self._timings = dict(timings or {})
        target = urlsplit(environment["MONGODB_URI"])
        self.address = (target.hostname or "", target.port or 0)
        self.wire = MongoWire(*self.address)
        self._started: list[Streams] = []
        self.streams: list[Streams] = []
        self.user_id = new_id("http-")
        self.users = {self.user_id}
        self.starts: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        settings = settings_of(self._direct)
        self.log = KafkaEventLog(settings, client_id="outages")
        await self.log.start()
        self.database = MongoDatabase(settings)
        await self.database.__aenter__()
        self.store = self.database.jobs
        self._admin = AIOKafkaAdminClient(**connection_options(settings), request_timeout_ms=30_000)
        try:
            await self._admin.start()
            await self._begin()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for one in self._started:
            one.close()
        await self.wire.cut()
        await self._admin.close()
        await self.log.stop()
        await self.database.__aexit__(None, None, None)

    async def _begin(self) -> None:
        await self.database.prepare()
        await self._pass_over_what_others_left()
        self.starts = await self.log.ends(COMMANDS.name)
        self._secret, key = new_key(self.user_id, now=now_ms())
        await self.database.access.store_api_key(key)
        await self.wire.mend()
        self.streams = [self.start_streams(), self.start_streams()]
        self.gateway = self.start_gateway()
        for one in (*self.streams, self.gateway):
            await one.ready(2 * PATIENCE_S)

    async def _pass_over_what_others_left(self) -> None:
        """What other tests wrote to the topics, bad messages too, is none of this world's business."""
        for topic in INSPECTED:
            await self._note(consumer_of(topic), await self.log.ends(topic.name))
        for role, topic in TOPIC_OF.items():
            ends = await self.log.ends(topic.name)
            await self._note(role, ends)
            consumer = AIOKafkaConsumer(
                **connection_options(settings_of(self._direct)), group_id=f"openv-{role}", enable_auto_commit=False
            )
            async with consumer:
                places = {TopicPartition(topic.name, partition): end for partition, end in ends.items()}
                consumer.assign(list(places))
                await consumer.commit(places)

    async def _note(self, consumer: str, ends: Mapping[int, int]) -> None:
        await self.store.store_applied_offsets(consumer, {partition: end - 1 for partition, end in ends.items()})

    @property
    def _over_the_wire(self) -> dict[str, str]:
        uri = f"mongodb://127.0.0.1:{self.wire.port}/?directConnection=true"
        return {**self._direct, **LIMITS, **self._timings, "MONGODB_URI": uri}

    def start_streams(self) -> Streams:
        """Another streams process; ended with the world, however it stands."""
        one = Streams(self._over_the_wire, self._folder / f"streams-{len(self._started)}.log")
        self._started.append(one)
        return one

    def start_gateway(self) -> Gateway:
        """Another gateway; likewise."""
        one = Gateway(self._over_the_wire, self._folder / f"gateway-{len(self._started)}.log")
        self._started.append(one)
        return one

    def http(self) -> httpx.AsyncClient:
        """A client of the gateway that now is, as the world's user. 30 s is how long any answer may take."""
        headers = {"Authorization": f"Bearer {self._secret}"}
        return httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=30, trust_env=False, limits=_ANY)

    def forget(self) -> None:
        """What the streams told their supervisor so far; what they say after this is new."""
        for one in self.streams:
            one.hear()
            one.statuses.clear()

    async def members(self) -> Members:
        """By group: every member and its partitions, as the broker has them. Empty where a rebalance goes on."""
        found: Members = {}
        for name in GROUPS:  # one at a time: aiokafka 0.14 reads a second group of an answer from the wrong place
            (answer,) = await self._admin.describe_consumer_groups([name])
            for _, group, state, _, _, members, *_ in answer.groups:
                known = {} if state != "Stable" else {member[0]: _partitions(member[4]) for member in members}
                found[group] = known
        return found

    async def settled_members(self, count: int) -> Members:
        """The groups once each has this many members, and every partition has its owner."""

        async def settled() -> Members | None:
            members = await self.members()
            for group, partitions in GROUPS.items():
                owned = members.get(group, {})
                if len(owned) != count or sorted(chain(*owned.values())) != list(range(partitions)):
                    return None
            return members

        found = await eventually(settled, PATIENCE_S, what=f"{count} members in each of {list(GROUPS)}")
        assert found is not None
        return found


def _partitions(assignment: bytes) -> list[int]:
    if not assignment:
        return []
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return sorted(partition for _, partitions in decoded.assignment for partition in partitions)
