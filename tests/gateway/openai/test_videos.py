"""``/v1/videos`` over HTTP: the same jobs as on ``/api``, told and asked for as OpenAI's SDKs do."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from repo.clock import now_ms
from repo.environment import SettingsError
from schemas.access import Scope
from schemas.accounts import Role
from schemas.codec import encode
from schemas.commands import DeleteJob, SubmitJob
from schemas.failures import FailureCode
from schemas.ids import job_id_of_key
from schemas.jobs import Failure, Refusal
from schemas.lifecycle import State
from schemas.phases import Phase
from schemas.progress import AttemptProgress
from schemas.requests import GenerationRequest
from tests.gateway.world import World, job, settings, started, until, with_files

BODY = {"model": "sora-2", "prompt": "a corgi surfing", "seconds": "4", "size": "1280x720"}
IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(20)]


async def test_a_video_is_made_and_told_as_openai_tells_it(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/v1/videos", json=BODY)
        assert answer.status_code == 200, answer.text
        video = answer.json()
        (command,) = world.ledger.heard
        assert isinstance(command, SubmitJob)
        assert (command.pool, command.origin, command.external) == ("mochi-1", "openai", False)
        assert (command.request.width, command.request.height, command.request.num_frames) == (848, 480, 97)
        assert abs(video.pop("created_at") - now_ms() // 1000) < 60
        assert video == {
            "id": f"video_{command.job_id}", "object": "video", "model": "mochi-1", "status": "queued", "progress": 0,
            "completed_at": None, "expires_at": None, "prompt": "a corgi surfing", "seconds": "4.04",
            "size": "848x480", "remixed_from_video_id": None, "error": None,
        }  # fmt: skip
        assert answer.headers["openai-poll-after-ms"] == "1000"
        again = await http.get(f"/v1/videos/{video['id']}")
        assert again.json()["id"] == video["id"]
        assert (await http.get(f"/api/runpod/{command.job_id}")).json()["state"] == "queued"


@pytest.mark.parametrize("how", ["json", "form"])
async def test_json_and_forms_are_the_same(world: World, how: str) -> None:
    fields = {**BODY, "num_frames": "13", "num_inference_steps": "12", "guidance_scale": "4.5", "seed": "9"}
    given: dict[str, Any] = (
        {"json": {**fields, "seed": 9, "negative_prompt": None}}
        if how == "json"
        else {"files": {name: (None, value) for name, value in {**fields, "negative_prompt": ""}.items()}}
    )
    async with world.client() as http:
        answer = await http.post("/v1/videos", **given)
    assert answer.status_code == 200, answer.text
    (command,) = world.ledger.heard
    assert isinstance(command, SubmitJob)
    assert command.request == GenerationRequest(
        prompt="a corgi surfing", num_frames=13, steps=12, cfg=4.5, seed=9, width=848, height=480
    )


async def test_a_key_meets_the_same_video_on_every_surface(world: World) -> None:
    headers = {"Idempotency-Key": "order-7"}
    async with world.client() as http:
        first, again = [await http.post("/v1/videos", json=BODY, headers=headers) for _ in range(2)]
        assert first.json()["id"] == again.json()["id"] == f"video_{job_id_of_key('ada', 'order-7')}"
        other = await http.post("/v1/videos", json={**BODY, "prompt": "a cat"}, headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (400, "key_reused")
        assert other.json()["error"]["param"] == "Idempotency-Key"
        assert (await http.delete(f"/v1/videos/{first.json()['id']}")).status_code == 200
        gone = await http.post("/v1/videos", json=BODY, headers=headers)
        assert (gone.status_code, gone.json()["error"]["code"]) == (400, "deleted")
        bad = await http.post("/v1/videos", json=BODY, headers={"Idempotency-Key": "two words"})
        assert (bad.status_code, bad.json()["error"]["code"]) == (400, "bad_key")


async def test_progress_is_that_of_the_newest_attempt(world: World) -> None:
    running = job(IDS[0], state=State.PROCESSING, attempt=2)
    await world.store.store_job(running, 0)

    async def tell(attempt: int, sequence: int, fraction: float) -> None:
        told = AttemptProgress(
            user_id="ada", job_id=IDS[0], sequence=sequence, attempt=attempt, worker_id="w", phase=Phase.DENOISE,
            step=1, steps=10, fraction=fraction, elapsed_ms=5,
        )  # fmt: skip
        await world.log.append(encode(told, source="/test", at=now_ms()))

    def heard(text: str) -> bool:
        return any(text in one.frame.text.decode() for one in world.parts.feed.hub.newest("ada"))

    async with world.client() as http:
        first = await http.get(f"/v1/videos/video_{IDS[0]}")
        assert (first.json()["status"], first.json()["progress"]) == ("in_progress", 0)
        assert first.headers["openai-poll-after-ms"] == "1000"
        for attempt, fraction, shown in ((1, 0.9, 0), (2, 0.375, 37), (2, 1.0, 99)):
            await tell(attempt, attempt * 10 + shown, fraction)
            await until(partial(heard, f'"fraction":{fraction}'))
            for found in (
                (await http.get(f"/v1/videos/video_{IDS[0]}")).json(),
                (await http.get("/v1/videos")).json()["data"][0],
            ):
                assert (found["status"], found["progress"]) == ("in_progress", shown)


async def test_each_state_in_openais_words(world: World) -> None:
    failed = Failure(code=FailureCode.OUT_OF_MEMORY, message="too large")
    refusal = Refusal(command_id="c", code=FailureCode.QUOTA_EXCEEDED)
    jobs = [
        replace(with_files(job(IDS[0])), finished_at=9_876),
        job(IDS[1], state=State.FAILED, failure=failed, finished_at=9_000),
        job(IDS[2], state=State.CANCELLED),
        job(IDS[3], state=State.TIMED_OUT, failure=replace(failed, code=FailureCode.TTL_EXPIRED, message="")),
        job(IDS[4], state=State.REJECTED, refusal=refusal),
    ]
    for one in jobs:
        await world.store.store_job(one, 0)
    async with world.client() as http:
        answers = [await http.get(f"/v1/videos/video_{one.job_id}") for one in jobs]
        told = [answer.json() for answer in answers]
        listed = (await http.get("/v1/videos")).json()["data"]
    assert not any("openai-poll-after-ms" in answer.headers for answer in answers)
    assert [(one["status"], one["progress"], one["completed_at"]) for one in told] == [
        ("completed", 100, 9), *[("failed", 0, None)] * 4
    ]  # fmt: skip
    assert [one["error"] and one["error"]["code"] for one in told] == [
        None, "out_of_memory", "cancelled", "ttl_expired", "quota_exceeded"
    ]  # fmt: skip
    assert told[1]["error"]["message"] == "too large"
    assert all(one["error"]["message"] for one in told[1:])
    assert {one["id"] for one in listed} == {one["id"] for one in told[:4]}, "a refused one is in no list"


async def test_pages_go_through_all_videos_once_in_both_directions(world: World) -> None:
    for number, job_id in enumerate(IDS[:9]):
        await world.store.store_job(job(job_id, at=1_000 + number // 2), 0)
    await world.store.store_job(job(IDS[10], at=1_002, external=True), 0)
    await world.store.store_job(job(IDS[11], "bob", at=1_002), 0)
    newest_first = [f"video_{job_id}" for job_id in reversed(IDS[:9])]
    async with world.client() as http:
        for order, wanted in (("desc", newest_first), ("asc", newest_first[::-1])):
            seen: list[str] = []
            query: dict[str, Any] = {"limit": 4, "order": order}
            while True:
                page = (await http.get("/v1/videos", params=query)).json()
                ids = [one["id"] for one in page["data"]]
                assert (page["object"], page["first_id"], page["last_id"]) == ("list", ids[0], ids[-1])
                seen += ids
                if not page["has_more"]:
                    break
                query["after"] = page["last_id"]
            assert seen == wanted
        await http.delete(f"/v1/videos/{newest_first[3]}")
        after = await http.get("/v1/videos", params={"after": newest_first[3]})
        assert [one["id"] for one in after.json()["data"]] == newest_first[4:], "deleted since: a place all the same"
        empty = (await http.get("/v1/videos", params={"after": newest_first[-1]})).json()
        assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("param", "value"),
    [("limit", "0"), ("limit", "101"), ("limit", "many"), ("limit", "٣"), ("order", "up"), ("after", IDS[0]),
     ("after", f"video_{IDS[11]}"), ("after", f"video_{IDS[10]}"), ("after", "video_")],
)  # fmt: skip
async def test_queries_that_are_none(world: World, param: str, value: str) -> None:
    await world.store.store_job(job(IDS[11], "bob"), 0)
    await world.store.store_job(job(IDS[10], external=True), 0)
    async with world.client() as http:
        answer = await http.get("/v1/videos", params={param: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_nobody_else_sees_or_touches_it_and_an_external_job_is_no_video(world: World) -> None:
    await world.store.store_job(with_files(job(IDS[0])), 0)
    await world.store.store_job(job(IDS[1], external=True, state=State.COMPLETED), 0)
    async with world.client("bob") as http:
        for path in (f"/v1/videos/video_{IDS[0]}", f"/v1/videos/video_{IDS[0]}/content"):
            assert (await http.get(path)).status_code == 404
        assert (await http.delete(f"/v1/videos/video_{IDS[0]}")).status_code == 404
        assert (await http.get("/v1/videos")).json()["data"] == []
    async with world.client() as http:
        for video_id in (f"video_{IDS[1]}", IDS[0], "video_", "video_x", f"VIDEO_{IDS[0]}"):
            assert (await http.get(f"/v1/videos/{video_id}")).status_code == 404
            assert (await http.get(f"/v1/videos/{video_id}/content")).status_code == 404
            assert (await http.delete(f"/v1/videos/{video_id}")).status_code == 404
    assert world.ledger.heard == []


async def test_files_are_redirected_to_and_what_there_is_not_is_said(world: World) -> None:
    await world.store.store_job(with_files(job(IDS[0])), 0)
    await world.store.store_job(job(IDS[1]), 0)
    async with world.client() as http:
        for query in ("", "?variant=video"):
            answer = await http.get(f"/v1/videos/video_{IDS[0]}/content{query}")
            assert answer.status_code == 307
            assert answer.headers["location"].startswith(f"memory://objects/ada/videos/{IDS[0]}.mp4?expires=3600")
        for path, status, code in (
            (f"video_{IDS[0]}/content?variant=thumbnail", 404, "not_found"),  # this one has none
            (f"video_{IDS[0]}/content?variant=spritesheet", 400, "unsupported"),
            (f"video_{IDS[0]}/content?variant=sound", 400, "invalid_value"),
            (f"video_{IDS[1]}/content", 409, "not_ready"),
        ):
            answer = await http.get(f"/v1/videos/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers["x-should-retry"] == "false"


async def test_a_deleted_video_is_gone(world: World) -> None:
    await world.store.store_job(with_files(job(IDS[0])), 0)
    async with world.client() as http:
        answer = await http.delete(f"/v1/videos/video_{IDS[0]}")
        assert answer.json() == {"id": f"video_{IDS[0]}", "object": "video.deleted", "deleted": True}
        assert (await http.get(f"/v1/videos/video_{IDS[0]}")).status_code == 404
        assert (await http.delete(f"/v1/videos/video_{IDS[0]}")).status_code == 404


async def test_what_is_not_decided_in_time_is_queued_and_can_be_asked_for_and_deleted() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        world.ledger.silent = True
        answer = await http.post("/v1/videos", json=BODY)
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        video = answer.json()
        polled = await http.get(f"/v1/videos/{video['id']}")
        assert (polled.status_code, polled.json()) == (200, video)
        assert polled.headers["openai-poll-after-ms"]
        assert (await http.get(f"/v1/videos/{video['id']}/content")).status_code == 409
        async with world.client("bob") as other:
            assert (await other.get(f"/v1/videos/{video['id']}")).status_code == 404
            assert (await other.delete(f"/v1/videos/{video['id']}")).status_code == 404
        (command,) = world.ledger.heard
        assert isinstance(command, SubmitJob)
        refusal = Refusal(command_id="c", code=FailureCode.QUOTA_EXCEEDED)
        await world.ledger.write(job(command.job_id, state=State.REJECTED, refusal=refusal))
        failed = (await http.get(f"/v1/videos/{video['id']}")).json()
        assert (failed["status"], failed["error"]["code"]) == ("failed", "quota_exceeded")
        late = await http.post("/v1/videos", json=BODY)
        deleted = await http.delete(f"/v1/videos/{late.json()['id']}")
        assert (deleted.status_code, deleted.json()["deleted"]) == (202, False)
        assert isinstance(world.ledger.heard[-1], DeleteJob)


async def test_mongodb_away_after_the_decision_is_still_an_answer(world: World) -> None:
    async with world.client() as http:
        await http.get("/v1/videos")  # the key is remembered now
        real = world.ledger.answer

        async def answer_then_away(*given: Any, **named: Any) -> None:
            world.database.away = True
            await real(*given, **named)

        world.ledger.answer = answer_then_away  # type: ignore[method-assign]
        answer = await http.post("/v1/videos", json=BODY)
        assert (answer.status_code, answer.json()["status"]) == (200, "queued")
        away = await http.get(f"/v1/videos/{answer.json()['id']}")
        assert (away.status_code, away.json()["error"]["type"]) == (503, "server_error")
        assert away.headers["retry-after"]


async def test_kafka_away_is_a_503_and_nothing_is_made(world: World) -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        with world.kafka_away():
            answer = await http.post("/v1/videos", json=BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_recorded")
        assert answer.headers["retry-after"]
        assert world.ledger.heard == []


async def test_floods_are_shed(world: World) -> None:
    async with started(settings(shed_requests=2, shed_window_seconds=60)) as world, world.client() as http:
        answers = await asyncio.gather(*(http.post("/v1/videos", json=BODY) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]


async def test_scopes_and_roles_are_looked_at_first(world: World) -> None:
    async with world.client(scopes=(Scope.READ,)) as http:
        assert (await http.get("/v1/videos")).status_code == 200
        refused = await http.post("/v1/videos", content=b"broken")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_missing")
        assert "write" in refused.json()["error"]["message"]
        assert (await http.delete(f"/v1/videos/video_{IDS[0]}")).status_code == 403
    async with world.client("eve", role=Role.RESTRICTED) as http:
        assert (await http.post("/v1/videos", json=BODY)).status_code == 403
    assert world.ledger.heard == []


async def test_the_names_of_the_model(world: World) -> None:
    async with started(settings(openai_models="sora-2, my-model")) as world, world.client() as http:
        listed = (await http.get("/v1/models")).json()
        assert [one["id"] for one in listed["data"]] == ["mochi-1", "sora-2", "my-model"]
        for name in ("mochi-1", "my-model"):
            assert (await http.get(f"/v1/models/{name}")).json() == next(o for o in listed["data"] if o["id"] == name)
            assert (await http.post("/v1/videos", json={**BODY, "model": name})).status_code == 200
        for answer in (
            await http.get("/v1/models/sora-2-pro"),
            await http.post("/v1/videos", json={**BODY, "model": "sora-2-pro"}),
        ):
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize("names", ["a b", "a/b", "é", "x" * 101])
def test_names_of_models_that_are_none(names: str) -> None:
    with pytest.raises(SettingsError, match="OPENV_OPENAI_MODELS"):
        settings(openai_models=names)
