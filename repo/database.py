"""The port of the whole database: its stores, and how they are made ready."""

from typing import Protocol

from repo.access import AccessStore
from repo.deliveries import DeliveryStore
from repo.endpoints import EndpointStore
from repo.letters import DispositionStore
from repo.ports import JobStore
from repo.remote_runs import RemoteRunStore
from repo.replays import ReplayStore
from repo.upkeep import UpkeepStore
from repo.works import WorkStore


class Database(Protocol):
    """MongoDB, room by room."""

    @property
    def jobs(self) -> JobStore:
        """The system of record: jobs, accounts, applied offsets."""
        ...

    @property
    def access(self) -> AccessStore:
        """Keys, terms, vouchers, persons."""
        ...

    @property
    def deliveries(self) -> DeliveryStore:
        """Webhook endpoints, and what users are told."""
        ...

    @property
    def endpoints(self) -> EndpointStore:
        """Serverless endpoints, and what their workers stream."""
        ...

    @property
    def remote_runs(self) -> RemoteRunStore:
        """What runs on a foreign service."""
        ...

    @property
    def replays(self) -> ReplayStore:
        """What operators write again, and how far that has come."""
        ...

    @property
    def dispositions(self) -> DispositionStore:
        """What became of dead letters."""
        ...

    @property
    def upkeep(self) -> UpkeepStore:
        """Looking through everything, and removing what has had its time."""
        ...

    @property
    def works(self) -> WorkStore:
        """Long works that an admin began."""
        ...

    async def prepare(self) -> None:
        """Make the indexes that are missing. Raises ``Unavailable``."""
        ...
