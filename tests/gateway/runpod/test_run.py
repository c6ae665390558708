"""``/run``: who may, what may be asked, what is sent to the ledger, and how its refusals are told."""

import asyncio
from typing import Any

import orjson
import pytest

from repo.clock import now_ms
from repo.values import read_input
from schemas.access import KeyKind, Scope
from schemas.accounts import Role
from schemas.api.runpod import INLINE_BYTES, RUN_BYTES, RUNSYNC_BYTES
from schemas.commands import SubmitJob
from schemas.endpoints import EndpointLimits
from schemas.failures import FailureCode
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from tests.gateway.runpod import echo
from tests.gateway.world import REMAINING, World, settings, started

RUN = "/v2/echo/run"
S3 = {"accessId": "id", "accessSecret": "hush", "bucketName": "b", "endpointUrl": "https://s3.example.org"}


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)


def submitted(world: World) -> SubmitJob:
    (command,) = [one for one in world.ledger.heard if isinstance(one, SubmitJob)]
    return command


async def test_a_job_is_taken_with_what_the_endpoint_says(world: World) -> None:
    limits = EndpointLimits(max_active=7)
    await echo.add(world, endpoint_id="mine", limits=limits, max_retries=5, ttl_ms=60_000, execution_timeout_ms=9_000)
    async with world.client() as http:
        answer = await http.post("/v2/mine/run", json={"input": {"any": ["thing", None, 1.5]}})
    assert answer.status_code == 200
    command = submitted(world)
    assert answer.json() == {"id": command.job_id, "status": "IN_QUEUE"}
    assert (command.endpoint, command.external, command.pool) == ("mine", True, "endpoint.mine")
    assert (command.limits, command.max_retries) == (limits, 5)
    assert (command.ttl_ms, command.execution_timeout_ms, command.priority) == (60_000, 9_000, 0)
    assert command.request.seconds == 0
    assert orjson.loads(command.request.input or "") == {"input": {"any": ["thing", None, 1.5]}}


@pytest.mark.parametrize("policy", [{"ttl": 10_000}, {"ttl": 10_000, "executionTimeout": 3_600_000}])
async def test_a_ttl_below_the_execution_timeout_is_taken_as_it_is(world: World, policy: dict[str, int]) -> None:
    """RunPod documents it as a hard end that covers queue and run, and refuses none: it ends the job first."""
    async with world.client() as http:
        assert (await http.post(RUN, json={"input": 0, "policy": policy})).status_code == 200
    command = submitted(world)
    assert (command.ttl_ms, command.execution_timeout_ms) == (10_000, policy.get("executionTimeout", 600_000))


async def test_policy_and_webhook_go_along(world: World) -> None:
    policy = {"executionTimeout": 5_000, "ttl": 10_000, "lowPriority": True}
    body = {"input": 0, "webhook": "https://example.org/told?x=1", "policy": policy, "unknown": 1}
    async with world.client() as http:
        assert (await http.post(RUN, json=body)).status_code == 200
    command = submitted(world)
    assert (command.execution_timeout_ms, command.ttl_ms, command.priority) == (5_000, 10_000, -1)
    assert command.webhook == "https://example.org/told?x=1"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": 1, "policy": []}, "policy"),
        ({"input": 1, "policy": {"executionTimeout": 4_999}}, "policy.executionTimeout"),
        ({"input": 1, "policy": {"executionTimeout": 604_800_001}}, "policy.executionTimeout"),
        ({"input": 1, "policy": {"executionTimeout": "9000"}}, "policy.executionTimeout"),
        ({"input": 1, "policy": {"ttl": 9_999}}, "policy.ttl"),
        ({"input": 1, "policy": {"ttl": 604_800_001}}, "policy.ttl"),
        ({"input": 1, "policy": {"ttl": True}}, "policy.ttl"),
        ({"input": 1, "policy": {"lowPriority": 1}}, "policy.lowPriority"),
        ({"input": 1, "webhook": "example.org/x"}, "webhook"),
        ({"input": 1, "webhook": "ftp://example.org"}, "webhook"),
        ({"input": 1, "webhook": "https://"}, "webhook"),
        ({"input": 1, "webhook": "https://a:b@example.org"}, "webhook"),
        ({"input": 1, "webhook": "https://example.org:99999/"}, "webhook"),
        ({"input": 1, "webhook": "https://exa mple.org/"}, "webhook"),
        ({"input": 1, "webhook": "https://example.org/" + "x" * 2_048}, "webhook"),
        ({"input": 1, "webhook": ""}, "webhook"),
        ({"input": 1, "webhookV2": "javascript:alert(1)"}, "webhookV2"),
        ({"input": 1, "s3Config": "x"}, "s3Config"),
        ({"input": 1, "s3Config": {**S3, "endpointUrl": "s3://x"}}, "s3Config.endpointUrl"),
        ({"input": 1, "s3Config": {**S3, "accessSecret": 7}}, "s3Config.accessSecret"),
        ({"input": 1, "s3Config": {**S3, "bucketName": ""}}, "s3Config.bucketName"),
        ({"input": 1, "s3Config": {k: v for k, v in S3.items() if k != "accessId"}}, "s3Config.accessId"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_sent(world: World, body: Any, field: str) -> None:
    async with world.client() as http:
        answer = await http.post(RUN, json=body)
    assert answer.status_code == 400
    assert [line["field"] for line in answer.json()["details"]] == [field]
    assert "hush" not in answer.text
    assert world.ledger.heard == []


async def test_what_is_no_json_is_400(world: World) -> None:
    async with world.client() as http:
        for body in (b"", b"{", b'{"input":NaN}', b'{"input":"\xff"}', b"[" * 2_000):
            assert (await http.post(RUN, content=body)).status_code == 400
    assert world.ledger.heard == []


async def test_what_takes_too_long_to_read_is_413(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/v2/echo/run", content=b'{"input":[' + b"{}," * 300_000 + b"1]}")
        assert (answer.status_code, "too many lists" in answer.json()["error"]) == (413, True)
        assert (await http.post("/v2/echo/run", json={"input": "{}," * 300_000})).status_code == 200


@pytest.mark.parametrize("endpoint", ["echo", "mochi-1"])
async def test_what_is_nested_deeper_than_it_can_be_passed_on_is_400(world: World, endpoint: str) -> None:
    deep = b"[" * 600 + b"]" * 600
    async with world.client() as http:
        for body in (b'{"input":%b}' % deep, b'{"input":{"prompt":"p"},"policy":%b}' % deep, deep):
            assert (await http.post(f"/v2/{endpoint}/run", content=body)).status_code == 400
    assert world.ledger.heard == []


async def test_an_empty_body_needs_no_room() -> None:
    async with started(settings(serverless_body_bytes=RUNSYNC_BYTES)) as world:
        await echo.add(world)
        async with world.client() as http, world.parts.serverless.room.held("ada", RUNSYNC_BYTES):
            assert (await http.post(RUN)).status_code == 400


async def test_a_large_input_and_one_with_secrets_go_by_reference(world: World) -> None:
    async with world.client() as http:
        for body in ({"input": "x" * INLINE_BYTES}, {"input": 1, "s3Config": {**S3, "extra": "ignored"}}):
            assert (await http.post(RUN, json=body)).status_code == 200
            command = world.ledger.heard.pop()
            assert isinstance(command, SubmitJob)
            assert command.request.input is None
            assert command.request.input_key is not None
            assert command.request.input_key.startswith(f"ada/inputs/{command.job_id}/")
            assert "hush" not in repr(command)
            given = await read_input(world.parts.objects, command.request)
            assert given == {"input": body["input"]} | ({"s3Config": S3} if "s3Config" in body else {})


async def test_the_store_of_large_inputs_is_away(world: World) -> None:
    world.objects.away = True
    async with world.client() as http:
        assert (await http.post(RUN, json={"input": "x" * INLINE_BYTES})).status_code == 503
        assert (await http.post(RUN, json={"input": 1})).status_code == 200
    world.objects.away = False


@pytest.mark.parametrize(("path", "limit"), [("run", RUN_BYTES), ("runsync?wait=1000", RUNSYNC_BYTES)])
async def test_bodies_have_runpods_limits(world: World, path: str, limit: int) -> None:
    whole = b'{"input":"%b"}' % (b"x" * (limit - 12))
    async with world.client() as http:
        assert (await http.post(f"/v2/echo/{path}", content=whole)).status_code == 200
        answer = await http.post(f"/v2/echo/{path}", content=whole + b" ")
        assert (answer.status_code, answer.json()["limitBytes"]) == (413, limit)

        async def unannounced() -> Any:
            yield whole
            yield b" "

        assert (await http.post(f"/v2/echo/{path}", content=unannounced())).status_code == 413
    assert world.parts.serverless.room.taken == 0


async def test_a_body_that_grows_when_it_is_read_is_refused(world: World) -> None:
    async with world.client() as http:
        answer = await http.post(RUN, content=b'{"input":[%b1]}' % (b"[]," * 1_000_001))
    assert answer.status_code == 413
    assert world.ledger.heard == []


async def test_large_bodies_share_a_room_and_small_ones_need_none() -> None:
    async with started(settings(serverless_body_bytes=RUNSYNC_BYTES)) as world:
        await echo.add(world)
        room = world.parts.serverless.room
        room._patience_s = 0.05
        async with world.client() as http, world.client("ben") as other, room.held("ada", RUNSYNC_BYTES):
            large = b'{"input":"%b"}' % (b"x" * 2_000_000)
            for client in (http, other):
                answer = await client.post(RUN, content=large)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert (await client.post(RUN, json={"input": 1})).status_code == 200
        assert room.taken == 0


async def test_who_waits_for_room_gets_it_when_there_is_some(world: World) -> None:
    room = world.parts.serverless.room
    async with world.client() as http:
        async with room.held("ada", 60 * 1024 * 1024):
            waiting = asyncio.create_task(http.post(RUN, content=b'{"input":"%b"}' % (b"x" * 8_000_000)))
            await asyncio.sleep(0)
            assert not waiting.done()
        assert (await waiting).status_code == 200


async def test_nobody_and_keys_that_are_not_for_this_are_refused(world: World) -> None:
    async with world.client(None) as http:
        answer = await http.post(RUN, json={"input": 1})
        assert answer.status_code == 401
        assert "`openv keys create`" in answer.json()["error"]
        raw = await world.key()
        assert (await http.post(RUN, json={"input": 1}, headers={"Authorization": raw})).status_code == 200
        worker = await world.key(kind=KeyKind.WORKER, endpoint="echo")
        assert (await http.post(RUN, json={"input": 1}, headers={"Authorization": worker})).json() == answer.json()
    async with world.client(scopes=(Scope.READ,)) as http:
        assert (await http.post(RUN, json={"input": 1})).status_code == 403
        assert (await http.get("/v2/echo/health")).status_code == 200
    async with world.client("eve", role=Role.RESTRICTED) as http:
        assert (await http.post(RUN, json={"input": 1})).status_code == 403


async def test_an_endpoint_that_is_not_for_the_caller_is_none(world: World) -> None:
    await echo.add(world, endpoint_id="bens", users=("ben",))
    await echo.add(world, endpoint_id="gone", deleted_at=5)
    async with world.client() as http, world.client("ben") as ben:
        for name in ("bens", "gone", "nothing", "Echo", "..", "a" * 300):
            for method, path in (("POST", "run"), ("POST", "runsync"), ("GET", "health"), ("POST", "purge-queue"),
                                 ("GET", "status/x"), ("GET", "stream/x"), ("POST", "cancel/x")):  # fmt: skip
                answer = await http.request(method, f"/v2/{name}/{path}", json={"input": 1})
                assert answer.status_code == 404, (name, path)
        assert (await ben.post("/v2/bens/run", json={"input": 1})).status_code == 200
    assert len(world.ledger.heard) == 1


@pytest.mark.parametrize(
    ("code", "status", "retry_after"),
    [
        (FailureCode.RATE_LIMITED, 429, "3"),
        (FailureCode.CONCURRENCY_EXCEEDED, 429, "3"),
        (FailureCode.QUOTA_EXCEEDED, 403, "3"),
        (FailureCode.CREDITS_EXCEEDED, 403, "3"),
        (FailureCode.ACCOUNT_BLOCKED, 403, "3"),
        (FailureCode.TOO_LATE, 503, "3"),
    ],
)
async def test_the_ledgers_no_is_told(world: World, code: FailureCode, status: int, retry_after: str) -> None:
    world.ledger.refuse = code
    world.ledger.remaining = REMAINING.__class__(**{**_members(REMAINING), "retry_after_ms": 2_500})
    async with world.client() as http:
        for path in ("run", "runsync"):
            answer = await http.post(f"/v2/echo/{path}", json={"input": "x" * INLINE_BYTES})
            assert (answer.status_code, answer.headers["retry-after"]) == (status, retry_after)
            assert len(answer.json()["error"]) > 10
    assert world.objects.objects == {}  # nobody's inputs


async def test_the_input_of_what_is_set_aside_is_kept_for_when_it_is_carried_out(world: World) -> None:
    world.ledger.damaged = True
    async with world.client() as http:
        answer = await http.post(RUN, json={"input": "x" * INLINE_BYTES})
    assert (answer.status_code, answer.json()["code"]) == (500, "damaged_document")
    command = world.ledger.heard.pop()
    assert isinstance(command, SubmitJob)
    assert command.request.input_key in world.objects.objects


def _members(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


async def test_no_decision_in_time_is_in_queue_all_the_same() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world:
        await echo.add(world)
        world.ledger.silent = True
        async with world.client() as http:
            answer = await http.post(RUN, json={"input": 1})
            assert (answer.status_code, answer.json()["status"]) == (200, "IN_QUEUE")
            answer = await http.post("/v2/echo/runsync?wait=1000", json={"input": 1})
            assert (answer.status_code, set(answer.json())) == (200, {"id", "status"})


async def test_kafka_is_away(world: World) -> None:
    async with world.client() as http:
        with world.kafka_away():
            answer = await http.post(RUN, json={"input": 1})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert await world.store.jobs_of("ada") == []


async def test_a_key_is_one_job_on_an_endpoint(world: World) -> None:
    await echo.add(world, endpoint_id="other")
    told = {"Idempotency-Key": "k-1"}
    async with world.client() as http, world.client("ben") as ben:
        first = await http.post(RUN, json={"input": {"a": 1, "b": 2}}, headers=told)
        again = await http.post(RUN, json={"input": {"b": 2, "a": 1}}, headers=told)
        assert first.json() == again.json()
        await echo.start(world, first.json()["id"])
        running = await http.post(RUN, json={"input": {"a": 1, "b": 2}}, headers=told)
        assert running.json() == {"id": first.json()["id"], "status": "IN_PROGRESS"}
        for changed in ({"input": 3}, {"input": {"a": 1, "b": 2}, "webhook": "https://example.org"},
                        {"input": {"a": 1, "b": 2}, "policy": {"ttl": 10_000}}):  # fmt: skip
            assert (await http.post(RUN, json=changed, headers=told)).status_code == 422
        elsewhere = [
            (await http.post("/v2/other/run", json={"input": 1}, headers=told)).json()["id"],
            (await ben.post(RUN, json={"input": 1}, headers=told)).json()["id"],
            (await http.post("/api/runpod", json={"prompt": "p"}, headers=told)).json()["jobId"],
            first.json()["id"],
        ]
        assert len(set(elsewhere)) == 4
        assert (await http.post(RUN, json={"input": 1}, headers={"Idempotency-Key": "a b"})).status_code == 400


async def test_another_input_under_a_used_key_overwrites_nothing(world: World) -> None:
    told = {"Idempotency-Key": "k-1"}
    async with world.client() as http:
        first = await http.post(RUN, json={"input": "x" * INLINE_BYTES}, headers=told)
        assert (await http.post(RUN, json={"input": "y" * INLINE_BYTES}, headers=told)).status_code == 422
    job = await echo.stored(world, first.json()["id"])
    assert await read_input(world.parts.objects, job.request) == {"input": "x" * INLINE_BYTES}


async def test_a_repeat_that_is_refused_takes_nothing_from_the_job(world: World) -> None:
    told = {"Idempotency-Key": "k-1"}
    body = {"input": "x" * INLINE_BYTES}
    async with world.client() as http:
        first = await http.post(RUN, json=body, headers=told)
        with world.kafka_away():
            assert (await http.post(RUN, json=body, headers=told)).status_code == 503
    job = await echo.stored(world, first.json()["id"])
    assert await read_input(world.parts.objects, job.request) == body


async def test_the_key_of_a_deleted_job_is_used_up(world: World) -> None:
    told = {"Idempotency-Key": "k-1"}
    async with world.client() as http:
        made = await http.post(RUN, json={"input": 1}, headers=told)
        await echo.move(world, made.json()["id"], State.DELETED)
        assert (await http.post(RUN, json={"input": 1}, headers=told)).status_code == 410


async def test_floods_are_shed() -> None:
    async with started(settings(serverless_requests=3)) as world:
        await echo.add(world)
        async with world.client() as http:
            statuses = [(await http.post(RUN, json={"input": 1})).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


MOCHI = {"positive_prompt": " a corgi ", "width": 399, "num_frames": 30}


async def test_an_engine_takes_worker_mochis_input(world: World) -> None:
    vae = {"enable_vae_tiling": True, "tile_overlap_factor_width": 0.25, "frame_batch_size": 8, "auto_tile_size": None}
    async with world.client() as http:
        answer = await http.post("/v2/mochi-1/run", json={"input": {**MOCHI, "vae": vae, "unknown": 1}})
    assert answer.status_code == 200, answer.text
    command = submitted(world)
    wanted = GenerationRequest(prompt="a corgi", width=384, height=480, num_frames=25, seed=1337)
    assert command.request == wanted
    assert (command.endpoint, command.external, command.pool) == ("mochi-1", False, "mochi-1")
    assert command.limits is None  # nobody gave the built-in endpoint any: the deployment's hold


async def test_an_engines_client_may_have_its_own_bucket(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/v2/mochi-1/run", json={"input": {"prompt": "x" * 10_000}, "s3Config": S3})
    assert answer.status_code == 200, answer.text
    request = submitted(world).request
    assert request.prompt == "x" * 10_000
    given = await read_input(world.parts.objects, request)
    assert given["s3Config"] == S3


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"positive_prompt": None}, "input.prompt"),
        ({"positive_prompt": "  "}, "input.prompt"),
        ({"positive_prompt": "x" * 10_001}, "input.prompt"),
        ({"negative_prompt": 1}, "input.negative_prompt"),
        ({"width": 383}, "input.width"),
        ({"height": "480"}, "input.height"),
        ({"num_frames": 128}, "input.num_frames"),
        ({"steps": 9}, "input.steps"),
        ({"cfg": 21}, "input.cfg"),
        ({"seed": -1}, "input.seed"),
        ({"seed": 2_147_483_648}, "input.seed"),
        ({"vae": 1}, "input.vae"),
        ({"vae": {"frame_batch_size": 0}}, "input.vae.frame_batch_size"),
        ({"vae": {"tile_overlap_factor_width": 1}}, "input.vae.tile_overlap_factor_width"),
        ({"vae": {"enable_vae_tiling": "yes"}}, "input.vae.enable_vae_tiling"),
    ],
)
async def test_what_is_wrong_with_a_videos_input_is_named(world: World, changed: Any, field: str) -> None:
    async with world.client() as http:
        answer = await http.post("/v2/mochi-1/run", json={"input": MOCHI | changed})
        assert answer.status_code == 400
        assert [line["field"] for line in answer.json()["details"]] == [field]
        assert (await http.post("/v2/mochi-1/run", json={"input": "a corgi"})).status_code == 400
    assert world.ledger.heard == []


async def test_what_an_operator_changes_counts_soon() -> None:
    time = [now_ms()]
    async with started(now=lambda: time[0]) as world:
        made = await echo.add(world)
        async with world.client() as http:
            assert (await http.get("/v2/echo/health")).status_code == 200
            gone = echo.endpoint(version=made.version + 1, deleted_at=9)
            assert await world.database.endpoints.store_endpoint(gone, made.version)
            assert (await http.get("/v2/echo/health")).status_code == 200
            time[0] += 5_001
            world.database.endpoints.away = True
            assert (await http.post(RUN, json={"input": 1})).status_code == 200  # what was known a moment ago holds
            time[0] += 30_000
            assert (await http.post(RUN, json={"input": 1})).status_code == 503
            world.database.endpoints.away = False
            assert (await http.get("/v2/echo/health")).status_code == 404
