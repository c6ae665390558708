"""A finished video's way into the object store. It survives an outage: retries, then the fallback store, then failure.

Keys carry job, attempt, worker and session, so a repeated upload writes the same object and a late one overwrites
nobody's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from inference_worker.messages import Media, MediaFile
from repo.core.object_keys import file_key, session_keys
from repo.ports import ObjectStore, Unavailable
from schemas.dispatch import RunAttempt
from schemas.jobs import Output, StoredFile

FALLBACK = "fallback"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long the stores are tried for one attempt's files, and the pauses between two tries."""

    main_s: float = 600.0
    fallback_s: float = 120.0
    first_pause_s: float = 0.5
    last_pause_s: float = 15.0


class StorageFailed(Exception):
    """No store took the files in time. The message is for a person."""


class FileStore:
    """Stores for one worker. ``fallback`` is used once ``main`` has been away for longer than our patience."""

    def __init__(
        self, main: ObjectStore, fallback: ObjectStore | None = None, patience: Patience | None = None
    ) -> None:
        self._main = main
        self._fallback = fallback
        self._patience = patience or Patience()

    async def store(self, order: RunAttempt, media: Media, stored: Callable[[int, int], None]) -> Output:
        """Store all files; ``stored(step, steps)`` hears of each. Raises ``StorageFailed``, OSError for a lost file."""
        files = {"video": media.video, "poster": media.poster, "thumbnail": media.thumbnail}
        done: dict[str, StoredFile] = {}
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience.main_s
        turns: list[tuple[ObjectStore, str | None, float]] = [(self._main, None, until)]
        if self._fallback:
            turns.append((self._fallback, FALLBACK, until + self._patience.fallback_s))
        reason = ""
        for store, name, deadline in turns:
            try:
                async with asyncio.timeout_at(deadline):
                    for kind, file in files.items():
                        if kind not in done:
                            done[kind] = replace(await self._put(store, _key(order, kind), file), store=name)
                            stored(len(done), len(files))
                break
            except TimeoutError:
                reason = f"the {name or 'main'} store did not take it"
                log.error("store_given_up", job_id=order.job_id, attempt=order.attempt, store=name or "main")
        else:
            raise StorageFailed(f"The video was made but could not be stored: {reason} in time.")
        return Output(
            video=done["video"],
            poster=done["poster"],
            thumbnail=done["thumbnail"],
            width=media.width,
            height=media.height,
            frames=media.frames,
            fps=media.fps,
            duration=media.duration,
        )

    async def discard(self, order: RunAttempt) -> None:
        """Delete what the attempt has stored. Raises ``Unavailable``; what stays is garbage that nobody refers to."""
        keys = session_keys(order.user_id, order.job_id, order.attempt, order.worker_id, order.session)
        for store in (self._main, self._fallback):
            if store:
                await store.delete(keys)

    async def _put(self, store: ObjectStore, key: str, file: MediaFile) -> StoredFile:
        """Store one file, however often it takes; the caller's deadline ends it."""
        pause = self._patience.first_pause_s
        while True:
            try:
                found = await store.put_file(key, file.path, file.media_type)
            except Unavailable as failure:
                log.warning("upload_waits", key=key, reason=str(failure))
            else:
                if found.sha256 == file.sha256:
                    return found
                log.warning("upload_differs", key=key)  # a bad disk or wire: what was stored is not what was made
            await asyncio.sleep(pause)
            pause = min(self._patience.last_pause_s, pause * 2)


def _key(order: RunAttempt, kind: str) -> str:
    return file_key(order.user_id, order.job_id, order.attempt, order.worker_id, order.session, kind)
