"""The store of long works on MongoDB."""

from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING

from repo.core.documents import from_document, to_moment
from repo.mongo_compared import compare_and_set
from repo.mongo_connection import MongoConnection
from schemas.works import UNFINISHED, Work, WorkState

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "works": (
        (("createdAt", DESCENDING), ("_id", DESCENDING)),  # works, unfinished_works
        (("state", ASCENDING), ("updatedAt", ASCENDING)),  # forget_works
    ),
}
_UNFINISHED = sorted(UNFINISHED)
_WITHOUT_THE_LARGE = {"arguments": False, "result": False}
_ENDED = sorted(set(WorkState) - UNFINISHED)


class MongoWorkStore:
    """Implements ``WorkStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._works = connection.collection("works")

    async def work(self, work_id: str) -> Work | None:
        """See ``WorkStore.work``."""
        found = await self._answer(lambda: self._works.find_one({"_id": work_id}))
        return from_document(Work, found) if found else None

    async def store_work(self, work: Work, expected: int) -> bool:
        """See ``WorkStore.store_work``."""
        return await compare_and_set(self._answer, self._works, work, work.work_id, expected)

    async def works(self, *, limit: int, before: tuple[int, str] | None = None) -> list[Work]:
        """See ``WorkStore.works``."""
        wanted: dict[str, Any] = {}
        if before is not None:
            at = to_moment(before[0])
            wanted = {"$or": [{"createdAt": {"$lt": at}}, {"createdAt": at, "_id": {"$lt": before[1]}}]}
        order = [("createdAt", DESCENDING), ("_id", DESCENDING)]
        most = max(1, limit)  # 0 would be all of them to MongoDB
        find = self._works.find
        documents = await self._answer(lambda: find(wanted, _WITHOUT_THE_LARGE).sort(order).limit(most).to_list(None))
        return [from_document(Work, {**document, "arguments": "{}"}) for document in documents]

    async def unfinished_works(self, limit: int = 100) -> list[Work]:
        """See ``WorkStore.unfinished_works``."""
        wanted = {"state": {"$in": _UNFINISHED}}
        order = [("createdAt", ASCENDING), ("_id", ASCENDING)]
        documents = await self._answer(lambda: self._works.find(wanted).sort(order).limit(limit).to_list(None))
        return [from_document(Work, document) for document in documents]

    async def forget_works(self, ended_before: int) -> None:
        """See ``WorkStore.forget_works``."""
        gone = {"state": {"$in": _ENDED}, "updatedAt": {"$lt": to_moment(ended_before)}}
        await self._answer(lambda: self._works.delete_many(gone))
