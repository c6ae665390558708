"""The job store on MongoDB, through motor (kept to what PyMongo's ``AsyncMongoClient`` has too).

Only what MongoDB 8 and the embedded stand-in do alike: compare-and-set by a filtered replace, ``$max``, plain indexes.
Writes are acknowledged by a majority, from its journal. Every write may be repeated: a compare-and-set whose answer
was lost finds its own document, and says True.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from repo.core.documents import NotStorableError, from_document, to_document, to_moment
from repo.mongo_outage import Outage, StillAway
from repo.ports import ApiKey, Unavailable
from repo.settings import ServerSettings
from schemas.accounts import Account
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State

T = TypeVar("T")
Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]

SELECT_WITHIN_MS = 2_000
DUPLICATE_KEY = 11_000  # MongoDB's code
_SPARE_S = 0.5  # the driver's own word on what is wrong is better than ours
_ACTIVE = sorted(ACTIVE)

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "jobs": (
        (("userId", ASCENDING), ("createdAt", DESCENDING), ("_id", DESCENDING)),  # jobs_of
        (("userId", ASCENDING), ("updatedAt", DESCENDING)),  # jobs_of(updated_since=…)
        (("userId", ASCENDING), ("charge.reservedAt", DESCENDING)),  # counted_jobs, by period
        (("userId", ASCENDING), ("state", ASCENDING)),  # counted_jobs, the active ones
        (("state", ASCENDING), ("pool", ASCENDING)),  # active_jobs, active_pools
    ),
    "api_keys": ((("userId", ASCENDING),),),
}


class MongoJobStore:
    """``async with MongoJobStore(settings) as store``. Implements ``JobStore``; entering does not wait for MongoDB.

    ``timeout_s`` bounds each answer; finding the server takes 2.5 s more at most. A document that cannot be read raises
    ``DamagedDocumentError``, one that could not be read again ``NotStorableError`` (both in ``repo.core.documents``).
    """

    def __init__(self, settings: ServerSettings, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._timeout_ms = int(timeout_s * 1000)
        self._within_s = timeout_s + SELECT_WITHIN_MS / 1000 + _SPARE_S
        self._outage = Outage()

    async def __aenter__(self) -> Self:
        # At DEBUG pymongo logs commands, whose documents hold prompts, whatever level an operator sets.
        logging.getLogger("pymongo").setLevel(max(logging.INFO, logging.getLogger("pymongo").level))
        self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
            self._settings.mongodb_uri,
            appname="openv",
            tz_aware=True,
            retryWrites=False,  # the stand-in has no sessions; our writes may be repeated anyway
            w="majority",
            journal=True,
            serverSelectionTimeoutMS=SELECT_WITHIN_MS,
            connectTimeoutMS=SELECT_WITHIN_MS,
            socketTimeoutMS=self._timeout_ms,
            waitQueueTimeoutMS=self._timeout_ms,
        )
        database = self._client[self._settings.mongodb_database]
        self._jobs: Collection = database["jobs"]
        self._accounts: Collection = database["accounts"]
        self._keys: Collection = database["api_keys"]
        self._offsets: Collection = database["applied_offsets"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    async def prepare(self) -> None:
        """Make the indexes that are missing."""
        for at in (self._jobs, self._keys):
            for index in INDEXES[at.name]:
                await self._answer(partial(at.create_index, list(index)))

    async def job(self, job_id: str) -> Job | None:
        """See ``JobStore.job``."""
        return _read(Job, await self._answer(lambda: self._jobs.find_one({"_id": job_id})))

    async def store_job(self, job: Job, expected: int) -> bool:
        """See ``JobStore.store_job``."""
        return await self._compare_and_set(self._jobs, job, job.job_id, expected)

    async def settle_job(self, job: Job) -> bool:
        """See ``JobStore.settle_job``."""
        document = to_document(job, job.job_id)
        older = {"_id": job.job_id, "version": {"$lt": job.version}}
        try:
            await self._answer(lambda: self._jobs.replace_one(older, document, upsert=True))
        except DuplicateKeyError:
            return await self.job(job.job_id) == job  # there is one, and it is not older
        return True

    async def jobs_of(
        self,
        user_id: str,
        *,
        updated_since: int | None = None,
        states: Iterable[State] | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """See ``JobStore.jobs_of``."""
        wanted: Document = {"userId": user_id}
        if updated_since is not None:
            wanted["updatedAt"] = {"$gt": to_moment(updated_since)}
        if states is not None:
            wanted["state"] = {"$in": sorted(states)}
        if before is not None:
            created_at, job_id = to_moment(before[0]), before[1]
            wanted["$or"] = [{"createdAt": {"$lt": created_at}}, {"createdAt": created_at, "_id": {"$lt": job_id}}]
        if limit < 1 or wanted.get("state") == {"$in": []}:
            return []
        order = [("createdAt", DESCENDING), ("_id", DESCENDING)]
        found = await self._answer(lambda: self._jobs.find(wanted).sort(order).limit(limit).to_list(None))
        return [from_document(Job, document) for document in found]

    async def counted_jobs(self, user_id: str, since: int) -> list[Job]:
        """See ``JobStore.counted_jobs``."""
        counted = [{"state": {"$in": _ACTIVE}}, {"charge.reservedAt": {"$gte": to_moment(since)}}]
        return await self._all_jobs({"userId": user_id, "$or": counted})

    async def active_jobs(self, pool: str) -> list[Job]:
        """See ``JobStore.active_jobs``."""
        return await self._all_jobs({"pool": pool, "state": {"$in": _ACTIVE}})

    async def active_pools(self) -> list[str]:
        """See ``JobStore.active_pools``."""
        return sorted(await self._answer(lambda: self._jobs.distinct("pool", {"state": {"$in": _ACTIVE}})))

    async def account(self, user_id: str) -> Account | None:
        """See ``JobStore.account``."""
        return _read(Account, await self._answer(lambda: self._accounts.find_one({"_id": user_id})))

    async def store_account(self, account: Account, expected: int) -> bool:
        """See ``JobStore.store_account``."""
        return await self._compare_and_set(self._accounts, account, account.user_id, expected)

    async def api_key(self, key_hash: str) -> ApiKey | None:
        """See ``JobStore.api_key``."""
        return _read(ApiKey, await self._answer(lambda: self._keys.find_one({"_id": key_hash})))

    async def store_api_key(self, key: ApiKey) -> None:
        """See ``JobStore.store_api_key``."""
        document = to_document(key, key.key_hash)
        try:
            await self._answer(lambda: self._keys.replace_one({"_id": key.key_hash}, document, upsert=True))
        except DuplicateKeyError:  # two upserts of a new key met: now it is there to be replaced
            await self._answer(lambda: self._keys.replace_one({"_id": key.key_hash}, document, upsert=True))

    async def consume_one_time_key(self, key_hash: str) -> ApiKey | None:
        """See ``JobStore.consume_one_time_key``. Never repeated: a lost answer has used the key up."""
        good = {"_id": key_hash, "oneTime": True}
        taken = await self._answer(lambda: self._keys.find_one_and_delete(good), repeat=False)
        return _read(ApiKey, taken)

    async def api_keys(self, user_id: str) -> list[ApiKey]:
        """See ``JobStore.api_keys``."""
        order = [("createdAt", ASCENDING), ("_id", ASCENDING)]
        found = await self._answer(lambda: self._keys.find({"userId": user_id}).sort(order).to_list(None))
        return [from_document(ApiKey, document) for document in found]

    async def applied_offsets(self, consumer: str) -> dict[int, int]:
        """See ``JobStore.applied_offsets``."""
        found = await self._answer(lambda: self._offsets.find({"consumer": consumer}).to_list(None))
        return {document["partition"]: document["offset"] for document in found}

    async def store_applied_offsets(self, consumer: str, offsets: Mapping[int, int]) -> None:
        """See ``JobStore.store_applied_offsets``."""
        changes = [
            UpdateOne(
                {"_id": f"{consumer}:{partition}"},
                {"$max": {"offset": offset}, "$setOnInsert": {"consumer": consumer, "partition": partition}},
                upsert=True,
            )
            for partition, offset in offsets.items()
        ]

        async def write() -> None:
            try:
                await self._offsets.bulk_write(changes, ordered=False)
            except BulkWriteError as failure:
                if {one["code"] for one in failure.details["writeErrors"]} != {DUPLICATE_KEY}:
                    raise
                await self._offsets.bulk_write(changes, ordered=False)  # two upserts of a new partition had met

        if changes:  # the driver refuses an empty write
            await self._answer(write)

    async def reset_applied_offset(self, consumer: str, partition: int) -> None:
        """See ``JobStore.reset_applied_offset``."""
        await self._answer(lambda: self._offsets.delete_one({"_id": f"{consumer}:{partition}"}))

    async def ping(self) -> None:
        """See ``JobStore.ping``."""
        await self._answer(lambda: self._client.admin.command("ping"))

    async def _answer(self, ask: Callable[[], Awaitable[T]], *, repeat: bool = True) -> T:
        """MongoDB's answer. Raises ``Unavailable``, and ``DuplicateKeyError``, which callers expect.

        Given up in time even where no thread was free to ask; a write may still be carried out after that.
        """
        try:
            async with asyncio.timeout(self._within_s):
                return await self._outage.ask(lambda: _asked(ask, repeat=repeat))
        except DuplicateKeyError:
            raise
        except DocumentTooLarge:
            raise NotStorableError("the document is over 16 MiB") from None
        except StillAway as absent:
            raise Unavailable("mongodb", _describe(absent.failure)) from None
        except TimeoutError:
            raise Unavailable("mongodb", f"no answer in {self._within_s:g} s") from None
        except PyMongoError as failure:
            raise Unavailable("mongodb", _describe(failure)) from failure

    async def _all_jobs(self, wanted: Document) -> list[Job]:
        found = await self._answer(lambda: self._jobs.find(wanted).to_list(None))
        return sorted((from_document(Job, one) for one in found), key=lambda job: (job.created_at, job.job_id))

    async def _compare_and_set(self, at: Collection, value: Job | Account, key: str, expected: int) -> bool:
        if value.version <= expected:
            raise ValueError(f"version {value.version} does not come after {expected}")
        document = to_document(value, key)
        if expected == 0:
            try:
                await self._answer(lambda: at.insert_one(document))
            except DuplicateKeyError:
                return await self._is_stored(at, value, key)
            return True
        replaced = await self._answer(lambda: at.replace_one({"_id": key, "version": expected}, document))
        return replaced.matched_count == 1 or await self._is_stored(at, value, key)

    async def _is_stored(self, at: Collection, value: Job | Account, key: str) -> bool:
        """Whether this very document is there: then the compare-and-set was ours, and only its answer was lost."""
        stored = await self._answer(lambda: at.find_one({"_id": key, "version": value.version}))
        return stored is not None and from_document(type(value), stored) == value


def _read(kind: type[T], document: Document | None) -> T | None:
    return None if document is None else from_document(kind, document)


async def _asked(ask: Callable[[], Awaitable[T]], *, repeat: bool) -> T:
    """A connection that broke is tried once more: after a restart of the server the pool's connections are all dead."""
    try:
        return await ask()
    except AutoReconnect as failure:
        if not repeat or isinstance(failure, NetworkTimeout | ServerSelectionTimeoutError):
            raise
        return await ask()


def _describe(failure: PyMongoError) -> str:
    """What went wrong, in a line. What the server says about a command may quote the document, so only its code."""
    if isinstance(failure, OperationFailure):
        details = failure.details or {}
        return f"it refuses: {details.get('codeName') or type(failure).__name__} (code {failure.code})"
    words = f"{type(failure).__name__}: {failure}".split(", Timeout:")[0].split(" (configured timeouts:")[0]
    return words.replace("\n", " ")[:200]
