"""OpenV's API over HTTP: bodies, statuses, order of checks, and that nobody reaches another's jobs."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from repo.clock import now_ms
from schemas.accounts import Role
from schemas.commands import SubmitJob
from schemas.failures import FailureCode
from schemas.ids import job_id_of_key
from schemas.instants import from_datetime
from schemas.shape import from_json
from schemas.topics import COMMANDS
from tests.gateway.world import REMAINING, World, job, settings, started, until


def from_iso(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text))


IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(20)]
BODY = {"prompt": "a corgi surfing at sunset"}


async def test_a_prompt_in_a_row_out_with_the_quota_that_is_left(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/api/runpod", json=BODY)
    assert answer.status_code == 200
    row = answer.json()
    assert (row["status"], row["prompt"], row["userId"], row["frames"]) == ("queued", BODY["prompt"], "ada", 31)
    assert isinstance(row["id"], int)
    assert row["count"] == 1
    assert row["monthlyQuota"] == {"remainingSeconds": 598.75, "currentUsage": 1.25, "limitSeconds": 600.0}
    (command,) = world.ledger.heard
    assert isinstance(command, SubmitJob)
    assert command.job_id == row["jobId"]
    assert (command.pool, command.request.width, command.request.height) == ("mochi-1", 848, 480)
    assert 0 < command.append_by - now_ms() <= 2_200


async def test_sizes_are_what_the_model_can_make_and_the_answer_says_so(world: World) -> None:
    async with world.client() as http:
        sent = {**BODY, "width": 399, "height": 640, "num_frames": 30, "seed": 0, "cfg": 4, "steps": 10.0}
        row = (await http.post("/api/runpod", json=sent)).json()
    request = row["request"]
    assert (request["width"], request["height"], request["numFrames"], row["frames"]) == (384, 640, 25, 25)
    assert (request["seed"], request["cfg"], request["steps"]) == (0, 4.0, 10)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "  \n"}, "prompt"),
        ({"prompt": "x" * 501}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"negative_prompt": "x" * 501}, "negative_prompt"),
        ({"width": 383}, "width"),
        ({"width": 849}, "width"),
        ({"height": 4.5}, "height"),
        ({"height": "480"}, "height"),
        ({"steps": 9}, "steps"),
        ({"steps": True}, "steps"),
        ({"cfg": 20.5}, "cfg"),
        ({"cfg": "6"}, "cfg"),
        ({"num_frames": 6}, "num_frames"),
        ({"numFrames": 128}, "num_frames"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"seed": 10**30}, "seed"),
        ({"model": "sora"}, "model"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_reaches_the_log(
    world: World, change: dict[str, Any], field: str
) -> None:
    async with world.client() as http:
        answer = await http.post("/api/runpod", json={**BODY, **change})
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"] == "Validation failed"
    assert [line["field"] for line in body["details"]] == [field]
    assert all(line["message"] for line in body["details"])
    assert world.ledger.heard == []


async def test_all_wrong_fields_are_named_at_once(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/api/runpod", json={"width": 1, "cfg": None, "steps": 99, "seed": []})
    assert [line["field"] for line in answer.json()["details"]] == ["prompt", "width", "steps", "seed"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b'{"prompt": NaN}', 400),
        (b'{"prompt":"a","cfg":NaN}', 400),
        (b'{"prompt":"a","cfg":1e999}', 400),
        (b'{"prompt":"\\ud800"}', 400),
        (b'{"prompt":"\xff"}', 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"null", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, 400),
        (b" " * (1024 * 1024 + 1), 413),
    ],
    ids=str,
)
async def test_bodies_that_are_no_json_object(world: World, content: bytes, status: int) -> None:
    async with world.client() as http:
        answer = await http.post("/api/runpod", content=content)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]
        streamed = await http.post("/api/runpod", content=_pieces(content))
        assert streamed.status_code == status
    assert world.ledger.heard == []


async def _pieces(content: bytes) -> Any:
    for at in range(0, len(content), 65_536):
        yield content[at : at + 65_536]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer nonsense", "Bearer ov_" + "a" * 43, "ov_" + "a" * 43, "Basic x"]
)
async def test_strangers_are_told_so_before_anything_else(world: World, header: str | None) -> None:
    async with world.client(None) as http:
        headers = {"Authorization": header} if header is not None else {}
        for method, path in [("POST", "/api/runpod"), ("GET", "/api/videos"), ("DELETE", "/api/videos"),
                             ("GET", f"/api/runpod/{IDS[0]}"), ("POST", f"/api/runpod/{IDS[0]}/cancel"),
                             ("GET", f"/api/videos/{IDS[0]}/video")]:  # fmt: skip
            answer = await http.request(method, path, headers=headers, content=b"broken")
            assert answer.status_code == 401
            member = "error" if path == "/api/videos" else "message"
            assert answer.json() == {member: "Unauthorized"}


async def test_a_raw_key_is_a_key_and_a_restricted_one_may_only_look(world: World) -> None:
    secret = await world.key()
    async with world.client(None) as http:
        assert (await http.get("/api/videos", headers={"Authorization": secret})).status_code == 200
        assert (await http.get("/api/videos", headers={"Authorization": f"bearer {secret}"})).status_code == 200
    async with world.client("eve", role=Role.RESTRICTED) as http:
        assert (await http.get("/api/videos")).status_code == 200
        refused = await http.post("/api/runpod", content=b"broken")
        assert (refused.status_code, refused.json()) == (403, {"message": "This action requires user role"})
    async with world.client("root", role=Role.ADMIN) as http:
        assert (await http.post("/api/runpod", content=b"broken")).status_code == 400, "an admin may make videos"
    assert world.ledger.heard == []


QUOTA = replace(REMAINING, remaining_seconds=0.404, used_seconds=599.6, suggested_frames=7)


@pytest.mark.parametrize(
    ("code", "remaining", "status", "members"),
    [
        (
            FailureCode.QUOTA_EXCEEDED,
            QUOTA,
            403,
            {
                "error": "Monthly limit exceeded",
                "message": "You have 0.40 seconds remaining in your monthly quota",
                "suggestedFrames": 7,
            },
        ),
        (
            FailureCode.CONCURRENCY_EXCEEDED,
            replace(REMAINING, active=4, max_active=4),
            409,
            {
                "error": "You have reached the maximum limit of 4 concurrent jobs. "
                "Please wait for your other videos to finish processing.",
                "count": 4,
            },
        ),
        (FailureCode.RATE_LIMITED, replace(REMAINING, retry_after_ms=4_200), 429, {}),
        (
            FailureCode.CREDITS_EXCEEDED,
            replace(REMAINING, credits=0.5),
            403,
            {"credits": 0.5},
        ),
        (FailureCode.ACCOUNT_BLOCKED, REMAINING, 403, {}),
        (FailureCode.TOO_LATE, REMAINING, 503, {}),
        (FailureCode.KEY_REUSED, REMAINING, 422, {}),
        (FailureCode.INVALID_INPUT, REMAINING, 400, {}),
    ],
)
async def test_refusals_in_openvs_words(
    world: World, code: FailureCode, remaining: Any, status: int, members: dict[str, Any]
) -> None:
    world.ledger.refuse, world.ledger.remaining = code, remaining
    async with world.client() as http:
        answer = await http.post("/api/runpod", json=BODY)
    assert answer.status_code == status
    body = answer.json()
    assert members.items() <= body.items()
    assert body["error"]
    assert body["jobId"]
    if status == 429:
        assert answer.headers["retry-after"] == "5"
    if status == 503:
        assert "retry-after" in answer.headers


async def test_the_same_key_meets_the_same_job_and_another_payload_is_refused(world: World) -> None:
    headers = {"Idempotency-Key": "order-7"}
    async with world.client() as http:
        first = (await http.post("/api/runpod", json=BODY, headers=headers)).json()
        again = await http.post("/api/runpod", json={**BODY, "width": 850 - 2, "seed": 42}, headers=headers)
        other = await http.post("/api/runpod", json={**BODY, "seed": 43}, headers=headers)
        assert first["jobId"] == again.json()["jobId"] == job_id_of_key("ada", "order-7")
        assert (again.status_code, other.status_code) == (200, 422)
        assert len((await http.get("/api/videos")).json()) == 1
        await http.request("DELETE", "/api/videos", json={"jobIds": [first["jobId"]]})
        assert (await http.post("/api/runpod", json=BODY, headers=headers)).status_code == 410
    async with world.client("bob") as http:
        assert (await http.post("/api/runpod", json=BODY, headers=headers)).json()["jobId"] != first["jobId"]


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "naïve"])
async def test_keys_that_are_none(world: World, key: str) -> None:
    async with world.client() as http:
        answer = await http.post("/api/runpod", json=BODY, headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 400
    assert world.ledger.heard == []


async def test_no_decision_in_time_is_202_and_the_job_is_in_the_log() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        world.ledger.silent = True
        answer = await http.post("/api/runpod", json=BODY)
        assert answer.status_code == 202
        body = answer.json()
        (command,) = world.ledger.heard
        assert isinstance(command, SubmitJob)
        assert command.subject == body["jobId"]
        # The whole row, under the id that it will have: OpenV's page shows it at once and finds it again.
        (record,) = world.log.records(COMMANDS.name)
        assert from_iso(body["createdAt"]) == record.timestamp
        await world.ledger.write(job(command.job_id, at=from_iso(body["createdAt"]), request=command.request))
        listed = (await http.get("/api/videos")).json()
        assert [{name: row[name] for name in body} for row in listed] == [body]
        await world.ledger.write(job(job_id_of_key("ada", "k"), at=5_000))
        repeated = await http.post("/api/runpod", json=BODY, headers={"Idempotency-Key": "k"})
        assert (repeated.status_code, repeated.json()["createdAt"]) == (202, "1970-01-01T00:00:05.000Z")


async def test_kafka_away_is_a_503_that_names_the_job_and_appends_nothing_later() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        with world.kafka_away():
            answer = await http.post("/api/runpod", json=BODY, headers={"Idempotency-Key": "k"})
            assert answer.status_code == 503
            assert answer.json()["jobId"] == job_id_of_key("ada", "k")
            assert "Idempotency-Key" in answer.json()["error"]
            assert "retry-after" in answer.headers
            await until(lambda: not world.parts.probes.answers("kafka"))
            assert (await http.post("/api/runpod", json=BODY)).status_code == 503
        await until(lambda: world.parts.probes.answers("kafka"))
        assert (await http.post("/api/runpod", json=BODY, headers={"Idempotency-Key": "k"})).status_code == 200
        assert len(world.ledger.heard) == 1


async def test_a_503_is_told_only_when_the_record_can_no_longer_count() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        sent: list[Any] = []

        async def lost(message: Any, *, partition: int | None = None) -> None:
            sent.append(from_json(SubmitJob, message.value))
            await asyncio.Event().wait()

        world.log.append = lost  # type: ignore[method-assign, assignment]
        assert (await http.post("/api/runpod", json=BODY)).status_code == 503
        assert now_ms() > sent[0].append_by


async def test_an_answer_counts_even_if_the_append_was_not_acknowledged() -> None:
    async with started(settings(decision_timeout_seconds=0.5)) as world, world.client() as http:
        real = world.log.append

        async def acknowledged_never(message: Any, *, partition: int | None = None) -> Any:
            position = await real(message, partition=partition)
            if message.topic == "openv.commands":
                await asyncio.Event().wait()
            return position

        world.log.append = acknowledged_never  # type: ignore[method-assign]
        assert (await http.post("/api/runpod", json=BODY)).status_code == 200


@pytest.mark.parametrize(("unheard", "status"), [(0, 200), (1, 202)])
async def test_mongodb_away_after_the_decision_is_still_an_answer(world: World, unheard: int, status: int) -> None:
    """The row as this gateway heard it; where the decision was about a version that it has not heard of, its id."""
    async with world.client() as http:
        await http.get("/api/videos")  # the key is remembered now
        real = world.ledger.answer

        async def answer_then_away(*given: Any, version: int, **named: Any) -> None:
            world.database.away = True
            await real(*given, version=version + unheard, **named)

        world.ledger.answer = answer_then_away  # type: ignore[method-assign]
        answer = await http.post("/api/runpod", json=BODY)
        assert (answer.status_code, answer.json()["status"]) == (status, "queued")
        assert ("version" in answer.json()) is (status == 200)
        assert answer.json()["prompt"] == BODY["prompt"]
        listed = await http.get("/api/videos")
        assert (listed.status_code, listed.json()["missing"]) == (503, ["mongodb"])


async def test_a_flood_is_shed_before_the_log() -> None:
    async with started(settings(shed_requests=3, shed_window_seconds=60)) as world, world.client() as http:
        answers = [await http.post("/api/runpod", json=BODY) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert len(world.ledger.heard) == 3
        async with world.client("bob") as other:
            assert (await other.post("/api/runpod", json=BODY)).status_code == 200
