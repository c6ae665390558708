"""Documents as they are stored, many at a time: what backups, restores and rebuilds read and write.

Only what MongoDB 8 and the embedded stand-in do alike: plain cursors, unordered bulk writes whose duplicates are looked
at by their code.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from bson import encode
from bson.regex import Regex
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from repo.mongo_connection import Document, MongoConnection
from repo.mongo_jobs import DUPLICATE_KEY

WRITTEN_AT_ONCE = 500
SENT_AT_ONCE = 100  # documents by the server: MongoDB sends no more than 16 MiB, the stand-in as much as they are

Write = InsertOne[Document] | ReplaceOne[Document] | UpdateOne


class MongoCopies:
    """As the ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def names(self) -> list[str]:
        """The collections that there are."""
        database = self._connection.collection("identity").database
        names = await self._connection.answer(database.list_collection_names)
        return sorted(name for name in names if not name.startswith("system."))

    async def is_empty(self, name: str) -> bool:
        """Whether the collection holds nothing."""
        return await self._connection.answer(lambda: self._connection.collection(name).find_one({})) is None

    async def read(self, name: str, at_once: int | Callable[[], int]) -> AsyncIterator[list[Document]]:
        """All documents, so many at once, in any order. One that is written meanwhile may be its older or newer one."""
        pace = at_once if callable(at_once) else lambda: at_once
        cursor = self._connection.collection(name).find({}, batch_size=SENT_AT_ONCE)
        try:
            # Never repeated: what a lost answer held would be left out.
            while found := await self._connection.answer(lambda: cursor.to_list(pace()), repeat=False):
                yield found
        finally:
            await cursor.close()

    async def members(self, name: str, ids: Sequence[str], member: str) -> dict[str, Any]:
        """By id, this member of those that are stored; None where one lacks it."""
        wanted, shown = {"_id": {"$in": list(ids)}}, {member: True}
        find = self._connection.collection(name).find
        found = await self._connection.answer(lambda: find(wanted, shown).to_list(None))
        return {one["_id"]: one.get(member) for one in found}

    async def documents(self, name: str, ids: Sequence[str]) -> dict[str, Document]:
        """By id, those that are stored."""
        find = self._connection.collection(name).find
        found = await self._connection.answer(lambda: find({"_id": {"$in": list(ids)}}).to_list(None))
        return {one["_id"]: one for one in found}

    async def add(self, name: str, documents: Sequence[Document]) -> int:
        """Store those whose id is not there yet; how many were."""
        return await self._write(name, [InsertOne(document) for document in documents])

    async def store_newer(self, name: str, documents: Sequence[Document], member: str) -> int:
        """Store each whose ``member`` is higher than the stored one's, or of which none is stored; how many were.

        What lacks the member, or has something that can't be compared in its place, is older than what has one.
        """
        stored = await self.members(name, [one["_id"] for one in documents], member)
        writes: list[Write] = []
        for one in documents:
            document_id = one["_id"]
            if document_id not in stored:
                writes.append(InsertOne(one))
            elif (older := _replaced_by(one.get(member), stored[document_id])) is not None:
                writes.append(ReplaceOne({"_id": document_id, member: older}, one))
        return await self._write(name, writes)

    async def store_lower(self, name: str, documents: Sequence[Document], member: str) -> int:
        """As they are, but where one is stored, only its ``member`` is lowered to the new one's."""
        added = await self.add(name, documents)
        changes: list[Write] = [
            UpdateOne({"_id": one["_id"]}, {"$min": {member: one[member]}}) for one in documents if member in one
        ]
        return added + await self._write(name, changes)

    async def clear(self, name: str) -> None:
        """Delete all documents; the indexes stay."""
        await self._connection.answer(lambda: self._connection.collection(name).delete_many({}))

    async def delete(self, name: str, ids: Iterable[str]) -> None:
        """Delete these."""
        wanted = {"_id": {"$in": list(ids)}}
        await self._connection.answer(lambda: self._connection.collection(name).delete_many(wanted))

    async def delete_as(self, name: str, document: Document) -> bool:
        """Delete this one, unless a member of it changed since it was read; whether it was.

        What holds a regular expression is no value to compare with, here or there: it is compared just before, as it is
        stored, and a change of such a member in the moment between is not seen; of all others it is.
        """
        stored = (await self.documents(name, [document["_id"]])).get(document["_id"])
        if stored is None or encode(stored) != encode(document):
            return False
        plain = {key: value for key, value in document.items() if "." not in key and not key.startswith("$")}
        members = {key: _as_it_is(value) for key, value in plain.items()}
        done = await self._connection.answer(lambda: self._connection.collection(name).delete_one(members))
        return int(done.deleted_count) == 1

    async def _write(self, name: str, writes: Sequence[Write]) -> int:
        """How many documents it inserted or changed; what is there already is left out."""
        done = 0
        for first in range(0, len(writes), WRITTEN_AT_ONCE):
            some = writes[first : first + WRITTEN_AT_ONCE]
            done += await self._connection.answer(partial(self._written, name, some))
        return done

    async def _written(self, name: str, writes: Sequence[Write]) -> int:
        try:
            result = await self._connection.collection(name).bulk_write(writes, ordered=False)
        except BulkWriteError as failure:
            refused = failure.details["writeErrors"]
            if {one["code"] for one in refused} != {DUPLICATE_KEY}:
                raise
            return len(writes) - len(refused)  # the stand-in does not count what it inserted beside a refused one
        return int(result.inserted_count + result.modified_count)


def _as_it_is(value: Any) -> dict[str, Any]:
    """The condition that a member is this, as far as a query can say so."""
    return {"$exists": True} if _holds_pattern(value) else {"$eq": value}


def _holds_pattern(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_pattern, value.values()))
    return any(map(_holds_pattern, value)) if isinstance(value, list) else isinstance(value, Regex)


def _replaced_by(given: Any, stored: Any) -> Any | None:
    """What the stored member must be for the given one to take its place; None: it stays."""
    if given is None:
        return None
    try:
        return {"$lt": given} if stored < given else None
    except TypeError:  # none there, or one that is no version
        return {"$eq": stored}
