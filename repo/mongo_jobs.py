"""The job store on MongoDB.

Only what MongoDB 8 and the embedded stand-in do alike: compare-and-set by a filtered replace, ``$max``, plain indexes.
Writes are acknowledged by a majority, from its journal. Every write may be repeated: a compare-and-set whose answer
was lost finds its own document, and says True.
"""

from collections.abc import Awaitable, Iterable, Mapping
from typing import TypeVar

from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from repo.core.documents import LeftOut, from_document, to_document, to_moment
from repo.mongo_compared import compare_and_set
from repo.mongo_connection import Collection, Document, MongoConnection
from repo.mongo_sound import sound_accounts, sound_jobs, told
from repo.ports import AccountPage
from schemas.accounts import Account, Role
from schemas.failures import FailureCode
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import ACTIVE, State

T = TypeVar("T")

DUPLICATE_KEY = 11_000  # MongoDB's code
_ACTIVE = sorted(ACTIVE)

_BY_AGE = (("createdAt", DESCENDING), ("_id", DESCENDING))
_BY_CHANGE = (("userId", ASCENDING), ("updatedAt", DESCENDING))
_BY_AMOUNT = {
    name: (("userId", ASCENDING), (name, ASCENDING), ("charge.reservedAt", ASCENDING))
    for name in ("charge.seconds", "charge.credits")
}
_BY_ENDPOINT = (("endpoint", ASCENDING), ("state", ASCENDING), ("createdAt", ASCENDING), ("_id", ASCENDING))
_BY_END = (
    ("endpoint", ASCENDING),
    ("external", ASCENDING),
    ("state", ASCENDING),
    ("finishedAt", ASCENDING),
    ("_id", ASCENDING),
)

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "jobs": (
        (("userId", ASCENDING), ("createdAt", DESCENDING), ("_id", DESCENDING)),  # jobs_of
        _BY_AGE,  # find_jobs
        _BY_CHANGE,  # jobs_of(updated_since=…)
        (("userId", ASCENDING), ("state", ASCENDING)),  # counted_jobs, the active ones
        (("userId", ASCENDING), ("charge.reservedAt", DESCENDING)),  # counted_jobs, those asked for of late
        *_BY_AMOUNT.values(),  # counted_jobs, those charged any
        (("state", ASCENDING), ("pool", ASCENDING)),  # active_jobs, active_pools
        _BY_ENDPOINT,  # endpoint_jobs, endpoint_counts
        _BY_END,  # ended_jobs
    ),
    "accounts": (),  # by _id alone
    "applied_offsets": ((("consumer", ASCENDING),),),  # applied_offsets
}


class MongoJobStore:
    """Implements ``JobStore``.

    A document that cannot be read raises ``DamagedDocumentError``, one that could not be read again
    ``NotStorableError`` (both in ``repo.core.documents``); ``find_jobs`` passes the former by, ``jobs_of`` if asked.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._answer = connection.answer
        self._jobs: Collection = connection.collection("jobs")
        self._accounts: Collection = connection.collection("accounts")
        self._offsets: Collection = connection.collection("applied_offsets")

    async def job(self, job_id: str) -> Job | None:
        """See ``JobStore.job``."""
        return _read(Job, await self._answer(lambda: self._jobs.find_one({"_id": job_id})))

    async def store_job(self, job: Job, expected: int) -> bool:
        """See ``JobStore.store_job``."""
        return await compare_and_set(self._answer, self._jobs, job, job.job_id, expected)

    async def settle_job(self, job: Job) -> bool:
        """See ``JobStore.settle_job``."""
        document = to_document(job, job.job_id)
        older = {"_id": job.job_id, "version": {"$lt": job.version}}
        try:
            await self._answer(lambda: self._jobs.replace_one(older, document, upsert=True))
        except DuplicateKeyError:  # there is one: not older, or it came at the same moment and may yet be
            replaced = await self._answer(lambda: self._jobs.replace_one(older, document))
            return replaced.matched_count == 1 or await self.job(job.job_id) == job
        return True

    async def jobs_of(
        self,
        user_id: str,
        *,
        updated_since: int | None = None,
        states: Iterable[State] | None = None,
        before: tuple[int, str] | None = None,
        oldest_first: bool = False,
        external: bool | None = None,
        limit: int = 100,
        damaged: LeftOut | None = None,
    ) -> list[Job]:
        """See ``JobStore.jobs_of``.

        What changed since is found by the time of its change and then sorted, so that the work grows with that alone:
        in the order of creation the server would look at all of the user's jobs for the few that changed.
        """
        wanted: Document = {"userId": user_id}
        if updated_since is not None:
            wanted["updatedAt"] = {"$gt": to_moment(updated_since)}
        if states is not None:
            wanted["state"] = {"$in": sorted(states)}
        if external is not None:
            wanted["external"] = True if external else {"$ne": True}  # older documents do not say
        order, side = (ASCENDING, "$gt") if oldest_first else (DESCENDING, "$lt")
        if limit < 1 or wanted.get("state") == {"$in": []}:
            return []

        async def find(beyond: tuple[int, str] | None) -> list[Document]:
            there = wanted | ({} if beyond is None else _beyond(beyond, side))

            def ask() -> Awaitable[list[Document]]:
                found = self._jobs.find(there).sort([("createdAt", order), ("_id", order)]).limit(limit)
                return (found if updated_since is None else found.hint(list(_BY_CHANGE))).to_list(None)

            return await self._answer(ask)

        if damaged is not None:
            return await sound_jobs(find, before, limit, damaged, oldest_first=oldest_first)
        return [from_document(Job, document) for document in await find(before)]

    async def find_jobs(
        self,
        *,
        user_id: str | None = None,
        states: Iterable[State] | None = None,
        pool: str | None = None,
        endpoint_id: str | None = None,
        failed_with: FailureCode | None = None,
        created_since: int | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """See ``JobStore.find_jobs``."""
        given = {"userId": user_id, "pool": pool, "endpoint": endpoint_id, "failure.code": failed_with}
        wanted: Document = {name: value for name, value in given.items() if value is not None}
        if states is not None:
            wanted["state"] = {"$in": sorted(states)}
        if limit < 1 or wanted.get("state") == {"$in": []}:
            return []

        async def find(below: tuple[int, str] | None) -> list[Document]:
            there = wanted | ({} if below is None else _beyond(below, "$lt"))
            if created_since is not None:
                there["createdAt"] = {**there.get("createdAt", {}), "$gte": to_moment(created_since)}
            return await self._answer(lambda: self._jobs.find(there).sort(list(_BY_AGE)).limit(limit).to_list(None))

        return await sound_jobs(find, before, limit, told)

    async def counted_jobs(self, user_id: str, charged_since: int, asked_since: int) -> list[Job]:
        """See ``JobStore.counted_jobs``.

        Each part goes by an index of its own; what is charged is found by its amount, so that the many jobs that cost
        nothing are not even looked at.
        """
        admitted: Document = {"userId": user_id, "charge.state": {"$ne": ChargeState.NONE}}
        active = {"userId": user_id, "state": {"$in": _ACTIVE}}
        asked = {**admitted, "charge.reservedAt": {"$gte": to_moment(asked_since)}}
        found = await self._answer(lambda: self._jobs.find({"$or": [active, asked]}).to_list(None))
        charged = {**admitted, "charge.reservedAt": {"$gte": to_moment(charged_since)}}
        for amount, index in _BY_AMOUNT.items():
            found += await self._hinted({**charged, amount: {"$gt": 0}}, index)
        return _in_order({one["_id"]: one for one in found}.values())

    async def last_change(self, user_id: str) -> int:
        """See ``JobStore.last_change``."""
        in_order = [("updatedAt", DESCENDING)]
        found = await self._answer(lambda: self._jobs.find({"userId": user_id}).sort(in_order).limit(1).to_list(None))
        return from_document(Job, found[0]).updated_at if found else 0

    async def active_jobs(self, pool: str) -> list[Job]:
        """See ``JobStore.active_jobs``."""
        return await self._all_jobs({"pool": pool, "state": {"$in": _ACTIVE}})

    async def active_pools(self) -> list[str]:
        """See ``JobStore.active_pools``."""
        return sorted(await self._answer(lambda: self._jobs.distinct("pool", {"state": {"$in": _ACTIVE}})))

    async def endpoint_jobs(
        self, endpoint_id: str, states: Iterable[State], *, user_id: str | None = None, limit: int = 1_000
    ) -> list[Job]:
        """See ``JobStore.endpoint_jobs``."""
        wanted: Document = {"endpoint": endpoint_id, "state": {"$in": sorted(states)}}
        if user_id is not None:
            wanted["userId"] = user_id
        if limit < 1 or not wanted["state"]["$in"]:
            return []
        in_order = [("createdAt", ASCENDING), ("_id", ASCENDING)]
        found = await self._answer(lambda: self._jobs.find(wanted).sort(in_order).limit(limit).to_list(None))
        return [from_document(Job, document) for document in found]

    async def ended_jobs(
        self, endpoint_id: str, states: Iterable[State], ended_by: int, *, external: bool, limit: int
    ) -> list[Job]:
        """See ``JobStore.ended_jobs``."""
        wanted: Document = {
            "endpoint": endpoint_id,
            "external": external,
            "state": {"$in": sorted(states)},
            "finishedAt": {"$lte": to_moment(ended_by)},
        }
        if limit < 1 or not wanted["state"]["$in"]:
            return []
        in_order = [("finishedAt", ASCENDING), ("_id", ASCENDING)]
        found = await self._answer(lambda: self._jobs.find(wanted).sort(in_order).limit(limit).to_list(None))
        return [from_document(Job, document) for document in found]

    async def user_counts(self, user_id: str) -> Mapping[State, int]:
        """See ``JobStore.user_counts``."""

        async def count(state: State) -> int:
            wanted: Document = {"userId": user_id, "state": state}
            return int(await self._answer(lambda: self._jobs.count_documents(wanted)))

        counts = {state: await count(state) for state in State}
        return {state: number for state, number in counts.items() if number}

    async def endpoint_counts(self, endpoint_id: str, since: int) -> Mapping[State, int]:
        """See ``JobStore.endpoint_counts``."""

        async def count(state: State) -> int:
            wanted: Document = {"endpoint": endpoint_id, "state": state}
            if state not in ACTIVE:
                wanted["createdAt"] = {"$gte": to_moment(since)}
            return int(await self._answer(lambda: self._jobs.count_documents(wanted)))

        counts = {state: await count(state) for state in State}
        return {state: number for state, number in counts.items() if number}

    async def account(self, user_id: str) -> Account | None:
        """See ``JobStore.account``."""
        return _read(Account, await self._answer(lambda: self._accounts.find_one({"_id": user_id})))

    async def accounts(
        self,
        *,
        after: str | None = None,
        role: Role | None = None,
        blocked: bool | None = None,
        deleted: bool | None = None,
        limit: int = 100,
    ) -> AccountPage:
        """See ``JobStore.accounts``."""
        given = {"role": role, "blocked": blocked}
        wanted: Document = {name: value for name, value in given.items() if value is not None}
        if after is not None:
            wanted["_id"] = {"$gt": after}
        if deleted is not None:
            wanted["deletedAt"] = {"$exists": deleted}
        if limit < 1:
            return AccountPage(())
        by_id = [("_id", ASCENDING)]
        found = await self._answer(lambda: self._accounts.find(wanted).sort(by_id).limit(limit + 1).to_list(None))
        return sound_accounts(found, limit)

    async def store_account(self, account: Account, expected: int) -> bool:
        """See ``JobStore.store_account``."""
        return await compare_and_set(self._answer, self._accounts, account, account.user_id, expected)

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
        await self._connection.ping()

    async def _hinted(self, wanted: Document, index: tuple[tuple[str, int], ...]) -> list[Document]:
        return await self._answer(lambda: self._jobs.find(wanted).hint(list(index)).to_list(None))

    async def _all_jobs(self, wanted: Document) -> list[Job]:
        return _in_order(await self._answer(lambda: self._jobs.find(wanted).to_list(None)))


def _beyond(last: tuple[int, str], side: str) -> Document:
    """What sorts beyond this (created_at, job_id), on that side (``$lt`` or ``$gt``)."""
    at, job_id = to_moment(last[0]), last[1]
    return {
        "createdAt": {f"{side}e": at},  # says no more than the next line, but bounds an index
        "$or": [{"createdAt": {side: at}}, {"createdAt": at, "_id": {side: job_id}}],
    }


def _read(kind: type[T], document: Document | None) -> T | None:
    return None if document is None else from_document(kind, document)


def _in_order(found: Iterable[Document]) -> list[Job]:
    return sorted((from_document(Job, one) for one in found), key=lambda job: (job.created_at, job.job_id))
