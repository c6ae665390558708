"""Two first writes that meet: MongoDB refuses one of two upserts, which may be the newer one. (The stand-in writes one
after another and never does.)"""

from collections.abc import Mapping
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from repo.core.documents import from_document, to_document
from repo.mongo_access import MongoAccessStore
from repo.mongo_jobs import MongoJobStore
from schemas.access import Person
from schemas.jobs import Job
from tests.repo.jobs import NOW, a_job
from tests.repo.recorded import Connection, Done


class OneDocument:
    """A collection where ``stored`` arrives in the moment of the first upsert."""

    def __init__(self, stored: dict[str, Any], age: str) -> None:
        self.stored = stored
        self._age = age

    async def replace_one(self, _wanted: Mapping[str, Any], document: dict[str, Any], *, upsert: bool = False) -> Done:
        if upsert:
            raise DuplicateKeyError("somebody else was first")
        if self.stored[self._age] < document[self._age]:
            self.stored = document
            return Done(matched_count=1)
        return Done()

    async def find_one(self, _wanted: Mapping[str, Any]) -> dict[str, Any]:
        return self.stored


def over(documents: OneDocument) -> Any:
    connection: Any = Connection("nothing is there")
    connection.collection = lambda _name: documents
    return connection


@pytest.mark.parametrize(("rival", "stored"), [(1, True), (2, False), (3, False)])
async def test_a_newer_person_is_stored_and_an_older_is_not(rival: int, stored: bool) -> None:
    told = Person(user_id="u", updated_at=NOW + 2, email="told@example.org")
    other = Person(user_id="u", updated_at=NOW + rival)
    documents = OneDocument(to_document(other, "u"), "updatedAt")
    assert await MongoAccessStore(over(documents)).store_person(told) is stored
    assert from_document(Person, documents.stored) == (told if stored else other)


@pytest.mark.parametrize(("rival", "stored"), [(1, True), (2, False), (3, False)])
async def test_a_newer_job_is_settled_and_an_older_is_not(rival: int, stored: bool) -> None:
    job = a_job("u", version=2, tries=2)
    other = a_job("u", job_id=job.job_id, version=rival, tries=9)
    documents = OneDocument(to_document(other, job.job_id), "version")
    assert await MongoJobStore(over(documents)).settle_job(job) is stored
    assert from_document(Job, documents.stored) == (job if stored else other)


async def test_a_write_that_met_itself_is_stored() -> None:
    person, job = Person(user_id="u", updated_at=NOW), a_job("u")
    assert await MongoAccessStore(over(OneDocument(to_document(person, "u"), "updatedAt"))).store_person(person)
    assert await MongoJobStore(over(OneDocument(to_document(job, job.job_id), "version"))).settle_job(job)
