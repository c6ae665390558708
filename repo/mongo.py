"""The database: one client, a store for each room of it, and the indexes that their queries need."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from repo import (
    mongo_access,
    mongo_deliveries,
    mongo_endpoints,
    mongo_identity,
    mongo_jobs,
    mongo_letters,
    mongo_remote_runs,
    mongo_replays,
    mongo_works,
)
from repo.mongo_access import MongoAccessStore
from repo.mongo_connection import MongoConnection
from repo.mongo_copies import MongoCopies
from repo.mongo_deliveries import MongoDeliveryStore
from repo.mongo_endpoints import MongoEndpointStore
from repo.mongo_guard import LOOK_EVERY_S
from repo.mongo_identity import MongoIdentityStore
from repo.mongo_jobs import MongoJobStore
from repo.mongo_letters import MongoDispositionStore
from repo.mongo_remote_runs import MongoRemoteRunStore
from repo.mongo_replays import MongoReplayStore
from repo.mongo_upkeep import MongoUpkeepStore
from repo.mongo_works import MongoWorkStore
from repo.ports import Unavailable
from repo.settings import ServerSettings

Index = tuple[tuple[str, int], ...]

# By collection; each is declared beside the queries that it serves.
INDEXES: Mapping[str, tuple[Index, ...]] = {
    **mongo_jobs.INDEXES,
    **mongo_access.INDEXES,
    **mongo_deliveries.INDEXES,
    **mongo_endpoints.INDEXES,
    **mongo_remote_runs.INDEXES,
    **mongo_works.INDEXES,
    **mongo_replays.INDEXES,
    **mongo_letters.INDEXES,
    **mongo_identity.INDEXES,
}


class MongoDatabase:
    """``async with MongoDatabase(settings) as database``. Implements ``Database``; entering does not wait for MongoDB.

    ``timeout_s`` bounds each answer; finding the server takes 2.5 s more at most; ``adopts`` and ``guarded``: see
    ``MongoConnection``.
    """

    jobs: MongoJobStore
    access: MongoAccessStore
    deliveries: MongoDeliveryStore
    endpoints: MongoEndpointStore
    remote_runs: MongoRemoteRunStore
    works: MongoWorkStore
    upkeep: MongoUpkeepStore
    replays: MongoReplayStore
    dispositions: MongoDispositionStore
    identities: MongoIdentityStore

    def __init__(
        self, settings: ServerSettings, *, timeout_s: float = 5.0, adopts: bool = True, guarded: bool = True
    ) -> None:
        self.connection = MongoConnection(settings, timeout_s=timeout_s, adopts=adopts, guarded=guarded)

    async def __aenter__(self) -> Self:
        await self.connection.__aenter__()
        self.jobs = MongoJobStore(self.connection)
        self.access = MongoAccessStore(self.connection)
        self.deliveries = MongoDeliveryStore(self.connection)
        self.endpoints = MongoEndpointStore(self.connection)
        self.remote_runs = MongoRemoteRunStore(self.connection)
        self.works = MongoWorkStore(self.connection)
        self.upkeep = MongoUpkeepStore(self.connection)
        self.replays = MongoReplayStore(self.connection)
        self.dispositions = MongoDispositionStore(self.connection)
        self.identities = MongoIdentityStore(self.connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.connection.__aexit__(kind, error, traceback)

    @property
    def copies(self) -> MongoCopies:
        """Documents of all collections as they are stored: for backups, restores and rebuilds."""
        return MongoCopies(self.connection)

    async def prepare(self) -> None:
        """Make the indexes that are missing, and the database's identity, by which it is known from then on."""
        await self.make_indexes()
        await self.identities.establish()
        self.connection.guard.forget()

    async def until_replaced(self) -> None:
        """Returns when the database was restored or rebuilt since this process first used it (``adopts`` False)."""
        while not self.connection.guard.replaced.is_set():
            with suppress(Unavailable):
                await self.connection.ping()  # a look, also where nothing else is asked
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self.connection.guard.replaced.wait()

    async def make_indexes(self) -> None:
        """Make those that are missing."""
        for name, indexes in INDEXES.items():
            for index in indexes:
                create = self.connection.collection(name).create_index
                await self.connection.answer(partial(create, list(index)))
