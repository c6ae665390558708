"""Jobs that webhook calls alone drive, on real servers: a gateway process, the ledger's process, Kafka and MongoDB.

No worker and no browser: what RunPod says, in whatever order and however often, and the documents that come of it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import httpx
import pytest

from gateway.identity.keys import new_key
from repo.clock import now_ms
from repo.mongo import MongoDatabase
from schemas.dispatch import WEBHOOK_WORKER
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import State
from schemas.signed_calls import Signed, signed_call
from tests.gateway.http.test_openv_page import as_the_page_sends_it
from tests.outages.kafka_world import GENEROUS, Gateway, Streams, User
from tests.streams.submissions import new_id

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

TOKEN, SECRET = "a-token-of-its-own", "s" * 32
URL = "https://files.example.org/a.mp4"
DONE = {"status": "COMPLETED", "output": {"result": URL, "status": "DONE"}}
BROKEN = {"status": "COMPLETED", "output": {"result": "FAILED: CUDA error"}}
MOMENT = {"status": "FAILED", "error": "Request Timeout"}
RACING = 50
DELAY_S = 30


class World:
    """The processes, and the few things that are done to them."""

    def __init__(self, gateway: Gateway, mongo: MongoDatabase) -> None:
        self.gateway = gateway
        self.mongo = mongo
        self.runpod = httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False)

    async def user(self) -> User:
        name = new_id("u-")
        secret, key = new_key(name, now=now_ms())
        await self.mongo.access.store_api_key(key)
        headers = {"Authorization": f"Bearer {secret}"}
        http = httpx.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=60, trust_env=False)
        return User(name, secret, http)

    async def say(self, job_id: str, body: Mapping[str, Any], attempt: int | None = None) -> None:
        """One call, by the token or, with an attempt, signed and under an id of RunPod's own."""
        path = f"/api/runpod/webhook?token={TOKEN}"
        if attempt is not None:
            path = signed_call(SECRET, Signed(job_id, attempt), now_ms() // 1000 + 600)
        sent = {"id": job_id if attempt is None else f"{new_id()}-e1", **body}
        answer = await self.runpod.post(path, json=sent)
        assert (answer.status_code, answer.json()) == (200, {"success": True}), answer.text

    async def race(self, job_id: str, *bodies: Mapping[str, Any], attempt: int | None = None) -> None:
        await asyncio.gather(*(self.say(job_id, bodies[n % len(bodies)], attempt) for n in range(RACING)))

    async def decided(self, user: User, job_id: str) -> Job:
        """The document after everything that was recorded before: a user's commands are decided in their order."""
        answer = await user.http.get("/api/usage")
        assert answer.status_code == 200, answer.text
        job = await self.mongo.jobs.job(job_id)
        assert job is not None
        return job


@pytest.fixture(scope="module")
async def world(
    servers: Mapping[str, str],
    topics: list[str],
    database: str,
    mongo: MongoDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("webhooks")
    told = {
        **servers,
        **GENEROUS,
        "MONGODB_DATABASE": database,
        "OPENV_RETRY_DELAY_SECONDS": str(DELAY_S),
        "OPENV_DECISION_TIMEOUT_SECONDS": "30",
        "OPENV_USAGE_REQUESTS": "10000",
        "OPENV_WEBHOOK_REQUESTS": "1000",
        "RUNPOD_WEBHOOK_TOKEN": TOKEN,
        "OPENV_WEBHOOK_SECRET": SECRET,
    }
    gateway = Gateway(told, folder / "gateway.log")
    ledger = Streams(told, folder / "ledger.log", "--role", "ledger")
    made = World(gateway, mongo)
    try:
        await ledger.ready(120)
        await gateway.ready(120)
        yield made
        for log in (gateway.log, ledger.log):
            said = log.read_text()
            assert "Traceback" not in said
            assert TOKEN not in said
            assert SECRET not in said
    finally:
        await made.runpod.aclose()
        gateway.close()
        ledger.close()


@pytest.fixture
async def user(world: World) -> AsyncIterator[User]:
    made = await world.user()
    async with made.http:
        yield made


async def submitted(user: User) -> str:
    answer = await user.http.post("/api/runpod", json=as_the_page_sends_it("a corgi", seed=0, num_frames=7))
    assert answer.status_code == 200, answer.text
    row = answer.json()
    assert (row["status"], row["seed"], row["count"]) == ("queued", 0, 1)
    return str(row["jobId"])


async def test_a_video_from_submission_to_redirect_and_nobody_elses(world: World, user: User) -> None:
    job_id = await submitted(user)
    await world.say(job_id, {"status": "IN_QUEUE"})
    await world.say(job_id, {"status": "in_progress"})
    running = await world.decided(user, job_id)
    assert (running.state, running.worker_id, running.version) == (State.PROCESSING, WEBHOOK_WORKER, 2)
    await world.race(job_id, DONE)
    done = await world.decided(user, job_id)
    assert (done.state, done.version, done.charge.state) == (State.COMPLETED, 3, ChargeState.CAPTURED)
    for late in ({"status": "IN_PROGRESS"}, MOMENT, BROKEN, {"status": "CANCELLED"}, DONE):
        await world.say(job_id, late)
        await world.say(job_id, late, attempt=1)
    assert await world.decided(user, job_id) == done
    (row,) = (await user.http.get("/api/videos")).json()
    assert (row["status"], row["url"], row["error"]) == ("completed", f"/api/videos/{job_id}/video", None)
    answer = await user.http.get(row["url"])
    assert (answer.status_code, answer.headers["location"]) == (307, URL)

    stranger = await world.user()
    async with stranger.http as http:
        for method, path in (
            ("GET", f"/api/runpod/{job_id}"),
            ("POST", f"/api/runpod/{job_id}/cancel"),
            ("POST", f"/api/runpod/{job_id}/retry"),
            ("GET", row["url"]),
            ("HEAD", row["url"]),
        ):
            assert (await http.request(method, path)).status_code == 404
        assert (await http.get("/api/videos")).json() == []
        assert (await http.request("DELETE", "/api/videos", json={"jobIds": [job_id]})).json() == {"success": True}
    assert await world.decided(user, job_id) == done


async def test_calls_that_overtake_each_other_end_where_the_last_word_is(world: World, user: User) -> None:
    job_id = await submitted(user)
    await world.say(job_id, DONE, attempt=1)
    await world.say(job_id, {"status": "IN_PROGRESS"}, attempt=1)
    await world.say(job_id, {"status": "IN_QUEUE"})
    job = await world.decided(user, job_id)
    assert (job.state, job.version, job.winning_attempt) == (State.COMPLETED, 2, 1)


async def test_contradictory_calls_at_once_end_the_job_once(world: World, user: User) -> None:
    job_id = await submitted(user)
    await world.race(job_id, DONE, BROKEN)
    job = await world.decided(user, job_id)
    assert job.version == 2, "one of them counted, and once"
    assert (job.state, job.charge.state) in {
        (State.COMPLETED, ChargeState.CAPTURED),
        (State.FAILED, ChargeState.REFUNDED),
    }
    await world.race(job_id, BROKEN, DONE, attempt=1)
    assert await world.decided(user, job_id) == job


async def test_a_failure_that_runpod_calls_completed_is_one_and_gives_the_seconds_back(
    world: World, user: User
) -> None:
    job_id = await submitted(user)
    assert (await user.http.get("/api/usage")).json()["usedSeconds"] == 0.29
    await world.say(job_id, BROKEN)
    job = await world.decided(user, job_id)
    assert job.state is State.FAILED
    row = (await user.http.get(f"/api/runpod/{job_id}")).json()
    assert (row["status"], row["error"], row["url"], row["retryCount"]) == ("failed", "FAILED: CUDA error", None, 0)
    assert (await user.http.get("/api/usage")).json()["usedSeconds"] == 0.0
    assert (await user.http.get(f"/api/videos/{job_id}/video")).status_code == 409


async def test_openvs_words_are_tried_again_with_growing_delays_and_no_browser(world: World, user: User) -> None:
    job_id = await submitted(user)
    waits: list[int] = []
    for attempt in (1, 2):
        await world.race(job_id, MOMENT, attempt=attempt)
        job = await world.decided(user, job_id)
        assert (job.state, job.attempt, job.tries) == (State.QUEUED, attempt + 1, attempt + 1)
        waits.append(job.due_at - job.updated_at)
        await world.race(job_id, MOMENT)  # told again, without saying of which attempt: before the next may begin
        assert await world.decided(user, job_id) == job
    assert DELAY_S * 1000 / 2 - 5_000 < waits[0] <= DELAY_S * 1000 < waits[1]
    row = (await user.http.get(f"/api/runpod/{job_id}")).json()
    assert (row["status"], row["retryCount"], row["error"]) == ("queued", 2, None)
    await world.race(job_id, MOMENT, attempt=3)
    job = await world.decided(user, job_id)
    assert (job.state, job.attempt, job.tries) == (State.FAILED, 3, 3)
    row = (await user.http.get(f"/api/runpod/{job_id}")).json()
    assert (row["status"], row["retryCount"], row["error"]) == ("failed", 2, "Request Timeout")


async def test_deleted_while_it_runs_and_told_of_afterwards(world: World, user: User) -> None:
    job_id = await submitted(user)
    await world.say(job_id, {"status": "IN_PROGRESS"})
    assert (await user.http.request("DELETE", "/api/videos", json={"jobIds": [job_id]})).json() == {"success": True}
    late = await world.runpod.post(f"/api/runpod/webhook?token={TOKEN}", json={"id": job_id, **DONE})
    assert (late.status_code, late.json()) == (404, {"error": f"Video not found with jobId: {job_id}"})
    assert (await world.decided(user, job_id)).state is State.DELETED


async def test_forged_calls_are_refused_without_their_bodies(world: World) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 65_536

    before = len(world.gateway.log.read_text().splitlines())
    answer: httpx.Response | None = None
    with suppress(httpx.TransportError):  # the connection is closed on who goes on sending
        answer = await world.runpod.post("/api/runpod/webhook?token=forged", content=endless())
    assert answer is None or (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    for _ in range(20):
        answer = await world.runpod.post("/api/runpod/webhook?token=forged", json={"id": "x", **DONE})
        assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    lines = [json.loads(line) for line in world.gateway.log.read_text().splitlines()[before:]]
    said = [(line["event"], line["level"], line["status"]) for line in lines if line.get("path")]
    assert set(said) == {("request", "info", 401)}
    assert all(line["level"] == "info" for line in lines)
