"""Closing a database to everybody else, and opening it again: in its identity, so that it outlives whoever did it.

One restore or rebuild at a time holds it. Its lease stands in the identity too, and each change of that is compared, so
that whoever was taken for dead changes nothing any more.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import uuid4

from operations.replay.holder import is_gone, this_run
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.mongo import MongoDatabase
from repo.mongo_guard import LOOK_EVERY_S
from repo.ports import Unavailable
from schemas.identities import Identity, Standing

Positions = Mapping[str, Mapping[int, int]]

NOTICED_S = LOOK_EVERY_S + 1.0  # by then every process has looked, and what it had begun to write is written
LEASE_MS = 150_000  # a write that waits for the server as long as it may, and the next
RENEW_MS = 15_000
TAKEN = "Another restore or rebuild has the database now: look which, before you run one again."


class Hold:
    """Made by ``hold``. ``identity``: what stands in the database."""

    def __init__(self, database: MongoDatabase, identity: Identity) -> None:
        self._database = database
        self.identity = identity

    async def sure(self) -> None:
        """To be asked between writes: renews the lease now and then. Raises ``StackError`` where somebody else has it,
        ``Unavailable``."""
        if now_ms() > self.identity.held_until - LEASE_MS + RENEW_MS:
            await self.moved(self.identity.standing)

    async def moved(self, standing: Standing, **changes: object) -> None:
        """It stands so from now on, and is held still. Raises as ``sure``."""
        await self._store(replace(self.identity, standing=standing, held_until=now_ms() + LEASE_MS, **changes))  # type: ignore[arg-type]  # members of the identity

    async def left(self, standing: Standing) -> None:
        """It stands so, and nobody holds it. Raises as ``sure``."""
        await self._store(replace(self.identity, standing=standing, holder=None, held_until=0))

    async def opened(self) -> None:
        """Open it to all, as another one than any process knows: those that keep what it may contradict start again.
        Raises as ``sure``."""
        backup_id = self.identity.backup_id
        await self._store(Identity(identity=str(uuid4()), recovered=True, made_at=now_ms(), backup_id=backup_id))

    async def _store(self, identity: Identity) -> None:
        if not await self._database.identities.replace(identity, self.identity):
            raise StackError(TAKEN)
        self.identity = identity


@asynccontextmanager
async def hold(
    database: MongoDatabase,
    known: Identity | None,
    standing: Standing,
    *,
    backup_id: str | None = None,
    positions: Positions | None = None,
) -> AsyncIterator[Hold]:
    """Nobody else uses the database in here; after it, only another restore or rebuild, until one has ``opened`` it.

    ``known``: the identity by which it was decided to do this. Raises ``StackError`` where another one is at it, or was
    since then.
    """
    require_free(known)
    closed = Identity(
        identity=known.identity if known else str(uuid4()),
        standing=standing,
        recovered=known.recovered if known else False,
        made_at=known.made_at if known else now_ms(),
        backup_id=backup_id,
        positions=positions,
        holder=this_run(),
        held_until=now_ms() + LEASE_MS,
    )
    if not await database.identities.replace(closed, known):
        raise StackError("Another process has just closed or opened the database: look, and run it again.")
    held = Hold(database, closed)
    try:
        if known is None or known.standing is Standing.OPEN:
            await asyncio.sleep(NOTICED_S)
        yield held
    finally:
        if held.identity.holder is not None:
            with suppress(StackError, Unavailable):
                await held.left(held.identity.standing)


def require_free(known: Identity | None) -> None:
    """Raises ``StackError`` while a restore or rebuild holds it that may live."""
    if known is None or known.holder is None or known.held_until <= now_ms() or is_gone(known.holder):
        return
    left = (known.held_until - now_ms()) / 1000
    raise StackError(
        "Another restore or rebuild is at work on this database. Should it have died on another machine, run this "
        f"again in {left:.0f} s."
    )
