"""The process ``python -m gateway``: starting without its servers, stopping, being killed, and what survives that."""

import asyncio
import os
import signal
import socket as sockets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.identity.keys import new_key
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_jobs import MongoJobStore
from schemas.api.live import CloseCode
from schemas.codec import decode, encode
from schemas.commands import SubmitJob
from schemas.events import CommandAnswered, JobEvent, Outcome
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import COMMANDS
from tests.gateway.sockets import socket
from tests.gateway.world import REMAINING, eventually, job
from tests.servers import Wire, closed_port

ROOT = Path(__file__).parents[2]


def nowhere() -> dict[str, str]:
    """Servers that are not there."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port()}",
        "MONGODB_URI": f"mongodb://127.0.0.1:{closed_port()}",
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}",
        "S3_ACCESS_KEY_ID": "a",
        "S3_SECRET_ACCESS_KEY": "b",
    }


@asynccontextmanager
async def process(environment: Mapping[str, str], **settings: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """One gateway process; killed at the end if it still runs."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENV_", "KAFKA_", "MONGODB_", "S3_"))
    }
    given = {f"OPENV_{name.upper()}": str(value) for name, value in settings.items()}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=ROOT, env=own | dict(environment) | given,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    draining = asyncio.create_task(running.communicate())
    running.said = draining  # type: ignore[attr-defined]
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await draining


async def output(running: asyncio.subprocess.Process) -> str:
    """All that an ended process wrote."""
    out, err = await running.said  # type: ignore[attr-defined]
    return (out + err).decode()


async def answer(port: int, path: str) -> httpx.Response | None:
    """The answer of a gateway that may not listen yet."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        try:
            return await http.get(path)
        except httpx.HTTPError:
            return None


async def ready(port: int, status: int = 200) -> dict[str, Any]:
    """Wait until /readyz says so; its body."""

    async def asked() -> dict[str, Any] | None:
        said = await answer(port, "/readyz")
        return dict(said.json()) if said is not None and said.status_code == status else None

    return dict(await eventually(asked, 40))


async def test_a_port_that_is_taken_is_one_sentence_with_the_way_out() -> None:
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with process(nowhere(), port=port) as running:
            said = await output(running)
    assert running.returncode == 1
    assert (
        said == f"Port {port} on 127.0.0.1 is taken: stop the program that has it, or choose another with OPENV_PORT.\n"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [({"OPENV_PORT": "x"}, "OPENV_PORT"), ({"KAFKA_BOOTSTRAP_SERVERS": ""}, "KAFKA_BOOTSTRAP_SERVERS")],
)
async def test_a_wrong_setting_is_one_sentence(change: dict[str, str], words: str) -> None:
    async with process(nowhere() | change) as running:
        said = await output(running)
    assert running.returncode == 1
    assert words in said
    assert said.count("\n") == 1


async def test_without_any_server_it_serves_says_what_is_missing_and_stops_in_order() -> None:
    port = closed_port()
    async with process(nowhere(), port=port) as running:
        assert (await ready(port, 503))["missing"] == ["kafka", "mongodb"]
        health = await answer(port, "/healthz")
        assert health is not None
        assert health.status_code == 200
        assert "server" not in health.headers
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            headers = {"Authorization": f"Bearer {new_key('ada', now=0)[0]}"}
            refused = await http.post("/api/runpod", json={"prompt": "a"}, headers=headers)
            assert (refused.status_code, refused.json()["missing"]) == (503, ["mongodb"])
            assert "retry-after" in refused.headers
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            await output(running)
        assert running.returncode == 0


@pytest.fixture
def environment(servers: dict[str, str], database: str) -> dict[str, str]:
    return servers | {"MONGODB_DATABASE": database}


async def user_with_key(mongo: MongoDatabase) -> tuple[str, str]:
    user = f"user-{uuid4().hex[:8]}"
    secret, key = new_key(user, now=now_ms())
    await mongo.access.store_api_key(key)
    return user, secret


async def write(log: KafkaEventLog, store: MongoJobStore, made: Job) -> None:
    """As the ledger does it: the document, then the event."""
    assert await store.store_job(made, made.version - 1)
    await log.append(encode(JobEvent(made), source="/test", at=now_ms()))


def fresh(user: str) -> Job:
    return job(str(uuid4()), user, at=now_ms())


def queued(job_id: str) -> Any:
    return lambda frame: frame["type"] == "event" and frame["data"]["jobId"] == job_id


@pytest.mark.servers
async def test_a_socket_resumed_by_position_over_a_killed_gateway_misses_nothing(
    environment: dict[str, str], kafka_log: KafkaEventLog, job_store: MongoJobStore, mongo: MongoDatabase
) -> None:
    user, key = await user_with_key(mongo)
    other, _ = await user_with_key(mongo)
    seen: list[Job] = [fresh(user) for _ in range(12)]
    port = closed_port()
    async with process(environment, port=port) as running:
        await ready(port)
        async with socket(f"127.0.0.1:{port}", key, subscribe={}) as client:
            await client.until(lambda frame: frame["type"] == "snapshot")
            for made in seen[:3]:
                await write(kafka_log, job_store, made)
            position = (await client.until(queued(seen[2].job_id)))[-1]["position"]
            running.kill()
            assert await client.closed() == 1006
        await output(running)
    for made in seen[3:9]:
        await write(kafka_log, job_store, made)
        await write(kafka_log, job_store, fresh(other))
    async with process(environment, port=port) as running:
        await ready(port)
        async with socket(f"127.0.0.1:{port}", key, subscribe={"position": position}) as client:
            for made in seen[9:]:
                await write(kafka_log, job_store, made)
            frames = await client.until(queued(seen[-1].job_id))
            assert frames[0] == {"type": "resumed", "recovered": True}
            assert [frame["data"]["jobId"] for frame in frames[1:]] == [made.job_id for made in seen[3:]]
            running.send_signal(signal.SIGTERM)
            assert await client.closed() == CloseCode.RESTARTING
        async with asyncio.timeout(5):
            said = await output(running)
        assert running.returncode == 0
    assert key not in said
    assert "Traceback" not in said


@pytest.mark.servers
async def test_a_position_of_another_gateway_process_is_good_here(
    environment: dict[str, str], kafka_log: KafkaEventLog, job_store: MongoJobStore, mongo: MongoDatabase
) -> None:
    user, key = await user_with_key(mongo)
    ports = closed_port(), closed_port()
    async with process(environment, port=ports[0]), process(environment, port=ports[1]):
        for port in ports:
            await ready(port)
        position: str | None = None
        for turn in range(6):
            made = fresh(user)
            ask = {"position": position} if position else {}
            async with socket(f"127.0.0.1:{ports[turn % 2]}", key, subscribe=ask) as client:
                assert (await client.receive())["type"] == ("resumed" if position else "snapshot")
                await write(kafka_log, job_store, made)
                frames = await client.until(queued(made.job_id))
                assert [frame["type"] for frame in frames] == ["event"]
                position = frames[-1]["position"]


@pytest.mark.servers
async def test_a_decision_comes_back_through_kafka(
    environment: dict[str, str], kafka_log: KafkaEventLog, job_store: MongoJobStore, mongo: MongoDatabase
) -> None:
    user, key = await user_with_key(mongo)
    port = closed_port()
    start = await kafka_log.ends(COMMANDS.name)
    deciding = asyncio.create_task(decide(kafka_log, job_store, start, user))
    try:
        async with process(environment, port=port):
            await ready(port)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                headers = {"Authorization": f"Bearer {key}"}
                made = await http.post("/api/runpod", json={"prompt": "a"}, headers=headers)
                assert made.status_code == 200, made.text
                assert (made.json()["userId"], made.json()["count"]) == (user, 1)
                listed = await http.get("/api/videos", headers=headers)
                assert [row["jobId"] for row in listed.json()] == [made.json()["jobId"]]
    finally:
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)


async def decide(log: KafkaEventLog, store: MongoJobStore, start: dict[int, int], user: str) -> None:
    """Admit what this user submits."""
    async for batch in log.tail(COMMANDS.name, start):
        for record in batch:
            command = decode(record)
            if isinstance(command, SubmitJob) and command.user_id == user:
                made = job(command.job_id, user, State.QUEUED, at=now_ms())
                await write(log, store, replace(made, request=command.request, request_hash=command.request_hash))
                done = CommandAnswered(
                    command_id=command.command_id, user_id=user, outcome=Outcome.ADMITTED,
                    job_id=command.job_id, version=1, remaining=REMAINING,
                )  # fmt: skip
                await log.append(encode(done, source="/test", at=now_ms()))


@pytest.mark.servers
async def test_mongodb_may_come_late_go_and_come_back(environment: dict[str, str], mongo: MongoDatabase) -> None:
    _, key = await user_with_key(mongo)
    address = httpx.URL(environment["MONGODB_URI"].replace("mongodb://", "http://"))
    port = closed_port()
    async with Wire(address.host, address.port or 27017) as wire:
        uri = environment["MONGODB_URI"].replace(f"{address.host}:{address.port}", f"127.0.0.1:{wire.port}")
        await wire.cut()
        async with process(environment | {"MONGODB_URI": uri}, port=port):
            assert (await ready(port, 503))["missing"][-1:] == ["mongodb"]
            for _ in range(2):
                await wire.mend()
                await ready(port)
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                    headers = {"Authorization": f"Bearer {key}"}
                    assert (await http.get("/api/videos", headers=headers)).status_code == 200
                await wire.cut()
                assert (await ready(port, 503))["missing"] == ["mongodb"]
