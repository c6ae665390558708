"""What a generator handler streams: appended to the job's chunks by any gateway, and taken from them by any.

Nothing in a post says which chunk it is, and the SDK posts it again where it got no answer, or one of 5xx. What this
gateway itself does not know to be written, because MongoDB gave no answer, is known again by its text.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from hashlib import sha256
from uuid import uuid4
from weakref import WeakValueDictionary

from gateway.core.chunks import Full, Stale, appended, bundle_for, left_behind, taken
from gateway.core.handouts import HandOut
from gateway.core.recent import Recent
from repo.endpoints import EndpointStore
from repo.ports import Unavailable
from schemas.chunks import Chunks

TRIES = 50
PAUSE_S = 0.01
DOUBTS_MAX = 1_000


class Streamed(Enum):
    KEPT = auto()
    OLD = auto()  # of an attempt that is not the newest any more
    FULL = auto()  # nobody takes what is there


class Streams:
    """One a process. Chunks of one job that come at once are added one after the other: each rewrites the document."""

    def __init__(self, store: EndpointStore) -> None:
        self._store = store
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # By job and attempt: the digest of a chunk that may have been written, and under which name.
        self._doubts: Recent[tuple[str, int], tuple[bytes, str]] = Recent(DOUBTS_MAX)

    async def add(self, handed: HandOut, text: str, delete_at: int) -> Streamed:
        """Compare-and-set until it holds; clients empty the same document. Raises ``Unavailable``."""
        if handed.settled:
            return Streamed.OLD
        async with self._turns.setdefault(handed.job_id, asyncio.Lock()):
            of, digest = (handed.job_id, handed.attempt), sha256(text.encode()).digest()
            doubted, writer = self._doubts.pop(of, (b"", ""))
            again = doubted == digest
            if not again:  # two who add the same text at once write two
                writer = uuid4().hex
            try:
                return await self._add(handed, text, delete_at, writer, again=again)
            except Unavailable:
                self._doubts[of] = (digest, writer)
                raise

    async def _add(self, handed: HandOut, text: str, delete_at: int, writer: str, *, again: bool) -> Streamed:
        for _ in range(TRIES):
            known = await self._store.chunks(handed.job_id)
            if again and known is not None and known.writer == writer:
                return Streamed.KEPT
            try:
                wanted = appended(known, handed.job_id, handed.attempt, text, delete_at, writer)
            except Stale:
                return Streamed.OLD
            except Full:
                return Streamed.FULL
            if await self._stored(known, wanted):
                return Streamed.KEPT
            await asyncio.sleep(PAUSE_S)
        raise Unavailable("mongodb", "too many write the same stream")

    async def _stored(self, known: Chunks | None, wanted: Chunks) -> bool:
        bundle = bundle_for(known, wanted)
        if bundle is not None:
            await self._store.store_bundle(bundle)
        if await self._store.store_chunks(wanted, known.version if known else 0):
            await _drop(self._store, left_behind(known, wanted))
            return True
        if bundle is not None:  # whoever was first may have moved the same chunks to the same bundle
            newest = await self._store.chunks(wanted.job_id)
            if newest is None or bundle.bundle_id not in newest.bundle_ids:
                await _drop(self._store, (bundle.bundle_id,))
        return False


async def take(store: EndpointStore, job_id: str, found: Chunks | None) -> tuple[str, ...]:
    """The JSON texts that wait, in order; ``found`` is the job's document as it was just read. They are nobody else's
    then: read first, they are the caller's where it is the one who empties the document. Raises ``Unavailable``."""
    read: dict[str, tuple[str, ...]] = {}  # a bundle never changes: once is enough, however often others are first
    while found is not None and found.count:
        if unread := [one for one in found.bundle_ids if one not in read]:
            read |= {one.bundle_id: one.texts for one in await store.bundles(unread)}
        emptied = taken(found, uuid4().hex)
        if await store.store_chunks(emptied, found.version):
            await _drop(store, left_behind(found, emptied))
            before = (text for one in found.bundle_ids for text in read.get(one, ()))  # none: its time was over
            return (*before, *found.waiting)
        found = await store.chunks(job_id)
    return ()


async def _drop(store: EndpointStore, bundle_ids: Sequence[str]) -> None:
    """Delete bundles that the document does not name any more; where that fails, their time deletes them."""
    if bundle_ids:
        with suppress(Unavailable):
            await store.drop_bundles(bundle_ids)
