"""Completed jobs whose files are gone: documents against listings, over the twins of MongoDB and S3."""

import tracemalloc
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operations.core.findings import Finding
from operations.core.strays import Keys
from operations.doctor import files_check, missing_files
from operations.doctor.surroundings import Surroundings
from repo.core.object_keys import file_key
from repo.memory import MemoryDatabase
from repo.memory_objects import MemoryObjectStore
from repo.stores import ObjectStores
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from tests.operations.doctor.jobs_made import a_job


class World:
    """A database, a store and what the check sees of them. ``between``: what happens after the bucket was listed."""

    def __init__(self, *, most: int = 200_000) -> None:
        self.database, self.store = MemoryDatabase(), MemoryObjectStore()
        self.stores = ObjectStores(self.store)
        self.most = most

    async def a_video(self, **changes: Any) -> Job:
        """A completed job with its file."""
        job = a_job(job_id=str(uuid.uuid4()), **changes)
        video = await self.store.put_bytes(file_key("ann", job.job_id, 1, "w", "s", "video"), b"v", "video/mp4")
        job = replace(job, output=Output(video=video))
        assert await self.database.jobs.store_job(job, 0)
        return job

    @property
    def around(self) -> Surroundings:
        """What the check gets."""
        desk = SimpleNamespace(database=self.database)
        mongo = SimpleNamespace(made_at=self._made_at)
        seen = SimpleNamespace(
            stores=self.stores, most=self.most, desk=desk, mongo=mongo, now=lambda: 2, older_than_ms=1
        )
        return cast("Surroundings", seen)

    async def _made_at(self) -> int:
        return 0

    async def listed(self) -> Keys:
        """The main store's listing."""
        keys, _ = await files_check._strays(self.around, None, self.store)
        return keys

    async def look(self, between: Callable[[], Awaitable[Any]] | None = None) -> list[Finding]:
        """The finding of files that are gone, if there is one."""
        there: dict[str | None, Keys] = {None: await self.listed()}
        if between is not None:
            await between()
        return await missing_files.check("files", self.around, there)


def key_of(job: Job) -> str:
    assert job.output is not None
    assert job.output.video is not None
    return job.output.video.key


async def test_a_file_that_is_gone_is_told_at_once_with_what_can_be_done() -> None:
    world = World()
    jobs = [await world.a_video() for _ in range(9)]
    assert await world.look() == []
    await world.store.delete([key_of(jobs[4])])
    (gone,) = await world.look()
    assert gone.what == f"1 completed jobs show files that are gone: {jobs[4].job_id}"
    assert gone.mend == f"openv jobs delete {jobs[4].job_id}"
    assert gone.targets == (jobs[4].job_id,)
    assert "copies of the bucket" in gone.why
    assert gone.repair is None, "nothing is deleted that a person did not name"


async def test_only_completed_jobs_show_files() -> None:
    world = World()
    for state in State:
        job = await world.a_video(state=state)
        if state is not State.COMPLETED:
            await world.store.delete([key_of(job)])
    assert await world.look() == []


async def test_a_job_that_completes_after_the_listing_is_not_misjudged() -> None:
    world = World()
    await world.a_video()
    assert await world.look(between=world.a_video) == []


async def test_a_job_that_is_deleted_after_the_listing_is_not_misjudged() -> None:
    world = World()
    job = await world.a_video()

    class Deleting(MemoryObjectStore):
        """Its answer for the file comes when the janitor has been there."""

        async def list_keys(self, prefix: str) -> list[str]:
            assert await world.database.jobs.store_job(replace(job, state=State.DELETED, version=2), 1)
            return []

    await world.store.delete([key_of(job)])
    keys = await world.listed()
    world.stores = ObjectStores(Deleting())
    assert await missing_files.check("files", world.around, {None: keys}) == []
    assert (await world.database.jobs.job(job.job_id)).state is State.DELETED  # type: ignore[union-attr]


async def test_a_listing_that_was_cut_short_says_nothing_of_what_comes_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_check, "PAGE", 2)
    world = World(most=2)
    jobs = sorted([await world.a_video() for _ in range(4)], key=key_of)
    await world.store.delete([key_of(jobs[0]), key_of(jobs[3])])
    (gone,) = await world.look()
    assert gone.targets == (jobs[0].job_id,)
    world.most = 4
    (gone,) = await world.look()
    assert set(gone.targets) == {jobs[0].job_id, jobs[3].job_id}


async def test_an_empty_bucket_is_not_a_reason_to_delete_jobs() -> None:
    world = World()
    jobs = [await world.a_video() for _ in range(8)]
    await world.store.delete([key_of(job) for job in jobs])
    (lost,) = await world.look()
    assert lost.what.startswith("8 completed jobs show files that are gone")
    assert "jobs delete" not in lost.mend
    assert "sync" in lost.mend


async def test_files_of_a_store_that_is_not_named_here() -> None:
    world = World()
    job = await world.a_video()
    assert job.output is not None
    assert job.output.video is not None
    other = replace(job, version=2, output=Output(video=replace(job.output.video, store="fallback")))
    assert await world.database.jobs.store_job(other, 1)
    (elsewhere,) = await world.look()
    assert "a store that is not named here" in elsewhere.what
    assert "S3_FALLBACK" in elsewhere.mend


async def test_many_suspects_are_looked_at_up_to_a_bound() -> None:
    world = World()
    jobs = [await world.a_video() for _ in range(missing_files.AGAIN_MOST + 5)]
    await world.store.delete([key_of(job) for job in jobs])
    (lost,) = await world.look()
    assert lost.what.startswith(f"{missing_files.AGAIN_MOST} completed jobs show files that are gone, and 5 more")


def test_a_hundred_thousand_keys_are_a_few_bytes_each() -> None:
    tracemalloc.start()
    try:
        keys = Keys()
        for start in range(0, 100_000, 1_000):
            keys.add([f"ann/videos/{number:032d}/1/w/s.mp4" for number in range(start, start + 1_000)])
        kept, _ = tracemalloc.get_traced_memory()
        keys.close(whole=True)
        assert kept < 100_000 * 16
    finally:
        tracemalloc.stop()
    assert not any(keys.lacks(f"ann/videos/{number:032d}/1/w/s.mp4") for number in range(0, 100_000, 97))
    assert keys.lacks("ann/videos/x/1/w/s.mp4")
