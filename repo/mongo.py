"""The database: one client, a store for each room of it, and the indexes that their queries need."""

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Self

from repo import mongo_access, mongo_deliveries, mongo_endpoints, mongo_jobs, mongo_remote_runs
from repo.mongo_access import MongoAccessStore
from repo.mongo_connection import MongoConnection
from repo.mongo_deliveries import MongoDeliveryStore
from repo.mongo_endpoints import MongoEndpointStore
from repo.mongo_jobs import MongoJobStore
from repo.mongo_remote_runs import MongoRemoteRunStore
from repo.settings import ServerSettings

Index = tuple[tuple[str, int], ...]

# By collection; each is declared beside the queries that it serves.
INDEXES: Mapping[str, tuple[Index, ...]] = {
    **mongo_jobs.INDEXES,
    **mongo_access.INDEXES,
    **mongo_deliveries.INDEXES,
    **mongo_endpoints.INDEXES,
    **mongo_remote_runs.INDEXES,
}


class MongoDatabase:
    """``async with MongoDatabase(settings) as database``. Implements ``Database``; entering does not wait for MongoDB.

    ``timeout_s`` bounds each answer; finding the server takes 2.5 s more at most.
    """

    jobs: MongoJobStore
    access: MongoAccessStore
    deliveries: MongoDeliveryStore
    endpoints: MongoEndpointStore
    remote_runs: MongoRemoteRunStore

    def __init__(self, settings: ServerSettings, *, timeout_s: float = 5.0) -> None:
        self.connection = MongoConnection(settings, timeout_s=timeout_s)

    async def __aenter__(self) -> Self:
        await self.connection.__aenter__()
        self.jobs = MongoJobStore(self.connection)
        self.access = MongoAccessStore(self.connection)
        self.deliveries = MongoDeliveryStore(self.connection)
        self.endpoints = MongoEndpointStore(self.connection)
        self.remote_runs = MongoRemoteRunStore(self.connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.connection.__aexit__(kind, error, traceback)

    async def prepare(self) -> None:
        """Make the indexes that are missing."""
        for name, indexes in INDEXES.items():
            for index in indexes:
                create = self.connection.collection(name).create_index
                await self.connection.answer(partial(create, list(index)))
