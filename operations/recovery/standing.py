"""Closing a database to everybody else, and opening it again: in its identity, so that it outlives whoever did it."""

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from repo.clock import now_ms
from repo.mongo import MongoDatabase
from repo.mongo_guard import LOOK_EVERY_S
from schemas.identities import Identity, Standing

Positions = Mapping[str, Mapping[int, int]]

NOTICED_S = LOOK_EVERY_S + 1.0  # by then every process has looked, and what it had begun to write is written


async def close(
    database: MongoDatabase, standing: Standing, *, backup_id: str | None = None, positions: Positions | None = None
) -> Identity:
    """Nobody else uses the database once this returns, and until ``reopen``."""
    before = await database.identities.identity()
    closed = Identity(
        identity=before.identity if before else str(uuid4()),
        standing=standing,
        recovered=before.recovered if before else False,
        made_at=before.made_at if before else now_ms(),
        backup_id=backup_id,
        positions=positions,
    )
    await database.identities.store(closed)
    if before is None or before.standing is Standing.OPEN:
        await asyncio.sleep(NOTICED_S)
    return closed


async def reopen(database: MongoDatabase, closed: Identity) -> Identity:
    """Open it to all, as another one than any process knows: those that keep what it may contradict start again."""
    opened = Identity(identity=str(uuid4()), recovered=True, made_at=now_ms(), backup_id=closed.backup_id)
    await database.identities.store(opened)
    return opened
