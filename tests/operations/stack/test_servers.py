"""The real servers: what they keep over kills, restarts and new ports, and what a stop leaves behind."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import aioboto3
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from motor.motor_asyncio import AsyncIOMotorClient

from operations.stack.errors import StackError
from operations.stack.servers import EmbeddedServers
from operations.stack.supervisor import Change, PartState
from tests.operations.stack.programs import alive, until

pytestmark = pytest.mark.servers

TOPIC = TopicPartition("kept", 0)


async def _write(environment: Mapping[str, str]) -> None:
    kafka = environment["KAFKA_BOOTSTRAP_SERVERS"]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC.topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(TOPIC.topic, b"an event")
    # What a consumer group has read is kept, too.
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id="readers", enable_auto_commit=False)
    async with consumer:
        consumer.assign([TOPIC])
        await consumer.commit({TOPIC: 1})
    with closing(AsyncIOMotorClient(environment["MONGODB_URI"])) as client:
        await client.openv.jobs.insert_one({"_id": "a job", "state": "queued"})
    async with _s3(environment) as store:
        await store.put_object(Bucket=environment["S3_BUCKET"], Key="a/video.mp4", Body=b"a video")


async def _read(environment: Mapping[str, str]) -> dict[str, object]:
    kafka = environment["KAFKA_BOOTSTRAP_SERVERS"]
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id="readers", enable_auto_commit=False) as consumer:
        consumer.assign([TOPIC])
        # For some milliseconds after a kill the coordinator knows only what was checkpointed (once a second).
        deadline = time.monotonic() + 20
        while (committed := await consumer.committed(TOPIC)) is None and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await consumer.seek_to_beginning(TOPIC)
        event = (await consumer.getone()).value
    with closing(AsyncIOMotorClient(environment["MONGODB_URI"])) as client:
        job = await client.openv.jobs.find_one({"_id": "a job"})
    async with _s3(environment) as store:
        answer = await store.get_object(Bucket=environment["S3_BUCKET"], Key="a/video.mp4")
        video = await answer["Body"].read()
    return {"event": event, "committed": committed, "job": job, "video": video}


WRITTEN = {"event": b"an event", "committed": 1, "job": {"_id": "a job", "state": "queued"}, "video": b"a video"}


def _s3(environment: Mapping[str, str], secret: str | None = None) -> "aioboto3.session.ResourceCreatorContext":
    return aioboto3.Session().client(
        "s3",
        endpoint_url=environment["S3_ENDPOINT_URL"],
        aws_access_key_id=environment["S3_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or environment["S3_SECRET_ACCESS_KEY"],
        region_name=environment["S3_REGION"],
    )


def _pids(servers: EmbeddedServers) -> dict[str, int]:
    return {name: change.pid for name, change in servers.supervisor.states.items() if change.pid is not None}


async def _kill_each(servers: EmbeddedServers) -> None:
    before = _pids(servers)
    assert sorted(before) == ["kafka", "mongo", "s3"]
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    await until(
        lambda: sorted(_pids(servers)) == sorted(before) and not set(_pids(servers).values()) & set(before.values()), 60
    )


async def test_what_was_written_outlives_kills_stops_and_new_ports(tmp_path: Path) -> None:
    path = tmp_path / "data"
    first = EmbeddedServers(path)
    async with first as environment:
        await _write(environment)
        with pytest.raises(StackError, match=f"already runs on .*process {os.getpid()}"):
            async with EmbeddedServers(path):
                pass
        await _kill_each(first)
        assert await _read(environment) == WRITTEN
        pids = _pids(first)
    assert not any(alive(pid) for pid in pids.values())

    ports = {server: dict(named) for server, named in json.loads((path / "ports.json").read_text()).items()}
    with ExitStack() as taken:
        for server, name in (
            ("kafka", "broker"),
            ("kafka", "controller"),
            ("mongo", "server"),
            ("s3", "s3.port"),
            ("s3", "master.port"),
        ):
            taken.enter_context(socket.create_server(("127.0.0.1", ports[server][name])))
        async with EmbeddedServers(path) as environment:
            assert str(ports["kafka"]["broker"]) not in environment["KAFKA_BOOTSTRAP_SERVERS"]
            assert await _read(environment) == WRITTEN


async def test_a_port_lost_to_another_program_at_the_last_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[Change] = []
    external = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        path = tmp_path / "data"
        async with EmbeddedServers(path, external):
            pass
        port = other.getsockname()[1]
        (path / "ports.json").write_text(json.dumps({"mongo": {"server": port}}))
        looks: list[int] = []

        def free_at_the_first_look(candidate: int) -> bool:
            looks.append(candidate)
            return candidate != port or looks.count(port) == 1

        monkeypatch.setattr("operations.stack.ports.is_free", free_at_the_first_look)
        async with EmbeddedServers(path, external, changes.append) as environment:
            assert f":{port}/" not in environment["MONGODB_URI"]
    died = [change for change in changes if change.state is PartState.DIED]
    assert [f"the address 127.0.0.1:{port} is taken" in change.detail for change in died] == [True]


async def test_servers_that_are_named_are_not_started(tmp_path: Path) -> None:
    external = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.internal:9092", "MONGODB_URI": "mongodb://db.internal"}
    servers = EmbeddedServers(tmp_path / "data", external)
    async with servers as environment:
        assert list(_pids(servers)) == ["s3"]
        assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka.internal:9092"
        assert environment["MONGODB_URI"] == "mongodb://db.internal"
        async with _s3(environment, secret="wrong") as store:
            with pytest.raises(store.exceptions.ClientError, match="SignatureDoesNotMatch"):
                await store.list_buckets()
        keys = tmp_path / "data" / "s3" / "s3.json"
        assert keys.stat().st_mode & 0o777 == 0o600


async def test_with_all_servers_named_nothing_is_started(tmp_path: Path) -> None:
    external = {"KAFKA_BOOTSTRAP_SERVERS": "k:1", "MONGODB_URI": "mongodb://m", "S3_ENDPOINT_URL": "http://s"}
    servers = EmbeddedServers(tmp_path / "data", external)
    async with servers:
        assert servers.supervisor.states == {}
