"""What ``JobStore`` promises of a serverless endpoint's jobs, held against the memory twin and against the database."""

import uuid

import pytest

from repo.memory import MemoryJobStore
from repo.mongo_jobs import MongoJobStore
from repo.ports import JobStore
from schemas.lifecycle import ACTIVE, State
from tests.repo.jobs import NOW, a_job


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> JobStore:
    if request.param == "memory":
        return MemoryJobStore()
    found: MongoJobStore = request.getfixturevalue("job_store")
    return found


@pytest.fixture
def endpoint() -> str:
    return f"e-{uuid.uuid4().hex[:12]}"


async def test_the_jobs_of_an_endpoint_are_listed_oldest_first(store: JobStore, endpoint: str) -> None:
    mine = [
        a_job("ann", endpoint=endpoint, state=state, created_at=NOW - number // 2)
        for number, state in enumerate((State.QUEUED, State.PROCESSING, State.QUEUED, State.QUEUED, State.COMPLETED))
    ]
    theirs = a_job("bob", endpoint=endpoint, created_at=NOW + 1)
    for job in (*mine, theirs, a_job("ann", endpoint=f"{endpoint}-2"), a_job("ann")):
        assert await store.store_job(job, 0)

    def aged(*states: State) -> list[str]:
        found = [job for job in (*mine, theirs) if job.state in states]
        return [job.job_id for job in sorted(found, key=lambda job: (job.created_at, job.job_id))]

    async def asked(*states: State, **but: object) -> list[str]:
        return [job.job_id for job in await store.endpoint_jobs(endpoint, states, **but)]  # type: ignore[arg-type]

    assert await asked(State.QUEUED) == aged(State.QUEUED)
    assert await asked(*ACTIVE) == aged(*ACTIVE)
    assert await asked(*ACTIVE, user_id="bob") == [theirs.job_id]
    assert await asked(*ACTIVE, user_id="nobody") == []
    assert await asked(State.QUEUED, limit=2) == aged(State.QUEUED)[:2]
    assert await asked(State.QUEUED, limit=0) == await asked() == []
    assert await store.endpoint_jobs(f"{endpoint}-3", ACTIVE) == []


async def test_the_jobs_of_an_endpoint_are_counted_by_state(store: JobStore, endpoint: str) -> None:
    for state, created_at in (
        (State.QUEUED, NOW - 10),
        (State.QUEUED, NOW),
        (State.PROCESSING, NOW - 10),
        (State.COMPLETED, NOW - 10),
        (State.COMPLETED, NOW),
        (State.FAILED, NOW - 10),
    ):
        await store.store_job(a_job("ann", endpoint=endpoint, state=state, created_at=created_at), 0)
    active = {State.QUEUED: 2, State.PROCESSING: 1}
    assert dict(await store.endpoint_counts(endpoint, NOW)) == {**active, State.COMPLETED: 1}
    assert dict(await store.endpoint_counts(endpoint, NOW - 10)) == {**active, State.COMPLETED: 2, State.FAILED: 1}
    assert dict(await store.endpoint_counts(endpoint, NOW + 1)) == active
    assert dict(await store.endpoint_counts(f"{endpoint}-2", 0)) == {}
