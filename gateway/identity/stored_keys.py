"""Stored keys as a gateway uses them: looked up by hash through a memory of a few seconds, used up where they are good
for one use, and their uses noted beside the request.

A revoked key is refused within half a minute everywhere; while the store does not answer, a key that was good less
than ``STALE_MS`` ago still is.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.core.recent import Recent
from gateway.identity.keys import hash_of
from repo.access import AccessStore
from repo.ports import Unavailable
from schemas.access import ApiKey, KeyKind

STALE_MS = 30_000
REMEMBERED_MAX = 10_000
NOTE_EVERY_MS = 60_000
NOTES_MAX = 100  # being written at a time; a store that hangs gathers no more
logger = structlog.get_logger()


class StoredKeys:
    """One a process."""

    def __init__(self, store: AccessStore, fresh_ms: int, now: Callable[[], int]) -> None:
        self._store = store
        self._fresh_ms = fresh_ms
        self._now = now
        self._remembered: Recent[str, tuple[ApiKey, int]] = Recent(REMEMBERED_MAX)
        self._noted: Recent[str, int] = Recent(REMEMBERED_MAX)
        self._writing: set[asyncio.Task[None]] = set()

    async def good(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, of whatever kind, if it counts now. Raises ``Unavailable`` if that can't be known."""
        key = await self._look_up(key_hash)
        return key if key is not None and self._counts(key) else None

    async def take(self, secret: str, kind: KeyKind) -> ApiKey | None:
        """Use up a one-time key: of racing callers one gets it, and only if it is of this kind and counts now."""
        key = await self._store.consume_one_time_key(hash_of(secret))
        return key if key is not None and key.kind is kind and self._counts(key) else None

    async def keep(self, key: ApiKey) -> None:
        """Store a new one. What has expired of the same user's sessions and one-time keys goes."""
        await self._store.store_api_key(key)
        now = self._now()
        self._beside(lambda: self._store.discard_expired_keys(key.user_id, now))

    def used(self, key: ApiKey) -> None:
        """Note that the key was used now, at most once a minute; costs the caller nothing, and may fail unseen."""
        now = self._now()
        if now - self._noted.get(key.key_hash, -NOTE_EVERY_MS) < NOTE_EVERY_MS:
            return
        if self._beside(lambda: self._store.touch_api_key(key.key_hash, now)):
            self._noted[key.key_hash] = now

    def _counts(self, key: ApiKey) -> bool:
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > self._now())

    def _beside(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Let it be done while the request goes on; False (and not begun) where too much of this waits already."""
        if len(self._writing) >= NOTES_MAX:
            return False
        task = asyncio.create_task(_quietly(work))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return True

    async def _look_up(self, key_hash: str) -> ApiKey | None:
        known = self._remembered.get(key_hash)
        asked_at = self._now()
        if known is not None and asked_at - known[1] < self._fresh_ms:
            return known[0]
        try:
            key = await self._store.api_key(key_hash)
        except Unavailable:
            if known is not None and asked_at - known[1] < STALE_MS:
                return known[0]
            raise
        if key is None:
            self._remembered.pop(key_hash, None)
            return None
        self._remembered[key_hash] = (key, asked_at)
        return key


async def _quietly(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 -- nobody waits for it, nothing depends on it
        logger.debug("key_note_failed", error=type(error).__name__)
