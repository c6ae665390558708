"""Cancel midway, and the refusals: each with the exact remainder, and with nothing charged that was not made."""

import pytest

from tests.end_to_end.stack import LONG, Stack

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]


async def test_cancel_midway_stops_the_worker_and_gives_the_seconds_back(stack: Stack) -> None:
    http = await stack.new_user("carl")
    async with stack.socket(http) as frames:
        row = await stack.submit(http, **LONG)
        await frames.next(lambda frame: frame["type"] == "progress" and frame["data"]["phase"] == "denoise")
        answer = await http.post(f"/api/runpod/{row['jobId']}/cancel")
        assert answer.status_code == 200, answer.text
        cancelled = await frames.next(lambda frame: frame["type"] == "event" and frame["data"]["state"] == "cancelled")
    assert cancelled["data"]["status"] == "failed"
    assert cancelled["data"]["charge"]["state"] == "refunded"
    following = await stack.submit(http)
    assert following["monthlyQuota"]["currentUsage"] == pytest.approx(7 / 24, abs=0.01)
    await stack.state(http, following["jobId"], "completed")
    again = await http.post(f"/api/runpod/{row['jobId']}/cancel")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")
    assert (await http.post(f"/api/runpod/{following['jobId']}/cancel")).status_code == 409


async def test_a_repeat_with_the_same_key_is_one_job_and_another_payload_is_refused(stack: Stack) -> None:
    http = await stack.new_user("ida")
    body = {"prompt": "twice", "width": 384, "height": 384, "num_frames": 7, "steps": 10}
    answers = [await http.post("/api/runpod", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    other = await http.post("/api/runpod", json=body | {"seed": 9}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422
    await stack.state(http, answers[0].json()["jobId"], "completed")
    assert len((await http.get("/api/videos")).json()) == 1


async def test_wrong_fields_are_all_named_and_nothing_is_made(stack: Stack) -> None:
    http = await stack.new_user("wim")
    answer = await http.post("/api/runpod", json={"prompt": "", "width": 1, "steps": "many"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "Validation failed"
    assert {detail["field"] for detail in answer.json()["details"]} == {"prompt", "width", "steps"}
    assert (await http.get("/api/videos")).json() == []
