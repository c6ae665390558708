"""Memory twins of the ports, for unit tests of the shells."""

from types import TracebackType
from typing import Self

from repo.memory_access import MemoryAccessStore
from repo.memory_deliveries import MemoryDeliveryStore
from repo.memory_endpoints import MemoryEndpointStore
from repo.memory_letters import MemoryDispositionStore
from repo.memory_log import MemoryEventLog
from repo.memory_objects import MemoryObjectStore
from repo.memory_remote_runs import MemoryRemoteRunStore
from repo.memory_replays import MemoryReplayStore
from repo.memory_store import MemoryJobStore
from repo.memory_upkeep import MemoryUpkeepStore
from repo.memory_works import MemoryWorkStore

__all__ = [
    "MemoryAccessStore",
    "MemoryDatabase",
    "MemoryDispositionStore",
    "MemoryEndpointStore",
    "MemoryEventLog",
    "MemoryJobStore",
    "MemoryObjectStore",
    "MemoryRemoteRunStore",
    "MemoryReplayStore",
    "MemoryWorkStore",
]


class MemoryDatabase:
    """Implements ``Database``. ``away = True`` is an outage of all of it."""

    def __init__(self) -> None:
        self.jobs = MemoryJobStore()
        self.access = MemoryAccessStore()
        self.deliveries = MemoryDeliveryStore()
        self.endpoints = MemoryEndpointStore()
        self.remote_runs = MemoryRemoteRunStore()
        self.works = MemoryWorkStore()
        self.upkeep = MemoryUpkeepStore(self.jobs, self.access)
        self.replays = MemoryReplayStore()
        self.dispositions = MemoryDispositionStore()

    @property
    def away(self) -> bool:
        """Whether it does not answer."""
        return self.jobs.away

    @away.setter
    def away(self, away: bool) -> None:
        self.jobs.away = self.access.away = self.deliveries.away = away
        self.endpoints.away = self.remote_runs.away = self.replays.away = self.works.away = away
        self.dispositions.away = away

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def prepare(self) -> None:
        """No indexes to make."""
