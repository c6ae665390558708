"""Streams and a worker as processes on the shared servers, with a pool and a database of their own.

The engine is the staged one: the prompt's second word names a mark, until which its video is held.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from operations.cli import app
from operations.desk import Desk
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from schemas.topics import COMMANDS, DISPATCH, EVENTS
from tests.end_to_end.staged_engine import STAGE
from tests.inference_worker.worker_process import Process, worker
from tests.streams.receiver import Receiver, receiving
from tests.streams.streams_process import eventually, streams_running
from tests.streams.submissions import new_id, send, submission

ROLES = {"ledger": COMMANDS, "scheduler": DISPATCH, "janitor": EVENTS, "notifier": EVENTS}
ENGINE = "tests.end_to_end.staged_engine:Staged"
QUICK = {
    "OPENV_RETRY_DELAY_SECONDS": "0.1",
    "OPENV_BEAT_S": "0.5",
    "OPENV_WEBHOOK_ALLOW_HTTP": "1",
    "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "OPENV_MAX_ACTIVE": "20",
    "OPENV_RATE_LIMIT": "100",
}


@dataclass
class Stage:
    """``folder``: where the marks are."""

    desk: Desk
    environment: Mapping[str, str]
    worker: Process
    receiver: Receiver
    folder: Path

    @property
    def pool(self) -> str:
        return self.worker.identity.pool

    async def submit(self, user: str, mark: str, **changes: Any) -> str:
        """A video that is held until the mark is raised; its job id."""
        request = GenerationRequest(prompt=f"held {mark}", width=96, height=64, num_frames=7, steps=2)
        command = submission(user, self.pool, request=request, **changes)
        await send(self.desk.log, command)
        return command.job_id

    async def until(self, job_id: str, state: State, attempt: int) -> Job:
        async def look() -> Job | None:
            job = await self.desk.database.jobs.job(job_id)
            return job if job is not None and (job.state, job.attempt) == (state, attempt) else None

        job = await eventually(look, 60.0, what=f"attempt {attempt} {state}")
        assert job is not None
        return job

    async def openv(self, *words: str, stdin: str | None = None) -> Result:
        """The command, in a thread: it runs a loop of its own. The environment names the servers."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return await asyncio.to_thread(CliRunner().invoke, app, [*words, "--data-dir", "nowhere"], input=stdin)

    async def done(self, *words: str, stdin: str | None = None) -> str:
        result = await self.openv(*words, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.output

    async def told(self, *words: str, stdin: str | None = None) -> Any:
        """What the command says as JSON."""
        return json.loads(await self.done(*words, "--json", stdin=stdin))


@asynccontextmanager
async def staged(
    servers: Mapping[str, str], database: str, log: KafkaEventLog, mongo: MongoDatabase, root: Path
) -> AsyncIterator[Stage]:
    """All of it, ready; what other tests left in the topics is passed over."""
    for role, topic in ROLES.items():
        ends = await log.ends(topic.name)
        await mongo.jobs.store_applied_offsets(role, {at: end - 1 for at, end in ends.items() if end})
    folder = root / "marks"
    folder.mkdir()
    environment = {**servers, **QUICK, "MONGODB_DATABASE": database}
    async with (
        receiving() as receiver,
        worker(servers, log, root, ENGINE, **QUICK, **{STAGE: str(folder), "PYTHONPATH": "."}) as process,
        streams_running(environment, root / "streams.log"),
    ):
        await process.ready()
        yield Stage(Desk(log, mongo), environment, process, receiver, folder)


def new_user() -> str:
    return new_id("user-")
