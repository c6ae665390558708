"""What ``UpkeepStore`` promises, held against the memory twin and against the database."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from repo.database import Database
from repo.memory import MemoryDatabase
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from schemas.access import ApiKey, KeyKind
from schemas.accounts import Role
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def kept(request: pytest.FixtureRequest) -> Database:
    if request.param == "memory":
        return MemoryDatabase()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found


def a_job(job_id: str = "", **changes: Any) -> Job:
    made = Job(
        job_id=job_id or str(uuid.uuid4()),
        user_id="ann",
        pool="mochi-1",
        state=State.DELETED,
        version=1,
        request=GenerationRequest(prompt="", num_frames=7),
        request_hash="h",
        charge=Charge(state=ChargeState.REFUNDED, seconds=0.0, reserved_at=1),
        created_at=1,
        updated_at=1,
        due_at=1,
        expires_at=2,
        execution_timeout_ms=1,
    )
    return replace(made, **changes)


async def test_a_walk_meets_every_job_once_in_bounded_steps(kept: Database) -> None:
    first = f"w{uuid.uuid4().hex}"
    jobs = [a_job(f"{first}-{number}", user_id=f"u{number}") for number in range(7)]
    for job in reversed(jobs):
        assert await kept.jobs.store_job(job, 0)
    met: list[Job] = []
    after: str | None = first
    steps = 0
    while after is not None and after.startswith(first):
        page = await kept.upkeep.jobs_after(after, 3)
        assert len(page.jobs) <= 3
        met += [job for job in page.jobs if job.job_id.startswith(first)]
        after, steps = page.last, steps + 1
    assert met == jobs
    assert steps >= 3
    beyond = await kept.upkeep.jobs_after("\U0010ffff", 3)
    assert (beyond.jobs, beyond.last) == ((), None)


async def test_known_jobs_are_those_that_there_are(kept: Database) -> None:
    job = a_job()
    assert await kept.jobs.store_job(job, 0)
    assert await kept.upkeep.known_jobs([job.job_id, "nobody's"]) == {job.job_id: job}
    assert await kept.upkeep.known_jobs([]) == {}


async def test_only_the_version_that_was_looked_at_is_removed(kept: Database) -> None:
    job = a_job()
    newer = replace(job, version=2)
    assert await kept.jobs.store_job(job, 0)
    assert await kept.jobs.store_job(newer, 1)
    assert not await kept.upkeep.remove_job(job)
    assert await kept.jobs.job(job.job_id) == newer
    assert await kept.upkeep.remove_job(newer)
    assert not await kept.upkeep.remove_job(newer)
    assert await kept.jobs.job(job.job_id) is None


async def test_passing_keys_go_when_they_expired_and_no_others(kept: Database) -> None:
    def key(name: str, kind: KeyKind, expires_at: int | None) -> ApiKey:
        return ApiKey(
            key_hash=f"{name}-{uuid.uuid4().hex}",
            prefix="ov_",
            user_id=f"user-{name}",
            role=Role.USER,
            name=name,
            created_at=1,
            kind=kind,
            expires_at=expires_at,
        )

    over = [key("a", KeyKind.SESSION, NOW - 1), key("b", KeyKind.TICKET, NOW - 1), key("c", KeyKind.PAGE_LINK, 5)]
    stay = [
        key("d", KeyKind.SESSION, NOW),
        key("e", KeyKind.KEY, NOW - 1),
        key("f", KeyKind.WORKER, NOW - 1),
        key("g", KeyKind.SESSION, None),
    ]
    for one in (*over, *stay):
        await kept.access.store_api_key(one)
    assert await kept.upkeep.sweep_keys(NOW) == len(over)
    assert await kept.upkeep.sweep_keys(NOW) == 0
    assert [await kept.access.api_key(one.key_hash) for one in over] == [None] * len(over)
    assert [await kept.access.api_key(one.key_hash) for one in stay] == stay


async def test_away_is_away() -> None:
    database = MemoryDatabase()
    database.away = True
    for asked in (
        database.upkeep.jobs_after("", 1),
        database.upkeep.known_jobs(["a"]),
        database.upkeep.remove_job(a_job()),
        database.upkeep.sweep_keys(1),
    ):
        with pytest.raises(Unavailable):
            await asked


@pytest.mark.servers
async def test_a_document_that_cannot_be_read_is_passed_by(mongo: MongoDatabase) -> None:
    damaged, whole = f"x{uuid.uuid4().hex}", f"y{uuid.uuid4().hex}"
    await mongo.connection.collection("jobs").insert_one({"_id": damaged, "state": "nonsense"})
    assert await mongo.jobs.store_job(a_job(whole), 0)
    page = await mongo.upkeep.jobs_after(damaged[:-1], 100)
    assert damaged in page.damaged
    assert whole in {job.job_id for job in page.jobs}
    assert await mongo.upkeep.known_jobs([damaged]) == {damaged: None}
