"""A finished video's way into an object store. It survives an outage: retries, then the fallback store, then failure.

Keys carry job, attempt, worker and session, so a repeated upload writes the same object and a late one overwrites
nobody's. Files of one video may end in different stores; each says in which. A store that took a file but whose answer
was lost keeps a copy that nobody is shown; it is deleted with the job.

The video waits in the work directory, which ends with the process: if the worker dies meanwhile, the attempt is lost
and the video is made again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from inference_worker.delivery import Deliveries, NotDelivered
from inference_worker.messages import Media, MediaFile
from inference_worker.waiting import Waiting
from repo.core.addresses import Rules
from repo.core.object_keys import file_key, session_keys
from repo.ports import ObjectStore, Unavailable
from repo.stores import ObjectStores
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode
from schemas.jobs import Output, StoredFile

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long the main store alone is tried for one attempt's files, how long then the fallback and the main
    store in turn, and the pauses between two tries."""

    main_s: float = 600.0
    fallback_s: float = 120.0
    first_pause_s: float = 0.5
    last_pause_s: float = 15.0


class StorageFailed(Exception):
    """The files are not where they should be. The message is for a person."""

    def __init__(self, words: str, code: FailureCode = FailureCode.STORAGE_UNAVAILABLE) -> None:
        super().__init__(words)
        self.code = code


class FileStore:
    """Stores for one worker. The fallback is used once the main one has been away for longer than our patience."""

    def __init__(self, stores: ObjectStores, patience: Patience | None = None, rules: Rules | None = None) -> None:
        """``rules``: where clients' own buckets may be."""
        self._stores = stores
        self._deliveries = Deliveries(stores, rules)
        self._patience = patience or Patience()
        self._prepared: set[str | None] = set()

    async def prepare(self) -> None:
        """Make the buckets that are missing. Raises ``Unavailable`` unless at least one store can take files."""
        absent: Unavailable | None = None
        for name, store in self._stores.each():
            try:
                await self._prepare(name, store)
            except Unavailable as failure:
                absent = absent or failure
        if not self._prepared and absent is not None:
            raise absent
        if absent is not None:
            log.warning("store_away", server=absent.server, reason=absent.reason)

    async def store(
        self,
        order: RunAttempt,
        media: Media,
        stored: Callable[[int, int], None],
        waits: Callable[[], None] = lambda: None,
    ) -> Output:
        """Store all files, and the video in the client's own bucket as well where the job names one.

        ``stored(step, steps)`` hears of each of ours, ``waits()`` that none is taken and it is tried again.

        Raises ``StorageFailed``, OSError for a lost file.
        """
        files = {"video": media.video, "poster": media.poster, "thumbnail": media.thumbnail}
        done: dict[str, StoredFile] = {}
        waiting = Waiting(order, waits)
        main_until = _now() + self._patience.main_s
        until = main_until + (self._patience.fallback_s if self._stores.fallback else 0)
        try:
            async with asyncio.timeout_at(until):
                for kind, file in files.items():
                    done[kind] = await self._keep(_key(order, kind), file, main_until, waiting)
                    waiting.over(done[kind].store)
                    stored(len(done), len(files))
        except TimeoutError:
            waiting.given_up()
            tried = " and ".join(f"the {name or 'main'} store" for name, _ in self._stores.each())
            raise StorageFailed(f"The video was made but could not be stored: {tried} did not take it.") from None
        try:
            await self._deliveries.deliver(order, media.video)
        except NotDelivered as refused:
            raise StorageFailed(str(refused), refused.code) from None
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
        """Delete what the attempt has stored, in every store; one that is away is tried again for as long as an upload.

        Raises ``Unavailable``; what stays then is shown to no one, and the janitor may yet be told of it.
        """
        keys = session_keys(order.user_id, order.job_id, order.attempt, order.worker_id, order.session)
        left = [store for _, store in self._stores.each()]
        until, pause = _now() + self._patience.main_s, self._patience.first_pause_s
        while True:
            absent: Unavailable | None = None
            for store in tuple(left):
                try:
                    await store.delete(keys)
                except Unavailable as failure:
                    absent = failure
                else:
                    left.remove(store)
            if absent is None:
                return
            if _now() + pause > until:
                raise absent
            await asyncio.sleep(pause)
            pause = self._longer(pause)

    async def _keep(self, key: str, file: MediaFile, main_until: float, waiting: Waiting) -> StoredFile:
        """Store one file, however often it takes; the caller's deadline ends it."""
        pause = self._patience.first_pause_s
        while True:
            alone = self._stores.fallback is None or _now() < main_until
            for name, store in reversed(list(self._stores.each())) if not alone else [(None, self._stores.main)]:
                try:
                    # What swallows requests and never answers must not eat up the fallback's time as well.
                    async with asyncio.timeout_at(main_until if alone else None):
                        return replace(await self._put(name, store, key, file), store=name)
                except Unavailable as failure:
                    waiting.refused(name, failure.reason)
                except TimeoutError:
                    waiting.refused(name, "no answer in time")
            await asyncio.sleep(min(pause, max(0.0, main_until - _now())) if alone else pause)
            pause = self._longer(pause)

    async def _put(self, name: str | None, store: ObjectStore, key: str, file: MediaFile) -> StoredFile:
        try:
            found = await store.put_file(key, file.path, file.media_type)
        except Unavailable:
            with suppress(Unavailable):
                await self._prepare(name, store)  # it may have been away when this worker began, and lack its bucket
            raise
        if found.sha256 != file.sha256:  # a bad disk or wire
            raise Unavailable("s3", "what it holds is not what was made")
        return found

    async def _prepare(self, name: str | None, store: ObjectStore) -> None:
        if name not in self._prepared:
            await store.prepare()
            self._prepared.add(name)

    def _longer(self, pause: float) -> float:
        return min(self._patience.last_pause_s, pause * 2)


def _key(order: RunAttempt, kind: str) -> str:
    return file_key(order.user_id, order.job_id, order.attempt, order.worker_id, order.session, kind)


def _now() -> float:
    return asyncio.get_running_loop().time()
