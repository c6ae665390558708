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


async def test_the_jobs_that_have_ended_by_then_come_in_the_order_of_their_ends(store: JobStore, endpoint: str) -> None:
    ends = {State.COMPLETED: NOW - 1, State.FAILED: NOW - 3, State.REJECTED: NOW - 2, State.CANCELLED: NOW - 3}
    mine = [
        a_job("ann", endpoint=endpoint, external=True, state=state, finished_at=at, created_at=NOW - number)
        for number, (state, at) in enumerate(ends.items())
    ]
    ours = a_job("ann", endpoint=endpoint, state=State.REJECTED, finished_at=NOW - 9)
    others = [
        a_job("ann", endpoint=endpoint, external=True),
        a_job("ann", endpoint=endpoint, external=True, state=State.DELETED, finished_at=NOW - 9),
        a_job("ann", endpoint=f"{endpoint}-2", external=True, state=State.FAILED, finished_at=NOW - 9),
        a_job("ann", external=True, state=State.FAILED, finished_at=NOW - 9),
    ]
    for job in (*mine, ours, *others):
        assert await store.store_job(job, 0)
    ended = set(State) - ACTIVE - {State.DELETED}

    async def asked(by: int, *, external: bool = True, limit: int = 100, states: set[State] = ended) -> list[str]:
        found = await store.ended_jobs(endpoint, states, by, external=external, limit=limit)
        return [job.job_id for job in found]

    aged = [job.job_id for job in sorted(mine, key=lambda job: (job.finished_at or 0, job.job_id))]
    assert await asked(NOW) == await asked(NOW - 1) == aged
    assert await asked(NOW - 2) == aged[:3]
    assert await asked(NOW, limit=2) == aged[:2]
    assert await asked(NOW - 4) == await asked(NOW, limit=0) == await asked(NOW, states=set()) == []
    assert await asked(NOW, external=False) == [ours.job_id]
    assert await asked(NOW, states={State.REJECTED}) == [mine[2].job_id]
