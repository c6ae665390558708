"""Our replay in a process of its own: a dry run, then its execution; how long each took, and the most memory."""

import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.driver import Answer, serve
from operations.audit.recording import Actor
from operations.core.replay_scope import Asked
from operations.replay.dry_run import DryRun, plan
from operations.replay.execute import execute
from operations.replay.pace import Wishes
from operations.replay.room import CLIENT_ID, Room
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings

NOBODY = Actor("bench", "cli", "bench")


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the servers of the environment."""
    settings = ServerSettings()
    async with (
        MongoDatabase(settings) as database,
        KafkaEventLog(settings, client_id=CLIENT_ID, timeout_s=30) as log,
    ):
        room = Room(settings, log, database)

        async def answer(source: str, target: str, *, written: bool) -> dict[str, Any]:
            began = time.perf_counter()
            planned = await plan(room, DryRun(Asked(source, target)))
            looked = time.perf_counter()
            if written:
                await execute(room, planned.replay_id, None, NOBODY, Wishes())
            ended = time.perf_counter()
            most_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            count = planned.in_scope
            return {"count": count, "looked": looked - began, "written": ended - looked, "mib": most_mib}

        yield answer


if __name__ == "__main__":
    serve(answering)
