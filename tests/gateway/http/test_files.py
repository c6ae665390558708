"""Files: addresses that stay, redirects that do not."""

from dataclasses import replace

import pytest

from repo.memory import MemoryObjectStore
from repo.stores import FALLBACK
from schemas.jobs import Job
from schemas.lifecycle import State
from tests.gateway.world import World, eventually, job, started, with_files

READY = "00000000-0000-4000-8000-000000000001"
QUEUED = "00000000-0000-4000-8000-000000000002"


@pytest.fixture
async def stored(world: World) -> World:
    await world.store.store_job(with_files(job(READY)), 0)
    await world.store.store_job(job(QUEUED), 0)
    return world


async def test_the_owner_is_sent_to_a_signed_address(stored: World) -> None:
    async with stored.client() as http:
        row = (await http.get(f"/api/runpod/{READY}")).json()
        assert row["url"] == f"/api/videos/{READY}/video"
        answer = await http.get(row["url"])
        assert answer.status_code == 307
        assert answer.headers["location"].startswith(f"memory://objects/ada/videos/{READY}.mp4?expires=3600")
        assert answer.headers["cache-control"] == "private, no-store"
        assert "filename" not in answer.headers["location"]
        saved = await http.get(f"{row['url']}?download=1")
        assert f"{READY}.mp4" in saved.headers["location"].split("?")[1]
        assert (await http.get(row["posterUrl"])).headers["location"].startswith("memory://objects/ada/p/")


async def test_head_tells_size_and_type_without_a_store(stored: World) -> None:
    async with stored.client() as http:
        stored.objects.away = True
        answer = await http.head(f"/api/videos/{READY}/video")
        assert (answer.status_code, answer.content) == (200, b"")
        assert (answer.headers["content-type"], answer.headers["content-length"]) == ("video/mp4", "3")
        assert answer.headers["accept-ranges"] == "bytes"
        assert (await http.head(f"/api/videos/{QUEUED}/video")).status_code == 409
    async with stored.client("bob") as http:
        assert (await http.head(f"/api/videos/{READY}/video")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [(f"{READY}/thumbnail", 404), (f"{READY}/sound", 404), (f"{QUEUED}/video", 409), ("nothing/video", 404)],
)
async def test_what_is_not_there(stored: World, path: str, status: int) -> None:
    async with stored.client() as http:
        answer = await http.get(f"/api/videos/{path}")
    assert answer.status_code == status
    assert answer.json()["error"]


async def test_nobody_else_gets_it_and_nobody_gets_what_was_deleted(stored: World) -> None:
    async with stored.client("bob") as http:
        assert (await http.get(f"/api/videos/{READY}/video")).status_code == 404
    async with stored.client(None) as http:
        assert (await http.get(f"/api/videos/{READY}/video")).status_code == 401
    async with stored.client() as http:
        await http.request("DELETE", "/api/videos", json={"jobIds": [READY]})
        assert (await stored.store.job(READY)).state is State.DELETED  # type: ignore[union-attr]
        assert (await http.get(f"/api/videos/{READY}/video")).status_code == 404


def in_fallback(made: Job) -> Job:
    """The same job, its video in the fallback store and its poster in the main one."""
    assert made.output
    assert made.output.video
    return replace(made, output=replace(made.output, video=replace(made.output.video, store=FALLBACK)))


async def test_each_file_is_signed_in_the_store_that_has_it() -> None:
    second = MemoryObjectStore("s3_fallback", host="second")
    async with started(fallback=second) as world, world.client() as http:
        await world.store.store_job(in_fallback(with_files(job(READY))), 0)
        video = await http.get(f"/api/videos/{READY}/video")
        poster = await http.get(f"/api/videos/{READY}/poster")
        assert (video.status_code, poster.status_code) == (307, 307)
        assert video.headers["location"].startswith("memory://second/ada/videos/")
        assert poster.headers["location"].startswith("memory://objects/ada/p/")
        policy = (await http.get("/")).headers["content-security-policy"]
        assert "media-src 'self' memory://objects memory://second;" in policy


async def test_a_store_that_is_not_configured_here_is_said_and_no_wrong_address_is_given(world: World) -> None:
    await world.store.store_job(in_fallback(with_files(job(READY))), 0)
    async with world.client() as http:
        answer = await http.get(f"/api/videos/{READY}/video")
        assert answer.status_code == 503
        assert "location" not in answer.headers
        assert "not configured here" in answer.json()["error"]
        assert (await http.get(f"/api/videos/{READY}/poster")).status_code == 307
        assert (await http.get(f"/api/runpod/{READY}")).status_code == 200


async def test_with_both_stores_away_all_but_the_bytes_is_served() -> None:
    second = MemoryObjectStore("s3_fallback", host="second")
    async with started(fallback=second) as world, world.client() as http:
        await world.store.store_job(in_fallback(with_files(job(READY))), 0)
        world.objects.away = second.away = True

        async def degraded() -> bool:
            said = await http.get("/readyz")
            assert said.status_code == 200
            return bool(said.json()["degraded"] == ["s3", "s3_fallback"])

        await eventually(degraded)
        assert (await http.get("/api/videos")).status_code == 200
        assert (await http.get(f"/api/videos/{READY}/video")).status_code == 307
        assert (await http.post("/api/runpod", json={"prompt": "a"})).status_code == 200
