"""The port of the whole database: its stores, and how they are made ready."""

from typing import Protocol

from repo.access import AccessStore
from repo.deliveries import DeliveryStore
from repo.endpoints import EndpointStore
from repo.ports import JobStore
from repo.remote_runs import RemoteRunStore


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

    async def prepare(self) -> None:
        """Make the indexes that are missing. Raises ``Unavailable``."""
        ...
