"""The drill: MongoDB's files are deleted while videos are made, and two commands bring everything back.

The same once more without a backup: one command brings back the jobs and accounts that the log still tells of.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from operations.stack.mongo_probe import server_pid_at
from repo.ports import Unavailable
from schemas.topics import COMMANDS, EVENTS
from tests.end_to_end.fleet import REPOSITORY, Fleet, sailing
from tests.end_to_end.people import Person
from tests.end_to_end.stack import until
from tests.end_to_end.verdicts import ROUNDED, check_history, events_of, histories, used_seconds

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(600)]

POOL = "mochi-1"
AT_ONCE = 2
SERVERS = ("KAFKA_", "MONGODB_", "S3_", "OPENV_DATA_DIR")


@dataclass
class Site:
    """A fleet, its folder, and one user who goes on asking for videos."""

    fleet: Fleet
    folder: Path
    person: Person
    asked: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return dict(self.fleet["streams-1"].environ)

    async def openv(self, *arguments: str) -> tuple[int, str, str]:
        """The command as an operator runs it: exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "operations",
            *arguments,
            env={**os.environ, **self.environ},
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def told(self, *arguments: str) -> dict[str, Any]:
        """What the command prints as JSON; it must do well."""
        code, out, err = await self.openv(*arguments, "--json")
        assert code == 0, (code, out, err)
        answer: dict[str, Any] = json.loads(out)
        return answer

    async def lose_the_database(self) -> None:
        """Its files are deleted and its process is killed; another one starts in the same place, empty."""
        where = urlsplit(self.environ["MONGODB_URI"])
        assert where.hostname
        assert where.port
        pid = await server_pid_at(where.hostname, where.port)
        assert pid is not None
        for file in (self.folder / "data" / "mongo").iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        os.kill(pid, signal.SIGKILL)

        async def look() -> bool:
            return await server_pid_at(str(where.hostname), int(where.port or 0)) not in (None, pid)

        await until(look, "an empty MongoDB in its place")

    async def completed(self, more: int) -> None:
        """Wait until so many more videos have been made."""
        begin = len(await self._ends())

        async def look() -> bool:
            return len(await self._ends()) >= begin + more

        await until(look, f"{more} more videos made")

    async def _ends(self) -> set[str]:
        found = await events_of(self.fleet.log)
        return {event.job.job_id for event in found[self.person.user_id] if event.job.state == "completed"}

    async def rest(self) -> None:
        """Until every job has ended and every word about it was applied."""

        async def look() -> bool:
            return not await self.fleet.store.active_jobs(POOL)

        await until(look, "no job active")
        await self.fleet.applied("ledger", COMMANDS.name)
        await self.fleet.applied("janitor", EVENTS.name)
        await self.fleet.applied("notifier", EVENTS.name)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Videos are asked for, one after another, by two at a time; each until it is accepted."""
        stopping = asyncio.Event()

        async def ask() -> None:
            while not stopping.is_set():
                number = len(self.asked)
                self.asked.append("")
                row = await self.person.submit(f"video-{number}", prompt="film", num_frames=7, seed=number)
                self.asked[number] = row["jobId"]
                await self.made_or_stopped(row["jobId"], stopping)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(ask())
            try:
                yield
            finally:
                stopping.set()

    async def made_or_stopped(self, job_id: str, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            row = await self.person.row(job_id)
            if row is not None and row["state"] == "completed":
                return
            await asyncio.sleep(0.1)

    async def check(self) -> None:
        """Every accepted job has one end and one charge, the documents are what was announced, usage is their sum."""
        logged = (await events_of(self.fleet.log))[self.person.user_id]
        stories = histories(logged)
        assert sorted(stories) == sorted(self.asked)
        for job_id, history in stories.items():
            check_history(history, await self.fleet.store.job(job_id))
        usage = (await self.person.ask("GET", "/api/usage")).json()
        assert usage["usedSeconds"] == pytest.approx(used_seconds(stories), abs=ROUNDED), usage


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("drill")
    names = ("gateway-1", "streams-1", "worker-1")
    async with sailing(folder, names) as fleet, fleet.person("alice") as person:
        yield Site(fleet, folder, person)


async def waits_for_its_database(site: Site) -> None:
    """Nothing is written into an empty database that took the place of the full one; everybody says why they wait."""
    async with httpx.AsyncClient(base_url=site.person.urls[0], trust_env=False, timeout=10) as client:

        async def look() -> bool:
            answer = await client.get("/readyz")
            return answer.status_code == 503 and "mongodb" in answer.text

        await until(look, "a gateway that is not ready")
    streams = site.fleet["streams-1"]

    async def said() -> bool:
        return "this is not the database that was here" in streams.life.log.read_text(errors="replace")

    await until(said, "streams that say what they wait for")
    with pytest.raises(Unavailable, match="this is not the database that was here"):
        await site.fleet.store.job("any")


async def test_two_commands_bring_back_a_database_that_was_lost_while_videos_were_made(site: Site) -> None:
    backup = site.folder / "backup.gz"
    async with site.asking():
        await site.completed(3)
        made = await site.told("backup", str(backup))
        assert made["collections"]["jobs"] > 0
        assert made["collections"]["api_keys"] == 1
        await site.completed(3)
        lives = len(site.fleet["streams-1"].lives)
        await site.lose_the_database()
        await waits_for_its_database(site)
        restored = await site.told("restore", str(backup))
        assert restored["stored"] == made["collections"]
        rebuilt = await site.told("rebuild")
        assert rebuilt["stored"]["jobs"] > 0
        assert rebuilt["comparison"]["different"] == 0
        await site.completed(3)
    await site.rest()
    assert len(site.fleet["streams-1"].lives) == lives + 1, "streams that read on from where the backup stood"
    await site.check()
    assert (await site.told("rebuild", "--verify"))["different"] == 0


async def test_one_command_brings_back_jobs_and_accounts_without_a_backup(site: Site) -> None:
    keys = await site.fleet.database.access.api_keys(site.person.user_id)
    for number in range(len(site.asked), len(site.asked) + 3):  # under way, or not begun
        row = await site.person.submit(f"video-{number}", prompt="paced", num_frames=7, seed=number)
        site.asked.append(row["jobId"])
    await site.lose_the_database()
    await waits_for_its_database(site)
    rebuilt = await site.told("rebuild")
    assert rebuilt["stored"]["jobs"] == len(site.asked)
    assert rebuilt["comparison"]["different"] == 0
    for key in keys:  # what the log does not tell is lost; an operator makes it anew
        await site.fleet.database.access.store_api_key(key)
    async with site.asking():
        await site.completed(2)
    await site.rest()
    await site.check()
    assert (await site.told("rebuild", "--verify"))["different"] == 0
