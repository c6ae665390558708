"""``/status``, ``/status-sync``, ``/runsync``, ``/cancel`` and ``/retry``: one job, and what becomes of it."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from gateway.identity.principal import Principal
from gateway.runpod import telling
from gateway.runpod.asked import Asked
from repo.clock import now_ms
from schemas.accounts import Role
from schemas.api.runpod import INLINE_BYTES, RUNSYNC_BYTES
from schemas.codec import encode
from schemas.commands import CancelJob, RetryJob
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import Failure, Output
from schemas.lifecycle import State
from schemas.phases import Phase
from schemas.progress import AttemptProgress
from tests.gateway.runpod import echo
from tests.gateway.world import World, eventually, settings, started, until, with_files

BODY = {"input": {"n": 1}}


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)


async def run(http: httpx.AsyncClient, endpoint: str = "echo", **body: Any) -> str:
    answer = await http.post(f"/v2/{endpoint}/run", json=body or BODY)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def status(http: httpx.AsyncClient, job_id: str, endpoint: str = "echo") -> dict[str, Any]:
    answer = await http.get(f"/v2/{endpoint}/status/{job_id}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_job_from_its_queue_to_its_end(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        assert await status(http, job_id) == {"id": job_id, "status": "IN_QUEUE"}
        job = await echo.start(world, job_id)
        told = await eventually(lambda: running(http, job_id))
        assert told["delayTime"] == max(0, (job.started_at or 0) - job.charge.reserved_at)
        assert told["workerId"] == "pod-1"
        await echo.update(world, job, {"percent": 10})
        await echo.update(world, job, {"percent": 20})
        assert await eventually(lambda: said(http, job_id, {"percent": 20}))
        job = await echo.finish(world, job_id, {"output": [1, {"a": None}]})
        told = await eventually(lambda: said(http, job_id, [1, {"a": None}]))
        assert told["status"] == "COMPLETED"
        assert told["executionTime"] == (job.finished_at or 0) - (job.started_at or 0)
        posted = await http.post(f"/v2/echo/status/{job_id}", content=b"")
        assert posted.json() == told


async def running(http: httpx.AsyncClient, job_id: str) -> dict[str, Any] | None:
    told = await status(http, job_id)
    return told if told["status"] == "IN_PROGRESS" else None


async def said(http: httpx.AsyncClient, job_id: str, output: Any) -> dict[str, Any] | None:
    told = await status(http, job_id)
    return told if told.get("output") == output else None


async def test_an_update_of_another_attempt_says_nothing(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        job = await echo.start(world, job_id)
        await echo.update(world, job, "old", attempt=job.attempt - 1)
        await echo.update(world, job, "of another", user_id="ben")
        await until(lambda: world.parts.serverless.updates._newest)
        assert "output" not in await status(http, job_id)
        await echo.update(world, job, "newest")
        assert await eventually(lambda: said(http, job_id, "newest"))
        await echo.move(world, job_id, State.QUEUED)
        await until(lambda: not world.parts.serverless.updates._newest)


async def test_what_a_handler_said_in_failing_is_told(world: World) -> None:
    failure = Failure(code=FailureCode.HANDLER_ERROR, message="our words")
    async with world.client() as http:
        for word, wanted in (
            ({"error": '{"error_type":"x"}', "output": 3}, {"error": '{"error_type":"x"}', "output": 3}),
            (None, {"error": "our words"}),
        ):
            job_id = await run(http)
            await echo.finish(world, job_id, word, State.FAILED, failure=failure)
            told = await eventually(lambda job_id=job_id: ended(http, job_id))
            assert {name: told[name] for name in wanted} == wanted
            assert told["status"] == "FAILED"


async def ended(http: httpx.AsyncClient, job_id: str) -> dict[str, Any] | None:
    told = await status(http, job_id)
    return told if told["status"] not in ("IN_QUEUE", "IN_PROGRESS") else None


async def test_a_large_output_is_read_from_the_store(world: World) -> None:
    word = {"output": "x" * (3 * INLINE_BYTES)}
    async with world.client() as http:
        job_id = await run(http)
        world.objects.objects["there"] = (orjson.dumps(word), "application/json")
        await echo.finish(world, job_id, None, output=Output(value_key="there"))
        assert (await eventually(lambda: ended(http, job_id)))["output"] == word["output"]
        head = await http.head(f"/v2/echo/status/{job_id}")
        assert head.status_code == 200
        world.objects.away = True
        assert (await http.get(f"/v2/echo/status/{job_id}")).status_code == 503
        world.objects.away = False
        world.objects.objects.clear()
        assert "no longer in the object store" in (await status(http, job_id))["error"]
    assert world.parts.serverless.room.taken == 0


async def test_a_large_output_waits_for_room(world: World) -> None:
    room = world.parts.serverless.room
    room._patience_s = 0.05
    async with world.client() as http:
        job_id = await run(http)
        world.objects.objects["there"] = (orjson.dumps({"output": "x" * 100_000}), "application/json")
        await echo.finish(world, job_id, None, output=Output(value_key="there"))
        await eventually(lambda: ended(http, job_id))
        async with room.held("ada", 64 * 1024 * 1024):  # of what this user sends: another share
            assert (await http.get(f"/v2/echo/status/{job_id}")).status_code == 200
        async with room.held("told:ada", 64 * 1024 * 1024):
            assert (await http.get(f"/v2/echo/status/{job_id}")).status_code == 503
        assert room.taken == 0


async def test_room_is_taken_before_a_large_output_is_read_and_all_but_its_size_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, seen = world.parts.serverless.room, []
    read, send = world.objects.read, telling._Large._send

    async def reading(key: str) -> bytes | None:
        seen.append(room.taken)
        return await read(key)

    async def sending(self: Any, body: bytes, out: Any) -> None:
        seen.append(room.taken - len(body))
        await send(self, body, out)

    monkeypatch.setattr(world.objects, "read", reading)
    monkeypatch.setattr(telling._Large, "_send", sending)
    async with world.client() as http:
        job_id = await run(http)
        world.objects.objects["there"] = (orjson.dumps({"output": "x" * 100_000}), "application/json")
        await echo.finish(world, job_id, None, output=Output(value_key="there"))
        await eventually(lambda: ended(http, job_id))
    assert seen[-2:] == [RUNSYNC_BYTES, 0]
    assert room.taken == 0


async def test_neither_a_slow_store_nor_a_slow_reader_keeps_the_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    async with world.client() as http:
        job_id = await run(http)
        world.objects.objects["there"] = (orjson.dumps({"output": "x" * 100_000}), "application/json")
        job = await echo.finish(world, job_id, None, output=Output(value_key="there"))
        await eventually(lambda: ended(http, job_id))
        monkeypatch.setattr(telling, "SEND_S", 0.01)
        principal = Principal("ada", Role.USER)
        who = Asked(world.parts, principal, echo.endpoint())
        await (await telling.told(who, job))({}, never, never)
        assert world.parts.serverless.room.taken == 0
        monkeypatch.setattr(telling, "READ_S", 0.01)
        monkeypatch.setattr(world.objects, "read", never)
        assert (await http.get(f"/v2/echo/status/{job_id}")).status_code == 503
    assert world.parts.serverless.room.taken == 0


async def test_a_video_is_told_as_worker_mochi_tells_it(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http, "mochi-1", input={"positive_prompt": "a corgi"})
        job = await echo.move(world, job_id, State.PROCESSING, worker_id="w", started_at=now_ms())
        progress = AttemptProgress(
            user_id="ada", job_id=job_id, sequence=1, attempt=1, worker_id="w", phase=Phase.DENOISE, step=3, steps=10,
            fraction=0.25, elapsed_ms=5, eta_ms=900,
        )  # fmt: skip
        await world.log.append(encode(progress, source="/test", at=now_ms()))
        await until(lambda: world.parts.feed.hub.newest("ada"))
        told = await status(http, job_id, "mochi-1")
        assert told["progress"] == {"phase": "denoise", "step": 3, "steps": 10, "fraction": 0.25, "etaMs": 900}
        done = replace(with_files(job), version=job.version + 1, finished_at=now_ms())
        await world.ledger.write(done)
        await until(lambda: not world.parts.feed.hub.newest("ada"))
        told = await status(http, job_id, "mochi-1")
        assert told["output"]["status"] == "DONE"
        assert told["output"]["result"] == f"memory://objects/ada/videos/{job_id}.mp4?expires=86400"
        assert "progress" not in told
        listed = (await http.get("/api/videos")).json()
        assert [row["jobId"] for row in listed] == [job_id]  # a video of ours, whichever way it was asked for


async def test_results_are_kept_for_as_long_as_the_endpoint_says(world: World) -> None:
    await echo.add(world, endpoint_id="short", result_ms=60_000)
    async with world.client() as http:
        job_id = await run(http, "short")
        await echo.finish(world, job_id, {"output": 1}, finished_at=now_ms() - 60_001)

        async def gone() -> bool:
            return (await http.get(f"/v2/short/status/{job_id}")).status_code == 404

        assert await eventually(gone)
        for method, path in (("GET", "status-sync"), ("GET", "stream"), ("POST", "cancel"), ("POST", "retry")):
            answer = await http.request(method, f"/v2/short/{path}/{job_id}")
            assert (answer.status_code, answer.json()["error"][:13]) == (404, "This job has "), path


async def test_jobs_of_others_of_other_endpoints_and_none_are_404(world: World) -> None:
    await echo.add(world, endpoint_id="other")
    async with world.client() as http, world.client("ben") as ben:
        job_id = await run(http)
        video = (await http.post("/api/runpod", json={"prompt": "p"})).json()["jobId"]
        deleted = await run(http)
        await echo.move(world, deleted, State.DELETED)
        for method, path in (("GET", "status"), ("GET", "status-sync"), ("GET", "stream"), ("POST", "cancel"),
                             ("POST", "retry")):  # fmt: skip
            for client, endpoint, one in ((ben, "echo", job_id), (http, "other", job_id), (http, "echo", video),
                                          (http, "mochi-1", video), (http, "echo", "none"), (http, "echo", "a%00b"),
                                          (http, "echo", deleted), (http, "echo", "x" * 500)):  # fmt: skip
                answer = await client.request(method, f"/v2/{endpoint}/{path}/{one}")
                assert answer.status_code == 404, (path, endpoint, one)
    assert (await echo.stored(world, job_id)).state is State.QUEUED


async def test_status_needs_no_mongodb_while_the_feed_has_it(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        assert (await status(http, job_id))["status"] == "IN_QUEUE"
        world.database.jobs.away = True
        assert (await status(http, job_id))["status"] == "IN_QUEUE"
        assert (await http.get("/v2/echo/status/unheard-of")).status_code == 503


async def waiters(world: World, count: int) -> None:
    await until(lambda: sum(map(len, world.parts.serverless.endings._waiting.values())) == count)


async def test_runsync_is_answered_by_the_end(world: World) -> None:
    async with world.client() as http:
        asking = asyncio.create_task(http.post("/v2/echo/runsync?wait=300000", json=BODY))
        await until(lambda: world.ledger.heard)
        await waiters(world, 1)
        (command,) = world.ledger.heard
        job_id = command.job_id  # type: ignore[union-attr]
        assert job_id.startswith("sync-")
        await until(lambda: job_id in world.store._jobs)
        await echo.start(world, job_id)
        await echo.finish(world, job_id, {"output": "done"})
        answer = await asking
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["output"]) == ("COMPLETED", "done")
    assert len(world.parts.serverless.endings) == 0


async def test_runsync_tells_how_it_stands_when_the_time_is_over(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/v2/echo/runsync?wait=1000", json=BODY)
        assert (answer.status_code, answer.json()["status"]) == (200, "IN_QUEUE")
        answer = await http.get(f"/v2/echo/status-sync/{answer.json()['id']}?wait=1000")
        assert (answer.status_code, answer.json()["status"]) == (200, "IN_QUEUE")


@pytest.mark.parametrize("wait", ["999", "300001", "-1", "1e3", "", "x", "1" * 30])
async def test_waits_have_runpods_range(world: World, wait: str) -> None:
    async with world.client() as http:
        assert (await http.post(f"/v2/echo/runsync?wait={wait}", json=BODY)).status_code == 400
        assert (await http.get(f"/v2/echo/status-sync/x?wait={wait}")).status_code == 400
    assert world.ledger.heard == []


async def test_a_refusal_that_comes_late_is_told_to_who_waits() -> None:
    async with started(settings(decision_timeout_seconds=0.1)) as world:
        await echo.add(world)
        world.ledger.silent = True
        async with world.client() as http:
            asking = asyncio.create_task(http.post("/v2/echo/runsync", json=BODY))
            await until(lambda: world.ledger.heard)
            (command,) = world.ledger.heard
            await world.ledger.decide(command)  # type: ignore[arg-type]
            job_id = command.job_id  # type: ignore[union-attr]
            await echo.move(world, job_id, State.DELETED)
            assert (await asking).status_code == 410


async def test_status_sync_costs_no_mongodb_while_it_waits(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        asking = [asyncio.create_task(http.get(f"/v2/echo/status-sync/{job_id}")) for _ in range(50)]
        await waiters(world, 50)
        world.database.away = True
        failed = replace(world.store._jobs[job_id], state=State.CANCELLED, version=2, finished_at=now_ms())
        await world.ledger.announce(failed)
        assert {(await one).json()["status"] for one in asking} == {"CANCELLED"}
        world.database.away = False


async def test_who_waits_is_told_at_once_when_the_gateway_stops() -> None:
    async with started() as world:
        await echo.add(world)
        async with world.client() as http:
            job_id = await run(http)
            asking = [
                asyncio.create_task(http.get(f"/v2/echo/status-sync/{job_id}")),
                asyncio.create_task(http.get(f"/v2/echo/stream/{job_id}")),
            ]
            await waiters(world, 2)
            world.parts.serverless.endings.leave()
            assert [(await one).json()["status"] for one in asking] == ["IN_QUEUE"] * 2
            assert (await http.get(f"/v2/echo/status-sync/{job_id}")).json()["status"] == "IN_QUEUE"


async def test_events_that_were_lost_make_who_waits_look_again(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        asking = asyncio.create_task(http.get(f"/v2/echo/status-sync/{job_id}"))
        await waiters(world, 1)
        job = replace(await echo.stored(world, job_id), state=State.CANCELLED, version=2, finished_at=now_ms())
        assert await world.store.store_job(job, 1)  # and its event is lost
        world.parts.feed.window.begin({})
        world.parts.serverless.missed()
        assert (await asking).json()["status"] == "CANCELLED"


async def test_a_client_that_leaves_ends_its_wait(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
    key = await world.key()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": f"/v2/echo/status-sync/{job_id}", "raw_path": b"", "query_string": b"", "root_path": "",
        "headers": [(b"authorization", key.encode())], "client": ("127.0.0.1", 1), "server": ("x", 80), "state": {},
    }  # fmt: skip
    asking = asyncio.create_task(world.app(scope, receive, send))  # type: ignore[arg-type]
    await waiters(world, 1)
    left.set()
    await asking
    assert len(world.parts.serverless.endings) == 0


async def test_a_user_has_so_many_requests_waiting() -> None:
    async with started(settings(serverless_waits_per_user=2)) as world:
        await echo.add(world)
        async with world.client() as http, world.client("ben") as ben:
            job_id, of_ben = await run(http), await run(ben)
            asking = [asyncio.create_task(http.get(f"/v2/echo/status-sync/{job_id}")) for _ in range(2)]
            await waiters(world, 2)
            assert (await http.get(f"/v2/echo/status-sync/{job_id}")).status_code == 429
            assert (await http.post("/v2/echo/runsync", json=BODY)).status_code == 429
            assert (await ben.get(f"/v2/echo/status-sync/{of_ben}?wait=1000")).status_code == 200
            await echo.finish(world, job_id, {"output": 1})
            assert {(await one).status_code for one in asking} == {200}
            assert (await http.get(f"/v2/echo/status-sync/{job_id}")).status_code == 200
        assert len(world.ledger.heard) == 2


async def test_cancel_and_cancel_again(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        for _ in range(2):
            answer = await http.post(
                f"/v2/echo/cancel/{job_id}", content=b"", headers={"content-type": "application/json"}
            )
            assert (answer.status_code, answer.json()) == (200, {"id": job_id, "status": "CANCELLED"})
        done = await run(http)
        await echo.finish(world, done, {"output": 1})
        await eventually(lambda: ended(http, done))
        answer = await http.post(f"/v2/echo/cancel/{done}")
        assert (answer.status_code, answer.json()) == (200, {"id": done, "status": "COMPLETED"})
    assert len([one for one in world.ledger.heard if isinstance(one, CancelJob)]) == 1


@pytest.mark.parametrize("state", [State.FAILED, State.TIMED_OUT])
async def test_retry_of_what_failed(world: World, state: State) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.finish(world, job_id, None, state)
        await eventually(lambda: ended(http, job_id))
        answer = await http.post(f"/v2/echo/retry/{job_id}")
        assert (answer.status_code, answer.json()) == (200, {"id": job_id, "status": "IN_QUEUE"})
        assert (await echo.stored(world, job_id)).run == 2
        again = await http.post(f"/v2/echo/retry/{job_id}")
        assert again.status_code == 400
    assert isinstance(world.ledger.heard[-1], RetryJob)


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING, State.COMPLETED, State.CANCELLED])
async def test_retry_of_anything_else(world: World, state: State) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.move(world, job_id, state)
        answer = await http.post(f"/v2/echo/retry/{job_id}")
        assert (answer.status_code, answer.json()["state"]) == (400, state.value)
    assert not [one for one in world.ledger.heard if isinstance(one, RetryJob)]


async def test_a_retry_that_is_refused(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.finish(world, job_id, None, State.FAILED)
        await eventually(lambda: ended(http, job_id))

        async def refuse(command: Any) -> None:
            await world.ledger.answer(command, Outcome.REFUSED, code=FailureCode.CONCURRENCY_EXCEEDED)

        world.ledger.decide = refuse  # type: ignore[method-assign]
        assert (await http.post(f"/v2/echo/retry/{job_id}")).status_code == 429
