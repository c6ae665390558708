"""What the commands about serverless endpoints read: the endpoint, its jobs under way, the keys of its workers."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.settings import GatewaySettings
from operations.local import running_stack, server_environment
from operations.stack.errors import StackError
from operations.worker_environment import require_base
from repo.clock import now_ms
from repo.database import Database
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.access import KeyKind
from schemas.endpoints import ServerlessEndpoint
from schemas.instants import LAST
from schemas.lifecycle import ACTIVE


@asynccontextmanager
async def open_database(data_dir: Path) -> AsyncIterator[MongoDatabase]:
    """That of the environment, else the local stack's."""
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        yield database


async def existing(database: Database, name: str) -> ServerlessEndpoint:
    """One that can be used. Raises ``StackError``."""
    stored = await database.endpoints.endpoint(name)
    if stored is None or stored.deleted_at is not None:
        raise StackError(f"There is no endpoint {name}: `openv endpoints list` shows all.")
    return stored


async def active_jobs(database: Database, name: str) -> int:
    """How many wait or run."""
    counts = await database.jobs.endpoint_counts(name, LAST)
    return sum(count for state, count in counts.items() if state in ACTIVE)


def owner_of_worker_keys(endpoint_id: str) -> str:
    """Whose the keys of an endpoint's workers are: nobody's who can be deleted."""
    return f"endpoint:{endpoint_id}"


async def worker_keys(database: Database, name: str) -> list[str]:
    """The hashes of those that are good now."""
    keys, now = await database.access.api_keys(owner_of_worker_keys(name)), now_ms()
    return [
        key.key_hash
        for key in keys
        if key.kind is KeyKind.WORKER and key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
    ]


def gateway_base(data_dir: Path) -> str:
    """Where the gateway is, as far as this machine knows."""
    said = os.environ.get("OPENV_URL") or (running_stack(data_dir) or {}).get("url") or GatewaySettings().origin
    return require_base(said)
