"""Where replays are planned and executed: the servers, and what is counted on the way."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from operations.local import server_environment
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings

CLIENT_ID = "openv-replay"


@dataclass(frozen=True, slots=True)
class Room:
    """``settings`` name the servers that ``log`` and ``database`` are connected to."""

    settings: ServerSettings
    log: KafkaEventLog
    database: MongoDatabase


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` positions of the source are behind it. ``came_back``: dead letters of this replay."""

    done: int
    total: int
    written: int = 0
    quarantined: int = 0
    skipped: int = 0
    came_back: int = 0


Tell = Callable[[Progress], None]


@asynccontextmanager
async def room(data_dir: Path) -> AsyncIterator[Room]:
    """At the servers that the environment names, or at those of the data directory's stack."""
    server_environment(data_dir)
    settings = ServerSettings()
    async with (
        MongoDatabase(settings) as database,
        KafkaEventLog(settings, client_id=CLIENT_ID, timeout_s=15.0) as log,
    ):
        yield Room(settings, log, database)
