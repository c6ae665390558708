"""What the checks look at: the servers, this machine, and how far to look. Opened once for all of them."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operations.desk import Desk
from operations.local import running_stack, server_environment
from repo.clock import now_ms
from repo.environment import listed
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_inspection import MongoInspection
from repo.s3 import open_stores
from repo.settings import FallbackSettings, ServerSettings
from repo.stores import ObjectStores

DAY_MS = 86_400_000
MOST = 200_000  # objects of a store, documents of a collection
PAGE = 1_000


@dataclass(slots=True)
class Surroundings:
    """``origins``: the web pages that read videos from the object store; ``gateway``: where it is reached from here,
    None where nothing says. ``older_than_ms``: what is younger is nobody's stray yet. ``most``: how many objects and
    documents of a kind are looked at. ``stack``: what the local stack says of itself, where one runs here."""

    servers: ServerSettings
    fallback: FallbackSettings
    desk: Desk
    mongo: MongoInspection
    stores: ObjectStores
    data_dir: Path
    gateway: str | None
    origins: tuple[str, ...]
    now: Callable[[], int] = now_ms
    older_than_ms: int = DAY_MS
    most: int = MOST
    stack: Mapping[str, Any] = field(default_factory=dict)

    def restart(self, part: str) -> str:
        """The command after which a part runs anew: the local stack's is started again by its supervisor."""
        pid = self.stack.get("parts", {}).get(part, {}).get("pid")
        return f"kill -9 {pid}" if pid else f"docker compose restart {part}"


@asynccontextmanager
async def surroundings(
    data_dir: Path, *, older_than_ms: int = DAY_MS, most: int = MOST, now: Callable[[], int] = now_ms
) -> AsyncIterator[Surroundings]:
    """Everything that the environment names, or the data directory's stack. Waits for no server."""
    server_environment(data_dir)
    servers, fallback = ServerSettings(), FallbackSettings()
    stack = running_stack(data_dir) or {}
    public = os.environ.get("OPENV_PUBLIC_URL") or None
    gateway = os.environ.get("OPENV_URL") or stack.get("url") or public
    pages = (public, *listed(os.environ.get("OPENV_ALLOWED_ORIGINS", "")))
    origins = tuple(dict.fromkeys(one.rstrip("/") for one in pages if one))
    async with (
        MongoDatabase(servers) as database,
        KafkaEventLog(servers, client_id="openv-doctor") as log,
        open_stores(servers, fallback) as stores,
    ):
        desk = Desk(log, database)
        yield Surroundings(
            servers,
            fallback,
            desk,
            MongoInspection(database),
            stores,
            data_dir,
            gateway,
            origins,
            now,
            older_than_ms,
            most,
            stack,
        )
