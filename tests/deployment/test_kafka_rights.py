"""The system under least rights: TLS, a name and a password for each part, and the table of rights as it is printed.

With them a video is made, and nobody can do what is not theirs to do.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.identity.keys import new_key
from operations.core.acls import ALL_TOPICS, PREFIX, TABLE, commands
from operations.stack.servers import EmbeddedServers
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin, TopicError
from schemas.codec import Encoded
from tests.deployment.secure_kafka import SecureKafka, secure_kafka
from tests.end_to_end.fleet import QUICK, Member
from tests.end_to_end.people import Person
from tests.end_to_end.stack import until
from tests.end_to_end.staged_engine import STAGE
from tests.servers import closed_port, settings_of

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(600)]

PARTS = tuple(rights.part for rights in TABLE)
STRANGER = f"{PREFIX}stranger"


@dataclass
class Place:
    """The broker, the other servers' addresses, and a folder."""

    kafka: SecureKafka
    servers: dict[str, str]
    root: Path

    def settings(self, part: str, **changes: str) -> ServerSettings:
        """As this part connects."""
        return settings_of(self.servers | self.kafka.environment(f"{PREFIX}{part}"), **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    root: Path = tmp_path_factory.mktemp("rights")
    names = [f"{PREFIX}{part}" for part in (*PARTS, "stranger")]
    (root / "kafka").mkdir()
    async with secure_kafka(root / "kafka", names, os.environ) as kafka:
        elsewhere = {"KAFKA_BOOTSTRAP_SERVERS": kafka.named}
        async with EmbeddedServers(root / "data", elsewhere) as servers:
            place = Place(kafka, servers, root)

            async def answers() -> bool:
                try:
                    async with TopicAdmin(settings_of(servers | kafka.environment("admin"))):
                        return True
                except Unavailable:
                    return False

            await until(answers, "the broker")
            await kafka.grant(commands(server=kafka.named, config=str(kafka.admin_file())))
            async with TopicAdmin(place.settings("operator")) as admin:
                await admin.apply()
            yield place


async def test_a_video_is_made_under_least_rights(place: Place) -> None:
    stage, logs, port = place.root / "stage", place.root / "logs", closed_port()
    for folder in (stage, logs):
        folder.mkdir()
    told = {**place.servers, **QUICK, STAGE: str(stage), "OPENV_WORK_DIR": str(place.root / "work")}
    own = {"gateway": {"OPENV_PORT": str(port)}, "worker": {"OPENV_WORKER_ID": "worker-1"}}
    members = [
        Member(f"{part}-1", told | place.kafka.environment(f"{PREFIX}{part}") | own.get(part, {}), logs)
        for part in ("gateway", "streams", "worker")
    ]
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(MongoDatabase(place.settings("operator")))
        await database.prepare()
        secret, key = new_key("ann", now=now_ms())
        await database.access.store_api_key(key)
        keepers = [asyncio.create_task(one.keep()) for one in members]
        stack.push_async_callback(_end, members, keepers)
        for one in members:
            await one.ready()
        async with Person("ann", secret, [f"http://127.0.0.1:{port}"]) as ann:
            made = await ann.submit("made", prompt="film something")
            await ann.state(made["jobId"], "completed")
            gone = await ann.submit("gone", prompt="held curtain")
            await ann.state(gone["jobId"], "processing")
            assert await ann.cancel(gone["jobId"])
            await ann.state(gone["jobId"], "cancelled")
        words = [life.log.read_text() for one in members for life in one.lives]
        assert not [line for text in words for line in text.splitlines() if "AuthorizationFailed" in line]


async def _end(members: list[Member], keepers: list["asyncio.Task[None]"]) -> None:
    for member in members:
        member.leaving = True
        for life in member.lives:
            if life.code is None:
                life.child.kill()
        member.notify.close()
    await asyncio.gather(*keepers)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(place: Place) -> Place:
    """Something lies in every topic. No part of ours is running any more."""
    everything = settings_of(place.servers | place.kafka.environment("admin"))
    async with KafkaEventLog(everything, client_id="tests", timeout_s=20) as log:
        for topic in ALL_TOPICS:
            await log.append(_record(topic.name), partition=0)
    return place


@pytest.mark.parametrize("part", PARTS)
async def test_each_part_writes_and_reads_what_is_its_own_and_nothing_else(filled: Place, part: str) -> None:
    (rights,) = [one for one in TABLE if one.part == part]
    settings = filled.settings(part)
    async with KafkaEventLog(settings, client_id="tests", timeout_s=20) as log:
        await log.ping()
        written = {topic.name for topic in ALL_TOPICS if await _may_write(log, topic.name)}
    read = {topic.name for topic in ALL_TOPICS if await _may_read(settings, topic.name)}
    assert written == {topic.name for topic in rights.writes}
    assert read == {topic.name for topic in rights.reads}


async def test_who_has_no_rights_sees_no_topics(place: Place) -> None:
    async with KafkaEventLog(place.settings("stranger"), client_id="tests") as log:
        with pytest.raises(Unavailable, match="missing topics"):
            await log.ping()
    wrong = place.settings("worker", kafka_sasl_password="not it")
    async with KafkaEventLog(wrong, client_id="tests", timeout_s=3) as log:
        with pytest.raises(Unavailable):
            await log.ping()


async def test_only_the_operator_changes_topics(place: Place) -> None:
    for part in ("gateway", "streams", "worker"):
        async with TopicAdmin(place.settings(part)) as admin:
            with pytest.raises((TopicError, Unavailable)):
                await admin.apply()


@pytest.mark.parametrize("password", [None, "a password of the key's"])
async def test_a_part_may_show_a_certificate_instead(place: Place, password: str | None) -> None:
    certificate, key = place.kafka.authority.issue(f"{PREFIX}worker", password)
    shown = {
        "kafka_bootstrap_servers": place.kafka.certified,
        "kafka_security_protocol": "SSL",
        "kafka_ssl_certfile": str(certificate),
        "kafka_ssl_keyfile": str(key),
    }
    more = {"kafka_ssl_key_password": password} if password else {}
    async with KafkaEventLog(place.settings("worker", **shown, **more), client_id="tests", timeout_s=20) as log:
        await log.ping()
        assert await _may_write(log, "openv.commands")
        assert not await _may_write(log, "openv.events")
    without = place.settings("worker", kafka_bootstrap_servers=place.kafka.certified, kafka_security_protocol="SSL")
    async with KafkaEventLog(without, client_id="tests", timeout_s=3) as log:
        with pytest.raises(Unavailable):
            await log.ping()


async def _may_write(log: KafkaEventLog, topic: str) -> bool:
    try:
        await log.append(_record(topic), partition=0)
    except Unavailable as refused:
        if "AuthorizationFailed" not in refused.reason:
            raise
        return False
    return True


async def _may_read(settings: ServerSettings, topic: str) -> bool:
    """Whether the first record is delivered."""
    async with KafkaEventLog(settings, client_id="tests", timeout_s=20) as log:
        try:
            return len(await log.read(topic, 0, 0, 1)) == 1
        except Unavailable as refused:
            if "AuthorizationFailed" not in refused.reason:
                raise
            return False


def _record(topic: str) -> Encoded:
    return Encoded(topic, b"", b"{}", (("ce_type", b"tests"),))
