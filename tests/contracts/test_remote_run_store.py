"""What ``RemoteRunStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from repo.memory_remote_runs import MemoryRemoteRunStore
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from repo.remote_runs import RemoteRunStore
from schemas.failures import FailureCode
from schemas.jobs import Failure
from schemas.remote_runs import RemoteRun, RemoteState

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> RemoteRunStore:
    if request.param == "memory":
        return MemoryRemoteRunStore()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found.remote_runs


def a_run(**changes: Any) -> RemoteRun:
    made = RemoteRun(
        job_id=f"job-{uuid.uuid4().hex}",
        run=1,
        target="https://api.example.org/v2/abc",
        worker_id="w.1",
        attempt=1,
        state=RemoteState.INTENDED,
        version=1,
        intended_at=NOW,
    )
    return replace(made, **changes)


async def test_a_run_is_one_compared_document(store: RemoteRunStore) -> None:
    first = a_run()
    assert await store.remote_run(first.job_id, 1, first.target) is None
    assert await store.store_remote_run(first, 0)
    assert await store.store_remote_run(first, 0)  # the answer to the first try was lost
    assert not await store.store_remote_run(replace(first, worker_id="w.2"), 0)
    failure = Failure(code=FailureCode.ENGINE_ERROR, message="no")
    second = replace(first, version=2, state=RemoteState.SPENT, remote_id="abc-e1", failure=failure)
    assert await store.store_remote_run(second, 1)
    assert not await store.store_remote_run(replace(second, attempt=7), 1)
    assert await store.remote_run(first.job_id, 1, first.target) == second
    with pytest.raises(ValueError, match="does not come after"):
        await store.store_remote_run(second, 2)


async def test_of_many_writers_one_is_first(store: RemoteRunStore) -> None:
    run = a_run()
    tries = [store.store_remote_run(replace(run, worker_id=f"w.{n}"), 0) for n in range(8)]
    assert (await asyncio.gather(*tries)).count(True) == 1


async def test_runs_are_kept_by_job_run_and_target(store: RemoteRunStore) -> None:
    target = f"https://api.example.org/v2/{uuid.uuid4().hex}"
    runs = [a_run(target=target, job_id="a", run=2), a_run(target=target, job_id="a"), a_run(target=target, job_id="b")]
    for run in (*runs, a_run(job_id="a")):
        assert await store.store_remote_run(run, 0)
    assert await store.remote_runs(target) == [runs[1], runs[0], runs[2]]
    assert await store.remote_run("a", 2, target) == runs[0]
    assert await store.remote_run("b", 2, target) is None


async def test_only_what_has_not_moved_is_forgotten(store: RemoteRunStore) -> None:
    run = a_run()
    await store.store_remote_run(run, 0)
    moved = replace(run, version=2, worker_id="w.9")
    await store.store_remote_run(moved, 1)
    assert not await store.forget_remote_run(run)
    assert await store.remote_run(run.job_id, 1, run.target) == moved
    assert await store.forget_remote_run(moved)
    assert not await store.forget_remote_run(moved)
    assert await store.remote_run(run.job_id, 1, run.target) is None


async def test_the_twin_can_be_away() -> None:
    store = MemoryRemoteRunStore()
    store.away = True
    with pytest.raises(Unavailable):
        await store.remote_runs("x")
