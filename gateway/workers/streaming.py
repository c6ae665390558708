"""What a generator handler streams, appended to the job's chunks until clients take it."""

import asyncio
from enum import Enum, auto
from uuid import uuid4
from weakref import WeakValueDictionary

from gateway.core.chunks import Full, Stale, appended
from gateway.core.handouts import HandOut
from repo.endpoints import EndpointStore
from repo.ports import Unavailable

TRIES = 50
PAUSE_S = 0.01


class Streamed(Enum):
    KEPT = auto()
    OLD = auto()  # of an attempt that is not the newest any more
    FULL = auto()  # nobody takes what is there


class Streams:
    """One a process. Chunks of one job that come at once are added one after the other: each rewrites what waits."""

    def __init__(self, store: EndpointStore) -> None:
        self._store = store
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def add(self, handed: HandOut, text: str, delete_at: int) -> Streamed:
        """Compare-and-set until it holds; clients empty the same document. Raises ``Unavailable``."""
        if handed.settled:
            return Streamed.OLD
        writer = uuid4().hex  # of this chunk, at every try: two who add the same text at once write two
        async with self._turns.setdefault(handed.job_id, asyncio.Lock()):
            for _ in range(TRIES):
                known = await self._store.chunks(handed.job_id)
                try:
                    wanted = appended(known, handed.job_id, handed.attempt, text, delete_at, writer)
                except Stale:
                    return Streamed.OLD
                except Full:
                    return Streamed.FULL
                if await self._store.store_chunks(wanted, known.version if known else 0):
                    return Streamed.KEPT
                await asyncio.sleep(PAUSE_S)
        raise Unavailable("mongodb", "too many write the same stream")
