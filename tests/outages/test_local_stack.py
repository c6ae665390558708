"""The local stack on a disk that runs full, and after damage: what is said, and that nothing acknowledged is lost."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError

from operations.stack.errors import StackError
from operations.stack.servers import EmbeddedServers
from operations.stack.supervisor import Change, PartState
from tests.end_to_end.stack import Stack, started
from tests.end_to_end.test_command import processes_of
from tests.operations.machines import fill, mounted, openv

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(600)]

MONGO_ALONE = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "S3_ENDPOINT_URL": "http://127.0.0.1:1"}


async def _ids(environment: Mapping[str, str]) -> list[int]:
    client: AsyncIOMotorClient[dict[str, int]] = AsyncIOMotorClient(environment["MONGODB_URI"])
    try:
        return [row["_id"] async for row in client.openv.kept.find().sort("_id")]
    finally:
        client.close()


async def _insert_until_refused(environment: Mapping[str, str], after: int, rows: int) -> list[int]:
    """What the database has acknowledged of rows of 64 KiB, from ``after`` on."""
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(
        environment["MONGODB_URI"], serverSelectionTimeoutMS=1000, retryWrites=False
    )
    acknowledged: list[int] = []
    try:
        for number in range(after, after + rows):
            await client.openv.kept.insert_one({"_id": number, "filling": os.urandom(65_536)})
            acknowledged.append(number)
    except PyMongoError:
        pass
    finally:
        client.close()
    return acknowledged


async def test_a_database_on_a_full_disk_acknowledges_nothing_it_loses(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=192m") as disk:
        data = disk / "data"
        changes: list[Change] = []
        servers = EmbeddedServers(data, MONGO_ALONE, changes.append)
        async with servers as environment:
            kept = await _insert_until_refused(environment, 0, 8)
            assert kept == list(range(8))
            ballast = fill(disk)
            kept += await _insert_until_refused(environment, 8, 100)
            with pytest.raises(StackError, match=rf"The disk that holds {data} is full .* free at least 128 MiB"):
                async with asyncio.timeout(60):
                    await servers.supervisor.watch()
        assert PartState.DIED not in {change.state for change in changes}  # no other start is tried
        ballast.unlink()
        async with EmbeddedServers(data, MONGO_ALONE) as environment:
            found = await _ids(environment)
            # The write that was refused may be there: its answer is what was lost.
            assert found[: len(kept)] == kept
            assert len(found) <= len(kept) + 1
            assert await _insert_until_refused(environment, 1000, 1) == [1000]


async def test_a_damaged_database_is_refused_and_a_killed_one_is_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    servers = EmbeddedServers(data, MONGO_ALONE)
    async with servers as environment:
        kept = await _insert_until_refused(environment, 0, 5)
        os.kill(servers.supervisor.states["mongo"].pid or 0, signal.SIGKILL)
    file = data / "mongo" / "openv.mv"
    with file.open("ab") as half_a_record:  # the beginning of a write that the kill cut short
        half_a_record.write(b"chunk:ff,block:2,len:1,map:9" + os.urandom(100))
    async with EmbeddedServers(data, MONGO_ALONE) as environment:
        assert await _ids(environment) == kept
    whole = file.read_bytes()
    damages = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "end": whole[: 2 * 4096] + b"\xff" * (len(whole) - 2 * 4096),
        "begin": b"\xff" * 2 * 4096,
    }
    for damage, content in damages.items():
        file.write_bytes(content)
        with pytest.raises(StackError, match=r"openv.mv is damaged or older than what was stored in it\. Restore"):
            async with EmbeddedServers(data, MONGO_ALONE):
                pytest.fail(f"it started with a database that is damaged ({damage})")
    file.write_bytes(whole)
    async with EmbeddedServers(data, MONGO_ALONE) as environment:
        assert await _ids(environment) == kept


async def _ended(stack: Stack) -> str:
    """What it said last, once it has ended by itself."""
    async with asyncio.timeout(120):
        assert await stack.process.wait() == 1, stack.log.read_text()
    said = stack.log.read_text()
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def _tells_of_a_paused_part(stack: Stack, data: Path) -> None:
    """Status and doctor, of streams that were ready once: the cause is told, once, with what mends it."""
    pid = stack.about()["parts"]["streams"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        paused = openv("status", "--data-dir", data)
        assert paused.code == 3
        assert f"streams: process {pid} is paused (SIGSTOP). → kill -CONT {pid}" in paused.out
        looked = openv("doctor", "--only", "processes", "--only", "groups", "--json", "--data-dir", data)
        wrong = [one for one in json.loads(looked.out)["findings"] if one["level"] == "problem"]
        assert [one["mend"] for one in wrong] == [f"kill -CONT {pid}"], looked.out
    finally:
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while not (woken := openv("status", "--data-dir", data)).out.endswith("\nReady.\n"):
        assert time.monotonic() < deadline, woken


async def test_a_stack_on_a_full_disk_says_so_once_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=256m") as disk:
        data = disk / "a data, dir é"  # a path that programs split or misspell
        async with started(data, "--no-worker") as stack:
            acknowledged = [(await stack.submit(stack.http))["jobId"] for _ in range(2)]
            second = openv("up", "--data-dir", data)
            assert second.is_one_sentence(f"already runs on {data}", str(stack.process.pid), stack.url, "openv down")
            port = stack.url.rpartition(":")[2]
            taken = openv("up", "--port", port, "--data-dir", tmp_path / "other")
            assert taken.is_one_sentence(f"taken by the OpenV of {data}", f"openv down --data-dir {data}")
            ballast = fill(disk)
            last = await _ended(stack)
        assert last.startswith(f"openv: The disk that holds {data} is full")
        assert stack.log.read_text().count("start again;") == 1
        assert processes_of(data) == []
        assert openv("up", "--port", "0", "--data-dir", data).is_one_sentence("is full")
        ballast.unlink()
        async with started(data, "--no-worker") as again:
            rows = {row["jobId"]: row["state"] for row in (await again.http.get("/api/videos")).json()}
            assert all(rows.get(job_id) == "queued" for job_id in acknowledged), rows
            _tells_of_a_paused_part(again, data)
            os.kill(again.process.pid, signal.SIGKILL)  # a stale lock: the next start needs no hand
            await again.process.wait()
        assert openv("status", "--data-dir", data).out == f"No OpenV runs on {data}.\n"
        async with started(data, "--no-worker") as after:
            rows = {row["jobId"]: row["state"] for row in (await after.http.get("/api/videos")).json()}
            assert all(rows.get(job_id) == "queued" for job_id in acknowledged), rows
