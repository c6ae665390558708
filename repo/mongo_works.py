"""The store of long works on MongoDB."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import structlog
from pymongo import ASCENDING, DESCENDING

from repo.core.documents import DamagedDocumentError, from_document, to_moment
from repo.mongo_compared import compare_and_set
from repo.mongo_connection import Document, MongoConnection
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
log = structlog.get_logger()


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
        most, found = max(1, limit), list[Work]()  # 0 would be all of them to MongoDB
        place = None if before is None else (to_moment(before[0]), before[1])
        while True:
            documents = await self._page(place, most - len(found))
            found += _sound({**document, "arguments": "{}"} for document in documents)
            places = [(one["createdAt"], one["_id"]) for one in documents if isinstance(one.get("createdAt"), datetime)]
            if len(found) == most or len(documents) < most - len(found) or not places:
                return found
            place = min(places)

    async def _page(self, place: tuple[Any, str] | None, most: int) -> list[Document]:
        wanted: dict[str, Any] = {}
        if place is not None:
            at, work_id = place
            wanted = {"$or": [{"createdAt": {"$lt": at}}, {"createdAt": at, "_id": {"$lt": work_id}}]}
        order = [("createdAt", DESCENDING), ("_id", DESCENDING)]
        find = self._works.find
        return await self._answer(lambda: find(wanted, _WITHOUT_THE_LARGE).sort(order).limit(most).to_list(None))

    async def unfinished_works(self, limit: int = 100) -> list[Work]:
        """See ``WorkStore.unfinished_works``."""
        wanted = {"state": {"$in": _UNFINISHED}}
        order = [("createdAt", ASCENDING), ("_id", ASCENDING)]
        documents = await self._answer(lambda: self._works.find(wanted).sort(order).limit(limit).to_list(None))
        return _sound(documents)

    async def forget_works(self, ended_before: int) -> None:
        """See ``WorkStore.forget_works``."""
        gone = {"state": {"$in": _ENDED}, "updatedAt": {"$lt": to_moment(ended_before)}}
        await self._answer(lambda: self._works.delete_many(gone))


def _sound(documents: Iterable[Mapping[str, Any]]) -> list[Work]:
    """Those that can be read: one that somebody damaged must not stand in the way of all others."""
    works: list[Work] = []
    for document in documents:
        try:
            works.append(from_document(Work, document))
        except DamagedDocumentError as error:
            log.error("work can't be read and is left out: repair or delete its document", reason=str(error))
    return works
