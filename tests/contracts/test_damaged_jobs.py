"""Lists that are only shown, of jobs whose documents can't be read. The memory twin keeps shapes: it has none."""

import uuid
from collections.abc import Sequence

import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from operations.desk import Desk
from operations.jobs.listing import Sought, every, page
from repo.core.documents import DamagedDocumentError, to_moment
from repo.memory import MemoryEventLog
from repo.mongo import MongoDatabase
from schemas.jobs import Job
from tests.repo.jobs import NOW, a_job

pytestmark = pytest.mark.servers


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4()}"


@pytest.mark.parametrize("damaged", [(0,), (2, 3, 4), (6,), range(7)], ids=str)
async def test_operators_lists_pass_damaged_documents_by(
    mongo: MongoDatabase, user: str, damaged: Sequence[int]
) -> None:
    jobs = [a_job(user, pool=user, created_at=NOW - number // 2) for number in range(7)]
    jobs.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)
    for job in jobs:
        await mongo.jobs.store_job(job, 0)
    desk, documents = Desk(MemoryEventLog(), mongo), mongo.connection.collection("jobs")
    ids = [jobs[number].job_id for number in damaged]
    await documents.update_many({"_id": {"$in": ids}}, {"$set": {"request.steps": "a secret"}})
    # Neither times nor names need be what they are elsewhere.
    strange = [
        {"_id": f"{user}-no-time"},
        {"_id": f"{user}-text", "createdAt": "now"},
        {"_id": ObjectId(), "createdAt": to_moment(NOW)},
    ]
    await documents.insert_many([{**one, "pool": user} for one in strange])
    try:
        sound = [job for number, job in enumerate(jobs) if number not in damaged]
        for limit in (1, 2, 3, 100):
            with capture_logs() as said:
                assert await mongo.jobs.find_jobs(pool=user, limit=limit) == sound[:limit]
            paged: list[Job] = []
            after: str | None = None
            while not paged or after is not None:
                listed = await page(desk, Sought(pool=user), limit=limit, after=after)
                assert len(listed.jobs) == limit or listed.after is None
                paged, after = [*paged, *listed.jobs], listed.after
                if not sound:
                    break
            assert paged == sound
        assert [job async for job in every(desk, Sought(pool=user), 100)] == sound
        assert {one["job_id"] for one in said} == {*ids, *(str(one["_id"]) for one in strange)}
        assert "a secret" not in str(said)
    finally:
        await documents.delete_many({"pool": user})


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("damaged", [(0,), (2, 3, 4), (6,), range(7)], ids=str)
async def test_a_users_list_passes_them_by_and_what_decides_does_not(
    mongo: MongoDatabase, user: str, damaged: Sequence[int], oldest_first: bool
) -> None:
    jobs = [a_job(user, created_at=NOW - number // 2) for number in range(7)]
    jobs.sort(key=lambda job: (job.created_at, job.job_id), reverse=not oldest_first)
    for job in jobs:
        await mongo.jobs.store_job(job, 0)
    documents = mongo.connection.collection("jobs")
    ids = [jobs[number].job_id for number in damaged]
    await documents.update_many({"_id": {"$in": ids}}, {"$set": {"request.steps": "a secret"}})
    try:
        sound = [job for number, job in enumerate(jobs) if number not in damaged]
        for limit in (1, 2, 3, 100):
            for since in (None, NOW - 1_000_000):
                told: list[DamagedDocumentError] = []
                listed: list[Job] = []
                while True:
                    before = (listed[-1].created_at, listed[-1].job_id) if listed else None
                    page = await mongo.jobs.jobs_of(
                        user,
                        before=before,
                        oldest_first=oldest_first,
                        updated_since=since,
                        limit=limit,
                        damaged=told.append,
                    )
                    listed += page
                    if len(page) < limit:
                        break
                assert listed == sound
                assert {one.document_id for one in told} == set(ids)
                assert "a secret" not in str([str(one) for one in told])
        for deciding in (mongo.jobs.jobs_of(user), mongo.jobs.counted_jobs(user, 0, 0)):
            with pytest.raises(DamagedDocumentError):
                await deciding
    finally:
        await documents.delete_many({"userId": user})
