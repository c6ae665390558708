"""The janitor: deletes files of deleted jobs, deleted users and discarded attempts, and nothing else.

Deleting twice is deleting once, so redelivery is harmless; a replay is made harmless by asking the documents first. A
late upload of a deleted job's attempt is covered by the ``FilesDiscarded`` that the ledger says at the late report.
"""

from collections.abc import Awaitable, Callable

from repo.core.documents import DamagedDocumentError
from repo.core.object_keys import attempt_prefixes, job_prefixes, user_prefix
from repo.ports import JobStore, ObjectStore
from schemas.accounts import Account
from schemas.codec import Message, Record
from schemas.events import AccountEvent, FilesDiscarded, JobEvent
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from streams.deadletters import CannotProcess

AT_ONCE = 1000


class Janitor:
    """Handles ``openv.events``. ``prepare`` is called before the first deletion, not at the start: until there is
    something to delete, the object store may be away.
    """

    def __init__(self, store: JobStore, objects: ObjectStore, prepare: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._objects = objects
        self._prepare = prepare
        self._prepared = False

    async def handle(self, message: Message, record: Record, generation: int) -> None:  # noqa: ARG002 -- keeps nothing
        """See ``Handler.handle``."""
        try:
            match message:
                case JobEvent(job=job) if job.state is State.DELETED:
                    await self._delete_job(job)
                case FilesDiscarded():
                    await self._discard(message)
                case AccountEvent(account=account) if account.deleted_at is not None:
                    await self._delete_user(account)
        except DamagedDocumentError as error:
            raise CannotProcess(f"whether files are still needed can't be told: {error}", error) from error

    async def _ready(self) -> ObjectStore:
        if not self._prepared:
            await self._prepare()
            self._prepared = True
        return self._objects

    async def _delete_job(self, job: Job) -> None:
        for prefix in job_prefixes(job.user_id, job.job_id):
            await self._delete_under(prefix)

    async def _discard(self, discarded: FilesDiscarded) -> None:
        """Files that the document shows to its owner stay, whatever the event says."""
        job = await self._store.job(discarded.job_id)
        visible = shown_keys(job.output) if job is not None and job.output is not None else frozenset()
        of = (discarded.user_id, discarded.job_id, discarded.attempt, discarded.worker_id)
        for prefix in attempt_prefixes(*of):
            await self._delete_under(prefix, visible)

    async def _delete_user(self, told: Account) -> None:
        """Only if the account still is deleted: a user who came back since keeps the new files."""
        account = await self._store.account(told.user_id)
        if account is None or account.deleted_at is not None:
            await self._delete_under(user_prefix(told.user_id))

    async def _delete_under(self, prefix: str, but: frozenset[str] = frozenset()) -> None:
        objects = await self._ready()
        keys = [key for key in await objects.list_keys(prefix) if key not in but]
        for start in range(0, len(keys), AT_ONCE):
            await objects.delete(keys[start : start + AT_ONCE])


def shown_keys(output: Output) -> frozenset[str]:
    """The object keys that a document shows."""
    files = (output.video, output.poster, output.thumbnail)
    return frozenset([*(file.key for file in files if file is not None), *filter(None, (output.value_key,))])
