"""The store of dispositions on MongoDB. A document's id is its letter's place."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pymongo import ASCENDING, ReplaceOne
from pymongo.errors import BulkWriteError

from repo.core.documents import from_document, to_document, to_moment
from repo.mongo_connection import MongoConnection
from repo.mongo_jobs import DUPLICATE_KEY
from schemas.dispositions import Disposition

T = TypeVar("T")

AT_A_TIME = 500

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "dispositions": ((("letterAt", ASCENDING),),)  # forget_dispositions
}


class MongoDispositionStore:
    """Implements ``DispositionStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._dispositions = connection.collection("dispositions")

    async def dispositions(self, letters: Collection[str]) -> dict[str, Disposition]:
        """See ``DispositionStore.dispositions``."""
        found: dict[str, Disposition] = {}
        for some in _by(AT_A_TIME, letters):
            wanted = {"_id": {"$in": some}}
            documents = await self._answer(lambda wanted=wanted: self._dispositions.find(wanted).to_list(None))  # type: ignore[misc]
            found |= {str(document["_id"]): from_document(Disposition, document) for document in documents}
        return found

    async def dispose(self, wanted: Sequence[Disposition], *, over: bool = False) -> set[str]:
        """See ``DispositionStore.dispose``."""
        for some in _by(AT_A_TIME, wanted):
            await self._write([_change(one, over=over) for one in some])
        stored = await self.dispositions([one.letter for one in wanted])
        return {one.letter for one in wanted if stored.get(one.letter) == one}

    async def revoke(self, letters: Collection[str], replay_id: str) -> None:
        """See ``DispositionStore.revoke``."""
        for some in _by(AT_A_TIME, letters):
            theirs = {"_id": {"$in": some}, "replayId": replay_id}
            await self._answer(lambda theirs=theirs: self._dispositions.delete_many(theirs))  # type: ignore[misc]

    async def forget_dispositions(self, before: int) -> int:
        """See ``DispositionStore.forget_dispositions``."""
        old = {"letterAt": {"$lt": to_moment(before)}}
        return int((await self._answer(lambda: self._dispositions.delete_many(old))).deleted_count)

    async def _write(self, changes: Sequence[ReplaceOne[dict[str, Any]]]) -> None:
        async def write() -> None:
            try:
                await self._dispositions.bulk_write(changes, ordered=False)
            except BulkWriteError as failure:  # those that have one already are refused, the others written
                if {one["code"] for one in failure.details["writeErrors"]} != {DUPLICATE_KEY}:
                    raise

        await self._answer(write)


def _change(one: Disposition, *, over: bool) -> ReplaceOne[dict[str, Any]]:
    """Without ``over`` it meets a letter of another time; where there is one of this time, an insert of the same id is
    tried, and refused."""
    wanted: dict[str, Any] = {"_id": one.letter}
    if not over:
        wanted["letterAt"] = {"$ne": to_moment(one.letter_at)}
    return ReplaceOne(wanted, to_document(one, one.letter), upsert=True)


def _by(size: int, many: Collection[T]) -> Iterator[list[T]]:
    left = iter(many)
    while some := list(islice(left, size)):
        yield some
