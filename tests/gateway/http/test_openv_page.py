"""OpenV's own web client, replayed: the requests of its page, store and hooks, and the members that they read."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from schemas.accounts import Role
from schemas.commands import SubmitJob
from schemas.failures import FailureCode
from schemas.jobs import Failure
from schemas.lifecycle import State
from tests.gateway.world import REMAINING, World, job, settings, started, with_files

QUOTA = {"remainingSeconds": 598.75, "currentUsage": 1.25, "limitSeconds": 600.0}
IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(9)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A deployment for OpenV's later page, which reads an object."""
    async with started(settings(videos_format="object")) as made:
        yield made


def as_the_page_sends_it(prompt: str, **changed: Any) -> dict[str, Any]:
    """The body of ``handleGenerate``, with the store's default settings."""
    chosen = {
        "positive_prompt": prompt, "negative_prompt": "", "width": 848, "height": 480, "steps": 40, "cfg": 6,
        "num_frames": 31, "seed": 42,
    }  # fmt: skip
    return {"prompt": prompt, "modelName": "mochi-1", "input": chosen | changed}


class Store:
    """What the page's store keeps, by its own rules: rows by ``id``, and the newest ``updatedAt`` it has seen."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.rows: dict[int, dict[str, Any]] = {}
        self.newest: str | None = None
        self.quota: Any = None

    async def fetch(self) -> None:
        query = f"?updatedSince={self.newest}" if self.newest else ""
        answer = await self._http.get(f"/api/videos{query}")
        assert answer.is_success
        data = answer.json()
        for video in data["videos"]:
            self.rows[video["id"]] = video
            if self.newest is None or video["updatedAt"] > self.newest:
                self.newest = video["updatedAt"]
        self.quota = data["monthlyQuota"] or self.quota

    def status(self) -> dict[str, str]:
        return {video["jobId"]: video["status"] for video in self.rows.values()}


async def test_a_video_from_the_button_to_the_card(world: World) -> None:
    async with world.client() as http:
        store = Store(http)
        await store.fetch()
        assert (store.rows, store.quota) == ({}, QUOTA)
        answer = await http.post("/api/runpod", json=as_the_page_sends_it("a corgi", seed=0, cfg=7.5))
        made = answer.json()
        assert answer.is_success
        assert made["monthlyQuota"] == QUOTA
        assert (made["status"], made["url"], made["error"], made["retryCount"]) == ("queued", None, None, 0)
        assert (made["modelName"], made["frames"], made["seed"], made["cfg"]) == ("mochi-1", 31, 0, 7.5)
        assert str(made["id"]).isdigit(), "the page calls toString on it"
        (command,) = [one for one in world.ledger.heard if isinstance(one, SubmitJob)]
        assert command.request.seed == 0, "OpenV lost it"
        store.rows[made["id"]] = made
        await store.fetch()
        assert store.status() == {made["jobId"]: "queued"}, "the same id, so one card"

        known = await world.store.job(made["jobId"])
        assert known is not None
        done = replace(with_files(known), version=known.version + 1, updated_at=known.updated_at + 1)
        await world.ledger.write(done)
        await store.fetch()
        (card,) = store.rows.values()
        assert (card["status"], card["prompt"]) == ("completed", "a corgi")
        assert (await http.get(card["url"])).status_code == 307
        before = store.newest
        await store.fetch()
        assert store.newest == before

        removed = await http.request("DELETE", "/api/videos", json={"jobIds": [card["jobId"]]})
        assert (removed.status_code, removed.json()) == (200, {"success": True})
        fresh = Store(http)
        await fresh.fetch()
        assert fresh.rows == {}


async def test_what_the_page_shows_of_refusals(world: World) -> None:
    world.ledger.refuse = FailureCode.QUOTA_EXCEEDED
    world.ledger.remaining = replace(REMAINING, remaining_seconds=0.504, used_seconds=599.5, suggested_frames=7)
    async with world.client() as http:
        said = await http.post("/api/runpod", json=as_the_page_sends_it("a"))
        data = said.json()
        assert (said.status_code, data["error"], data["suggestedFrames"]) == (403, "Monthly limit exceeded", 7)
        assert data["message"] == "You have 0.50 seconds remaining in your monthly quota"
        assert data["monthlyQuota"]["remainingSeconds"] == 0.5, "it updates its bar also from a refusal"
        world.ledger.refuse = FailureCode.CONCURRENCY_EXCEEDED
        said = await http.post("/api/runpod", json=as_the_page_sends_it("a"))
        assert said.json()["error"].startswith("You have reached the maximum limit of 3 concurrent jobs.")
        said = await http.post("/api/runpod", json=as_the_page_sends_it("a", num_frames=128))
        line = {"field": "input.num_frames", "message": "Number must be less than or equal to 127"}
        assert (said.status_code, said.json()) == (400, {"error": "Validation failed", "details": [line]})
    async with world.client("new", role=Role.RESTRICTED) as http:
        said = await http.post("/api/runpod", json=as_the_page_sends_it("a"))
        assert (said.status_code, said.json()) == (403, {"message": "This action requires user role"})


async def test_the_older_hooks(world: World) -> None:
    failure = Failure(code=FailureCode.ENGINE_ERROR, message="it broke")
    await world.store.store_job(with_files(job(IDS[0], started_at=1_200, finished_at=4_000, worker_id="gpu-1")), 0)
    await world.store.store_job(job(IDS[1], state=State.FAILED, failure=failure), 0)
    await world.store.store_job(job(IDS[2], state=State.PROCESSING, started_at=2_000), 0)
    async with world.client() as http:
        rows = (await http.get("/api/videos?format=array")).json()  # useVideos
        assert {row["jobId"]: row["status"] for row in rows} == {
            IDS[0]: "completed",
            IDS[1]: "failed",
            IDS[2]: "processing",
        }
        invalid = await http.request("DELETE", "/api/videos", json={"id": 7})
        assert (invalid.status_code, invalid.json()) == (400, {"error": "Invalid jobIds"})
        made = await http.post("/api/runpod", json={"prompt": "a", "modelName": "mochi-1", "duration": 5})
        assert made.json()["jobId"], "useCreateVideo"
        done, failed, running = [(await http.get(f"/api/runpod/{job_id}")).json() for job_id in IDS[:3]]
    assert (done["status"], done["url"]) == ("completed", f"/api/videos/{IDS[0]}/video")  # useVideoStatus
    assert (done["output"]["result"], done["output"]["status"]) == (done["url"], "DONE")  # RunPod's own members
    assert (done["delayTime"], done["executionTime"], done["workerId"]) == (200, 2_800, "gpu-1")
    assert (failed["status"], failed["error"]) == ("failed", "it broke")
    assert "output" not in failed
    assert (running["status"], running["delayTime"]) == ("processing", 1_000)
    assert "executionTime" not in running
