"""The janitor: deletes files of deleted jobs, deleted users and discarded attempts, and what let those users in.

What a deleted job's worker streamed goes as well; a deleted user's jobs are all told of one by one.

In every store: attempts of one job may have stored in different ones, and a store that took a file may have lost its
answer. While one of them is away, its partitions of the topic wait; what lies in the others is deleted meanwhile.
Deleting twice is deleting once, so redelivery is harmless; a replay is made harmless by asking the documents first. A
late upload of a deleted job's attempt is covered by the ``FilesDiscarded`` that the ledger says at the late report.
"""

from collections.abc import Callable, Sequence

import structlog

from repo.access import AccessStore
from repo.clock import now_ms
from repo.core.documents import DamagedDocumentError
from repo.core.object_keys import attempt_prefixes, job_prefixes, user_prefix
from repo.endpoints import EndpointStore
from repo.ports import JobStore, ObjectStore, Unavailable
from repo.stores import ObjectStores
from schemas.accounts import Account
from schemas.codec import Message, Record
from schemas.events import AccountEvent, FilesDiscarded, JobEvent
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from streams.core.shown_files import Place, shown
from streams.deadletters import CannotProcess

AT_ONCE = 1000

log = structlog.get_logger()


class Janitor:
    """Handles ``openv.events``. The stores are asked for nothing before there is something to delete in them."""

    def __init__(
        self,
        store: JobStore,
        access: AccessStore,
        endpoints: EndpointStore,
        stores: ObjectStores,
        now: Callable[[], int] = now_ms,
        deleted: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``deleted`` hears of each deletion how many files it was for."""
        self._store = store
        self._access = access
        self._endpoints = endpoints
        self._stores = stores
        self._now = now
        self._deleted = deleted
        self._prepared: set[str | None] = set()
        self._unknown: set[str] = set()

    async def handle(self, message: Message, record: Record, generation: int) -> None:  # noqa: ARG002 -- keeps nothing
        """See ``Handler.handle``."""
        try:
            match message:
                case JobEvent(job=job) if job.state is State.DELETED:
                    await self._delete_job(job)
                case JobEvent(job=job) if job.output is not None:
                    self._look_at(job.output)
                case FilesDiscarded():
                    await self._discard(message)
                case AccountEvent(account=account) if account.deleted_at is not None:
                    await self._delete_user(account)
        except DamagedDocumentError as error:
            raise CannotProcess(f"whether files are still needed can't be told: {error}", error) from error

    def _look_at(self, output: Output) -> None:
        """Say it, once, while it still can be put right: a deleted job's document no longer names its stores."""
        for name, _ in shown(output):
            if name is not None and self._stores.named(name) is None and name not in self._unknown:
                self._unknown.add(name)
                log.error("files in this store will not be deleted: set S3_FALLBACK_* as on the workers", store=name)

    async def _delete_job(self, job: Job) -> None:
        if job.external:
            await self._endpoints.forget_chunks(job.job_id)
        await self._delete_under(job_prefixes(job.user_id, job.job_id))

    async def _discard(self, discarded: FilesDiscarded) -> None:
        """Files that the document shows to its owner stay, whatever the event says."""
        job = await self._store.job(discarded.job_id)
        visible = shown(job.output) if job is not None else frozenset()
        of = (discarded.user_id, discarded.job_id, discarded.attempt, discarded.worker_id)
        await self._delete_under(attempt_prefixes(*of), visible)

    async def _delete_user(self, told: Account) -> None:
        """Files only if the account still is deleted: a user who came back since keeps the new ones.

        Keys, acceptances and personal data go even then, those from before the deletion: an old key must not open the
        new account. While the account is deleted all that is there goes, whichever clock stamped it.
        """
        asked_at = self._now()
        account = await self._store.account(told.user_id)
        is_gone = account is None or account.deleted_at is not None
        await self._access.forget(told.user_id, asked_at if is_gone else told.deleted_issued_at)
        if is_gone:
            await self._delete_under([user_prefix(told.user_id)])

    async def _delete_under(self, prefixes: Sequence[str], but: frozenset[Place] = frozenset()) -> None:
        """In every store, but for these. Raises ``Unavailable`` after all were asked."""
        absent: Unavailable | None = None
        for name, objects in self._stores.each():
            try:
                await self._ready(name, objects)
                for prefix in prefixes:
                    keys = [key for key in await objects.list_keys(prefix) if (name, key) not in but]
                    for start in range(0, len(keys), AT_ONCE):
                        await objects.delete(keys[start : start + AT_ONCE])
                        self._deleted(len(keys[start : start + AT_ONCE]))
            except Unavailable as failure:
                absent = absent or failure
        if absent is not None:
            raise absent

    async def _ready(self, name: str | None, objects: ObjectStore) -> None:
        if name not in self._prepared:
            await objects.prepare()
            self._prepared.add(name)
