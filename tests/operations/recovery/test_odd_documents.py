"""One document, or one record, that is none must not keep all others from being brought back. Without servers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bson.int64 import Int64
from pymongo import InsertOne, ReplaceOne, UpdateOne

from operations.recovery.events import span
from operations.recovery.place import Place
from operations.recovery.rebuild import bring_up_to_date
from repo.memory import MemoryEventLog
from repo.mongo import MongoDatabase
from repo.mongo_connection import MongoConnection
from repo.mongo_copies import MongoCopies
from schemas.codec import encode
from schemas.events import JobEvent
from schemas.topics import EVENTS
from tests.operations.recovery.rig import THEN, a_job


@dataclass
class Stored:
    """A collection that finds what it was made with, and keeps what it is told to write."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    writes: list[Any] = field(default_factory=list)

    def find(self, _wanted: object, _shown: object) -> Any:
        async def found(_: object) -> list[dict[str, Any]]:
            return self.documents

        return SimpleNamespace(to_list=found)

    async def bulk_write(self, writes: Sequence[Any], *, ordered: bool) -> Any:
        assert not ordered
        self.writes += writes
        return SimpleNamespace(inserted_count=len(writes), modified_count=0)


def copies(stored: Stored) -> MongoCopies:
    async def answer(ask: Callable[[], Any], **_: object) -> Any:
        return await ask()

    return MongoCopies(cast("MongoConnection", SimpleNamespace(answer=answer, collection=lambda _: stored)))


@pytest.mark.parametrize(
    ("stored", "given", "replaced"),
    [
        (1, 2, {"$lt": 2}),
        (Int64(1), 2, {"$lt": 2}),
        (2, Int64(2), None),
        (3, 2, None),
        (None, 2, {"$eq": None}),
        ("seven", 2, {"$eq": "seven"}),
        (3, None, None),
        (None, None, None),
    ],
)
async def test_what_has_a_version_takes_the_place_of_what_has_none(stored: Any, given: Any, replaced: Any) -> None:
    there = Stored([{"_id": "a", "version": stored}])
    document = {"_id": "a", "version": given}
    assert await copies(there).store_newer("jobs", [document], "version") == (replaced is not None)
    wanted = [ReplaceOne({"_id": "a", "version": replaced}, document)] if replaced is not None else []
    assert there.writes == wanted


async def test_what_lacks_its_member_is_stored_where_nothing_is() -> None:
    there = Stored()
    assert await copies(there).store_newer("jobs", [{"_id": "a"}], "version") == 1
    assert there.writes == [InsertOne({"_id": "a"})]
    there = Stored()
    await copies(there).store_lower("applied_offsets", [{"_id": "a"}, {"_id": "b", "offset": 3}], "offset")
    assert there.writes[2:] == [UpdateOne({"_id": "b"}, {"$min": {"offset": 3}})]


async def test_an_event_that_no_document_can_hold_stops_no_rebuild() -> None:
    log, there = MemoryEventLog(), Stored()
    for job in (a_job(1, 2), a_job(2, 2, priority=2**63)):
        await log.append(encode(JobEvent(job), source="/test", at=THEN))
    database = cast("MongoDatabase", SimpleNamespace(copies=copies(there)))
    stored, read, unreadable = await bring_up_to_date(Place(log, database, "x"), await span(log, EVENTS.name, None))
    assert (dict(stored), read, unreadable) == ({"jobs": 1, "accounts": 0}, 2, 1)
