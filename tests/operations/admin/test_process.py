"""``openv admin`` on real servers: a change through Kafka and MongoDB, read again by ``openv audit``, and its end."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from gateway.identity.keys import new_key
from operations.cli import app
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from repo.topic_reader import TopicReader
from schemas.accounts import Role
from schemas.codec import Record, decode, encode
from schemas.commands import CancelJob
from schemas.events import CommandAnswered, Outcome
from schemas.lifecycle import State
from schemas.topics import COMMANDS, DAY, Topic
from tests.gateway.world import eventually, job
from tests.servers import closed_port

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0


@asynccontextmanager
async def process(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """One ``openv admin``; killed at the end if it still runs."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENV_", "KAFKA_", "MONGODB_", "S3_"))
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "operations", "admin", cwd=ROOT, env=own | dict(environment),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert running.stderr is not None
    # Read all the time: a pipe that is full holds up whoever writes.
    running.said = asyncio.create_task(running.stderr.read())  # type: ignore[attr-defined]
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        await running.said  # type: ignore[attr-defined]


async def cancelled_by(log: KafkaEventLog, job_id: str, start: Mapping[int, int]) -> CancelJob:
    """Answers the command about this job as a ledger would."""
    tail = cast("AsyncGenerator[Sequence[Record]]", log.tail(COMMANDS.name, start))
    async with aclosing(tail) as batches:
        async for batch in batches:
            for record in batch:
                command = decode(record)
                if isinstance(command, CancelJob) and command.job_id == job_id:
                    answer = CommandAnswered(
                        command_id=command.command_id,
                        user_id=command.user_id,
                        outcome=Outcome.DONE,
                        job_id=job_id,
                    )
                    await log.append(encode(answer, source="/test", at=now_ms()))
                    return command
    raise AssertionError


async def work_done(admin: httpx.AsyncClient, begun: httpx.Response) -> dict[str, Any]:
    """How a long work ended."""
    assert begun.status_code == 202, begun.text

    async def look() -> dict[str, Any] | None:
        try:
            work: dict[str, Any] = (await admin.get(begun.headers["Location"])).json()
        except httpx.TransportError:
            return None
        return work if work["state"] in ("done", "failed") else None

    ended: dict[str, Any] = await eventually(look, DEADLINE_S)
    assert ended["state"] == "done", ended
    return ended


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@pytest.fixture
async def port_and_admin(
    servers: dict[str, str], database: str, kafka_log: KafkaEventLog, mongo: MongoDatabase
) -> AsyncIterator[tuple[dict[str, str], httpx.AsyncClient, str]]:
    """The environment of a process, a client of it, and who that is."""
    user = f"root-{uuid4().hex[:8]}"
    secret, stored = new_key(user, now=now_ms(), role=Role.ADMIN)
    await mongo.access.store_api_key(stored)
    port = closed_port()
    told = {**servers, "MONGODB_DATABASE": database, "OPENV_ADMIN_PORT": str(port)}
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=DEADLINE_S) as admin:
        yield told, admin, user


@pytest.mark.servers
async def test_a_replay_outlives_the_process_that_began_it(
    port_and_admin: tuple[dict[str, str], httpx.AsyncClient, str],
    settings: ServerSettings,
    kafka_log: KafkaEventLog,
    tmp_path: Path,
) -> None:
    told, admin, user = port_and_admin
    told = {**told, "OPENV_ADMIN_BACKUP_DIR": str(tmp_path)}
    target = f"tests-admin-{uuid4().hex[:8]}"
    async with TopicAdmin(settings) as topics:
        await topics.apply({target: Topic(target, 1, DAY, ())}, replication_factor=1)
    commands = [CancelJob(command_id=f"{user}-{n}", user_id=user, job_id=str(uuid4()), run=1) for n in range(200)]
    await kafka_log.append_all([encode(command, source="/test", at=now_ms()) for command in commands])
    async with process(told) as running:
        await eventually(lambda: is_ready(admin), DEADLINE_S)
        planned = await admin.post("/replays", json={"source": "commands", "into": target, "users": [user]})
        plan = (await work_done(admin, planned))["result"]
        assert plan["found"]["inScope"] == 200
        path = f"/replays/{plan['id']}"
        assert (await admin.post(f"{path}/execute", json={"digest": "another"})).status_code == 409
        assert (await admin.post(f"{path}/continue")).status_code == 409
        begun = await admin.post(f"{path}/execute", json={"digest": plan["digest"], "rate": 60})

        async def has_written() -> bool:
            return bool((await admin.get(path)).json()["written"])

        await eventually(has_written, DEADLINE_S)
        running.kill()
        await running.wait()
    async with process(told) as running:
        await eventually(lambda: is_ready(admin), DEADLINE_S)
        done = await work_done(admin, begun)
        assert done["tries"] == 2
        assert done["result"]["state"] == "done"
        assert done["result"]["written"] == 200
        assert (await admin.post(f"{path}/continue")).status_code == 409
        letters = await admin.get("/deadletters?limit=1")
        assert letters.status_code == 200, letters.text
        findings = (await work_done(admin, await admin.post("/doctor", json={"only": ["kafka"]})))["result"]
        assert {one["check"] for one in findings["findings"]} == {"kafka"}
        made = (await work_done(admin, await admin.post("/backups")))["result"]
        listed = (await admin.get("/backups")).json()["backups"]
        assert [one["name"] for one in listed] == [made["name"]] == names_in(tmp_path)
        audited = (await admin.get(f"/audit?actor={user}&limit=200")).json()["entries"]
    async with TopicReader(settings, "tests") as reader:
        ends = await reader.ends(target)
        reader.begin(target, {0: (0, ends[0])})
        ids = []
        while (batches := await reader.next(1_000)) is not None:
            ids += [dict(one.headers)["ce_id"] for found in batches.values() for one in found]
    assert len(ids) == len(set(ids)) == 200, "each once, whoever wrote it"
    stages = Counter((row["entry"]["action"], row["entry"]["stage"]) for row in audited)
    assert stages["works.begin", "begun"] == stages["works.begin", "done"] == 4
    assert stages["replay.execute", "begun"] == 1, "the first process's, which did not live to say how it ended"
    assert stages["replay.execute", "done"] == 0
    assert stages["replay.continue", "begun"] == stages["replay.continue", "done"] == 1
    assert stages["backup.create", "begun"] == stages["backup.create", "done"] == 1


@pytest.mark.servers
async def test_a_change_over_http_is_in_the_audit_of_the_command_line(
    port_and_admin: tuple[dict[str, str], httpx.AsyncClient, str],
    kafka_log: KafkaEventLog,
    mongo: MongoDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, admin, user = port_and_admin
    waits = job(str(uuid4()), state=State.QUEUED, at=now_ms())
    assert await mongo.jobs.store_job(waits, 0)
    async with process({**told, "OPENV_TRUSTED_PROXIES": "127.0.0.1"}) as running:
        await eventually(lambda: is_ready(admin), DEADLINE_S)
        assert (await admin.get("/topics")).status_code == 200
        assert (await admin.get("/audit", headers={"Authorization": ""})).status_code == 401
        ledger = asyncio.create_task(cancelled_by(kafka_log, waits.job_id, await kafka_log.ends(COMMANDS.name)))
        asked = {"reason": "asked by mail"}
        answer = await admin.post(
            f"/jobs/{waits.job_id}/cancel", json=asked, headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.4"}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["done"]
        assert (await ledger).user_id == waits.user_id
        over_http = (await admin.get(f"/audit?target={waits.job_id}")).json()["entries"]
        running.send_signal(signal.SIGTERM)
        said = (await running.said).decode()  # type: ignore[attr-defined]
        assert await running.wait() == 0, said
    assert admin.headers["Authorization"].removeprefix("Bearer ") not in said
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    words = ["audit", "list", "--actor", user, "--json", "--since", "1h", "--data-dir", "nowhere"]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert result.exit_code == 0, result.output
    entries = json.loads(result.output)
    assert [(one["stage"], one["action"], one["target"]) for one in entries] == [
        ("done", "jobs.cancel", waits.job_id),
        ("begun", "jobs.cancel", waits.job_id),
    ]
    assert {one["address"] for one in entries} == {"198.51.100.4"}, "what the nearest trusted proxy saw"
    assert {one["reason"] for one in entries} == {"asked by mail"}
    assert [row["entry"]["actionId"] for row in over_http] == [one["actionId"] for one in entries]


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.TransportError:
        return False


async def test_it_does_not_listen_for_other_machines_unasked() -> None:
    async with process({"OPENV_ADMIN_HOST": "0.0.0.0"}) as running:  # noqa: S104
        said = (await running.said).decode()  # type: ignore[attr-defined]
        assert await running.wait() == 1
    assert "OPENV_ADMIN_EXPOSE=true" in said
    assert said.count("\n") == 1
