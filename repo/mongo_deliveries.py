"""The delivery store on MongoDB: what users are told, and where."""

from collections.abc import Collection, Mapping
from typing import Any

import structlog
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from repo.core.documents import DamagedDocumentError, from_document, to_document, to_moment
from repo.deliveries import BACKLOG_MOST, Backlog
from repo.mongo_connection import Collection as Documents
from repo.mongo_connection import MongoConnection
from schemas.deliveries import JOBS, Delivery, Hooks
from schemas.instants import from_datetime

log = structlog.get_logger()

# Beside the queries below that they serve. A delivery that is over has no ``nextAt``.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "hooks": (),  # by _id alone
    "deliveries": (
        (("nextAt", ASCENDING),),  # due
        (("endpointId", ASCENDING), ("nextAt", ASCENDING)),  # due_to
        (
            ("userId", ASCENDING),
            ("endpointId", ASCENDING),
            ("createdAt", DESCENDING),
            ("_id", DESCENDING),
        ),  # deliveries_of, forget_endpoint
        (("userId", ASCENDING), ("createdAt", ASCENDING)),  # forget_deliveries
        (("jobId", ASCENDING),),  # open_of_job, forget_job
        (("deleteAt", ASCENDING),),  # sweep
    ),
}


class MongoDeliveryStore:
    """Implements ``DeliveryStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._hooks = connection.collection("hooks")
        self._deliveries = connection.collection("deliveries")

    async def hooks(self, user_id: str) -> Hooks:
        """See ``DeliveryStore.hooks``."""
        found = await self._answer(lambda: self._hooks.find_one({"_id": user_id}))
        return from_document(Hooks, found) if found else Hooks(user_id=user_id)

    async def store_hooks(self, hooks: Hooks, expected: int) -> bool:
        """See ``DeliveryStore.store_hooks``."""
        if expected > 0:
            return await self._replaced(self._hooks, hooks, hooks.user_id, expected)
        document = to_document(_after(hooks, expected), hooks.user_id)
        try:
            await self._answer(lambda: self._hooks.insert_one(document))
        except DuplicateKeyError:
            return await self.hooks(hooks.user_id) == hooks
        return True

    async def add(self, delivery: Delivery) -> bool:
        """See ``DeliveryStore.add``."""
        document = to_document(delivery, delivery.delivery_id)
        try:
            await self._answer(lambda: self._deliveries.insert_one(document))
        except DuplicateKeyError:
            return False
        return True

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """See ``DeliveryStore.delivery``."""
        found = await self._answer(lambda: self._deliveries.find_one({"_id": delivery_id}))
        return from_document(Delivery, found) if found else None

    async def store_delivery(self, delivery: Delivery, expected: int) -> bool:
        """See ``DeliveryStore.store_delivery``."""
        return await self._replaced(self._deliveries, delivery, delivery.delivery_id, expected)

    async def due(
        self, now: int, limit: int, *, not_of: Collection[str] = (), not_to: Collection[str] = ()
    ) -> list[Delivery]:
        """See ``DeliveryStore.due``."""
        wanted: dict[str, Any] = {"nextAt": {"$lte": to_moment(now)}}
        if not_of:
            wanted["userId"] = {"$nin": sorted(not_of)}
        if not_to:
            wanted["endpointId"] = wanted["to"] = {"$nin": sorted(not_to)}
        return await self._longest_due(wanted, limit)

    async def due_to(self, endpoint_id: str, now: int, limit: int) -> list[Delivery]:
        """See ``DeliveryStore.due_to``."""
        return await self._longest_due({"endpointId": endpoint_id, "nextAt": {"$lte": to_moment(now)}}, limit)

    async def deliveries_of(
        self,
        user_id: str,
        endpoint_id: str,
        *,
        before: tuple[int, str] | None = None,
        limit: int = 50,
        job_id: str | None = None,
    ) -> list[Delivery]:
        """See ``DeliveryStore.deliveries_of``."""
        wanted: dict[str, Any] = {"userId": user_id, "endpointId": endpoint_id}
        if job_id is not None:
            wanted["jobId"] = job_id
        if before is not None:
            at, last = to_moment(before[0]), before[1]
            wanted["createdAt"] = {"$lte": at}  # says no more than the next line, in words that bound an index
            wanted["$or"] = [{"createdAt": {"$lt": at}}, {"createdAt": at, "_id": {"$lt": last}}]
        order = [("createdAt", DESCENDING), ("_id", DESCENDING)]
        found = await self._answer(lambda: self._deliveries.find(wanted).sort(order).limit(limit).to_list(None))
        return [from_document(Delivery, document) for document in found]

    async def of_job(self, job_id: str, *, limit: int = 100) -> list[Delivery]:
        """See ``DeliveryStore.of_job``. A job has few, so they are sorted here."""
        found = await self._answer(lambda: self._deliveries.find({"jobId": job_id}).to_list(None))
        read = (from_document(Delivery, document) for document in found)
        return sorted(read, key=lambda one: (one.created_at, one.delivery_id))[: max(0, limit)]

    async def open_of_job(self, job_id: str) -> list[Delivery]:
        """See ``DeliveryStore.open_of_job``."""
        wanted = {"jobId": job_id, "nextAt": {"$exists": True}}
        found = await self._answer(lambda: self._deliveries.find(wanted).to_list(None))
        return [from_document(Delivery, document) for document in found]

    async def forget_job(self, job_id: str) -> None:
        """See ``DeliveryStore.forget_job``."""
        await self._answer(lambda: self._deliveries.delete_many({"jobId": job_id, "endpointId": JOBS}))

    async def forget_endpoint(self, user_id: str, endpoint_id: str) -> None:
        """See ``DeliveryStore.forget_endpoint``."""
        theirs = {"userId": user_id, "endpointId": endpoint_id}
        await self._answer(lambda: self._deliveries.delete_many(theirs))

    async def forget_deliveries(self, user_id: str, before: int) -> None:
        """See ``DeliveryStore.forget_deliveries``."""
        theirs = {"userId": user_id, "createdAt": {"$lt": to_moment(before)}}
        await self._answer(lambda: self._deliveries.delete_many(theirs))

    async def backlog(self, now: int) -> Backlog:
        """See ``DeliveryStore.backlog``."""
        due = {"nextAt": {"$lte": to_moment(now)}}
        count = await self._answer(lambda: self._deliveries.count_documents(due, limit=BACKLOG_MOST))
        first = await self._answer(
            lambda: self._deliveries.find(due, {"nextAt": 1}).sort([("nextAt", ASCENDING)]).limit(1).to_list(None)
        )
        return Backlog(count, from_datetime(first[0]["nextAt"]) if first else None)

    async def sweep(self, now: int) -> int:
        """See ``DeliveryStore.sweep``."""
        over = {"deleteAt": {"$lte": to_moment(now)}}
        return int((await self._answer(lambda: self._deliveries.delete_many(over))).deleted_count)

    async def _longest_due(self, wanted: Mapping[str, Any], limit: int) -> list[Delivery]:
        order = [("nextAt", ASCENDING)]
        found = await self._answer(lambda: self._deliveries.find(wanted).sort(order).limit(limit).to_list(None))
        read = [await self._read_or_set_aside(document) for document in found]
        return [delivery for delivery in read if delivery is not None]

    async def _read_or_set_aside(self, document: Mapping[str, Any]) -> Delivery | None:
        """One damaged document, always the longest due, must not stand before all others."""
        try:
            return from_document(Delivery, document)
        except DamagedDocumentError as error:
            log.error("a delivery can't be read and is set aside", reason=str(error))
            aside = {"$unset": {"nextAt": ""}}
            await self._answer(lambda: self._deliveries.update_one({"_id": document["_id"]}, aside))
            return None

    async def _replaced(self, at: Documents, value: Hooks | Delivery, key: str, expected: int) -> bool:
        document = to_document(_after(value, expected), key)
        done = await self._answer(lambda: at.replace_one({"_id": key, "version": expected}, document))
        if done.matched_count == 1:
            return True
        stored = await self._answer(lambda: at.find_one({"_id": key, "version": value.version}))
        return stored is not None and from_document(type(value), stored) == value


def _after(value: Hooks | Delivery, expected: int) -> Hooks | Delivery:
    if value.version <= expected:
        raise ValueError(f"version {value.version} does not come after {expected}")
    return value
