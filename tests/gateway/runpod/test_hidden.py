"""What external workers run is no video: it is seen on its endpoint alone."""

from dataclasses import replace

import pytest

from repo.clock import now_ms
from schemas.codec import encode
from schemas.commands import DeleteJob
from schemas.lifecycle import State
from schemas.progress import QueuePlace
from tests.gateway.runpod import echo
from tests.gateway.runpod.test_jobs import run
from tests.gateway.sockets import serving, socket
from tests.gateway.world import World, eventually, job


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)


async def test_lists_rows_files_and_deletions_know_nothing_of_it(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.finish(world, job_id, {"output": 1})
        video = (await http.post("/api/runpod", json={"prompt": "p"})).json()["jobId"]
        for query in ("", "?limit=5", "?updatedSince=0", "?status=completed,queued", "?format=object", "?deleted=true"):
            listed = (await http.get(f"/api/videos{query}")).json()
            rows = listed["videos"] if isinstance(listed, dict) else listed
            assert [row["jobId"] for row in rows] == [video], query
        for method, path in (
            ("GET", f"/api/runpod/{job_id}"), ("POST", f"/api/runpod/{job_id}/cancel"),
            ("POST", f"/api/runpod/{job_id}/retry"), ("GET", f"/api/videos/{job_id}/video"),
        ):  # fmt: skip
            assert (await http.request(method, path)).status_code == 404, path
        assert (await http.request("DELETE", "/api/videos", json={"jobIds": [job_id]})).status_code == 200
        assert not [one for one in world.ledger.heard if isinstance(one, DeleteJob)]
        assert (await http.get(f"/v2/echo/status/{job_id}")).status_code == 200


async def test_sockets_are_told_of_videos_alone(world: World) -> None:
    key = await world.key()
    async with world.client() as http, serving(world) as address:
        before = await run(http)
        async with socket(address, key, subscribe={}) as client:
            snapshot = await client.receive()
            assert (snapshot["type"], snapshot["jobs"]) == ("snapshot", [])
            job_id = await run(http)
            await echo.start(world, job_id)
            await echo.finish(world, job_id, {"output": 1})
            video = job("00000000-0000-4000-8000-000000000001", at=now_ms())
            await world.ledger.write(video)
            for one in (before, job_id, video.job_id):
                place = QueuePlace(user_id="ada", job_id=one, sequence=now_ms(), attempt=1, place=1)
                await world.log.append(encode(place, source="/test", at=now_ms()))
            frames = await client.until(lambda frame: frame["type"] == "place")
            frames += [await client.receive()] if len(frames) < 2 else []
            assert [(one["type"], one["data"]["jobId"]) for one in sorted(frames, key=lambda one: one["type"])] == [
                ("event", video.job_id), ("place", video.job_id)
            ]  # fmt: skip
        async with socket(address, key, subscribe={"position": snapshot["position"]}) as client:
            frames = await client.until(lambda frame: frame["type"] == "event")
            assert [one["type"] for one in frames] == ["resumed", "event"]
            assert frames[1]["data"]["jobId"] == video.job_id
        async with socket(address, key, subscribe={"jobId": job_id}) as client:
            assert (await client.receive())["jobs"] == []


async def test_a_page_that_asks_late_is_not_shown_it_either(world: World) -> None:
    old = replace(job("j-old", at=5), external=True, endpoint="echo", state=State.PROCESSING)
    assert await world.store.store_job(old, 0)
    async with world.client() as http:

        async def told() -> bool:
            return (await http.get("/v2/echo/status/j-old")).status_code == 200

        assert await eventually(told)
        assert (await http.get("/api/videos")).json() == []
