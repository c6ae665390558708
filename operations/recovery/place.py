"""Where backups, restores and rebuilds work: the log, and the database whatever stands in it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from operations.local import server_environment
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import EventLog
from repo.settings import ServerSettings

TIMEOUT_S = 60.0  # a large write at a time, to a server that has much to do


@dataclass(frozen=True, slots=True)
class Place:
    """``name`` is the database's."""

    log: EventLog
    database: MongoDatabase
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something was done: ``of`` a collection or topic, ``done`` of ``total`` (None: nobody knows)."""

    of: str
    done: int
    total: int | None = None


Progress = Callable[[Step], None]
Sure = Callable[[], Awaitable[None]]  # asked before each write; raises where it may not be done any more


def silent(_step: Step) -> None:
    """Nobody looks."""


async def alone() -> None:
    """Nobody else can be at it."""


@asynccontextmanager
async def place(data_dir: Path) -> AsyncIterator[Place]:
    """At the servers that the environment names, or at those of the data directory's stack."""
    server_environment(data_dir)
    settings = ServerSettings()
    async with (
        MongoDatabase(settings, timeout_s=TIMEOUT_S, guarded=False) as database,
        KafkaEventLog(settings, client_id="openv-recovery", timeout_s=15.0) as log,
    ):
        yield Place(log, database, settings.mongodb_database)
