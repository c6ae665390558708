"""An admin API over memory twins, with a ledger that decides accounts as the real one does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from gateway.identity.keys import new_key
from operations.admin.app import create_app
from operations.admin.metrics import AdminMetrics
from operations.admin.settings import AdminSettings
from operations.admin.table import KINDS, KindOfWork
from repo.clock import now_ms
from repo.memory import MemoryDatabase, MemoryEventLog, MemoryObjectStore
from repo.stores import ObjectStores
from schemas.access import KeyKind, Scope
from schemas.accounts import Role
from schemas.audit import AuditEntry
from schemas.codec import decode
from schemas.topics import AUDIT
from tests.gateway.world import FakeLedger
from tests.operations.admin import fits

ORIGIN = "http://admin.test"


@dataclass
class House:
    """Everything a test may touch. ``address``: where its clients come from."""

    log: MemoryEventLog
    database: MemoryDatabase
    ledger: FakeLedger
    app: Starlette
    metrics: AdminMetrics

    async def key(self, user_id: str = "root", **how: Any) -> str:
        """A fresh API key; an admin's for everything, unless something else is said."""
        secret, stored = new_key(user_id, now=now_ms(), **{"role": Role.ADMIN, **how})
        await self.database.access.store_api_key(stored)
        return secret

    def client(self, secret: str | None = None, address: str = "192.0.2.7") -> httpx.AsyncClient:
        """An HTTP client with this key, without a network."""
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=(address, 40_000))
        # Whatever a test asks, the answer must be one that the OpenAPI document knows.
        hooks = {"response": [fits.check]}
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers, event_hooks=hooks)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of an admin."""
        async with self.client(await self.key()) as client:
            yield client

    def audit(self) -> list[AuditEntry]:
        """Every entry."""
        entries = [decode(record) for record in self.log.records(AUDIT.name)]
        assert all(isinstance(one, AuditEntry) for one in entries)
        return entries  # type: ignore[return-value]


async def _nothing(*_: object) -> dict[str, str]:
    """In place of the long works: they want servers."""
    return {}


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[House]:
    """A house whose API serves."""
    log, database = MemoryEventLog(), MemoryDatabase()
    ledger = FakeLedger(log, database.jobs)
    quiet = {name: KindOfWork(_nothing, resumable=True) for name in KINDS}
    objects, metrics = ObjectStores(MemoryObjectStore()), AdminMetrics(None, KINDS)
    app = create_app(log, database, objects, AdminSettings(**settings), kinds=quiet, metrics=metrics)
    deciding = asyncio.create_task(ledger.run())
    try:
        async with app.router.lifespan_context(app):
            yield House(log, database, ledger, app, metrics)
    finally:
        deciding.cancel()
        with suppress(asyncio.CancelledError):
            await deciding


BAD_KEYS: dict[str, dict[str, Any]] = {
    "a session": {"kind": KeyKind.SESSION},
    "a link to the page": {"kind": KeyKind.PAGE_LINK},
    "a worker's": {"kind": KeyKind.WORKER, "endpoint": "upscale"},
    "expired": {"expires_at": 1},
}
WEAK_KEYS: dict[str, dict[str, Any]] = {
    "a user's": {"role": Role.USER},
    "a restricted user's": {"role": Role.RESTRICTED},
    "an admin's for reading": {"scopes": (Scope.READ,)},
    "an admin's for reading and writing": {"scopes": (Scope.READ, Scope.WRITE)},
}
