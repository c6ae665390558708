"""Files: addresses that stay, redirects that do not."""

import pytest

from schemas.lifecycle import State
from tests.gateway.world import World, job, with_files

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
