"""What RunPod's answers mean: tables of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_worker.core.runpod_answers import (
    Accepted,
    Broken,
    Later,
    Made,
    NotTaken,
    Refused,
    Reply,
    Unclear,
    Under,
    Unknown,
    body_of,
    fraction_of,
    pause_ms,
    read_status,
    read_submission,
    step_of,
)
from schemas.failures import FAILURES, FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest

F = FailureCode
URL = "https://files.example.org/a.mp4?X-Amz-Signature=00"


@pytest.mark.parametrize(
    ("reply", "means"),
    [
        (Reply(200, {"id": "abc-e1", "status": "IN_QUEUE"}), Accepted("abc-e1")),
        (Reply(200, {"id": "../../status"}), Unclear("RunPod answered without a job id")),
        (Reply(200, {"id": 7}), Unclear("RunPod answered without a job id")),
        (Reply(200, None), Unclear("RunPod answered without a job id")),
        (Reply(429, None, 7_000), NotTaken("RunPod answered 429", 7_000)),
        (Reply(503), NotTaken("RunPod answered 503")),
        (Reply(201, {"id": "abc-e1"}), Accepted("abc-e1")),
        (Reply(100), Refused(F.ENGINE_ERROR, "RunPod refused the request (100).")),
        (Reply(300), Refused(F.MODEL_UNAVAILABLE, "RunPod's address leads elsewhere.", here=True)),
        (Reply(403), Refused(F.MODEL_UNAVAILABLE, "RunPod refuses our key.", here=True)),
        (Reply(408), Unclear("RunPod answered 408")),
        (Reply(413), Refused(F.INVALID_INPUT, "RunPod refused the request (413).")),
        (Reply(422), Refused(F.INVALID_INPUT, "RunPod refused the request (422).")),
        (Reply(500), Unclear("RunPod answered 500")),
        (Reply(504), Unclear("RunPod answered 504")),
        (Reply(None, sent=True, words="it broke"), Unclear("it broke")),
        (Reply(None, sent=False, words="no way"), NotTaken("no way")),
        (Reply(401), Refused(F.MODEL_UNAVAILABLE, "RunPod refuses our key.", here=True)),
        (Reply(404), Refused(F.MODEL_UNAVAILABLE, "RunPod does not know the endpoint.", here=True)),
        (Reply(302), Refused(F.MODEL_UNAVAILABLE, "RunPod's address leads elsewhere.", here=True)),
        (Reply(400), Refused(F.INVALID_INPUT, "RunPod refused the request (400).")),
        (Reply(418), Refused(F.ENGINE_ERROR, "RunPod refused the request (418).")),
    ],
)
def test_a_submission(reply: Reply, means: Any) -> None:
    assert read_submission(reply) == means


def status(word: str, **members: Any) -> Reply:
    return Reply(200, {"id": "abc-e1", "status": word, **members})


@pytest.mark.parametrize(
    ("reply", "means"),
    [
        (status("IN_QUEUE"), Under(runs=False)),
        (status("IN_PROGRESS"), Under(runs=True)),
        (status("RUNNING", output={"progress": 40}), Under(runs=True, fraction=0.4)),
        (status("COMPLETED", output={"result": URL, "status": "DONE"}), Made(URL)),
        (status("COMPLETED", output={"result": "FAILED: CUDA"}), Broken(F.ENGINE_ERROR, "FAILED: CUDA")),
        (status("COMPLETED", output={"status": "ERROR", "error": "503 there"}), Broken(F.TRANSIENT_ERROR, "503 there")),
        (status("COMPLETED", output=None), Broken(F.ENGINE_ERROR, "The worker finished without a video.")),
        (status("FAILED", error="Request Timeout"), Broken(F.TRANSIENT_ERROR, "Request Timeout")),
        (status("FAILED", error='{"error_message": "no"}'), Broken(F.ENGINE_ERROR, "no")),
        (status("CANCELLED"), Broken(F.TRANSIENT_ERROR, "It was cancelled at RunPod, not here.")),
        (
            status("TIMED_OUT"),
            Broken(F.EXECUTION_TIMEOUT, "This took longer than it may take."),
        ),
        (status("timed_out"), Broken(F.EXECUTION_TIMEOUT, FAILURES[F.EXECUTION_TIMEOUT].text)),
        (Reply(204, {"id": "abc-e1", "status": "IN_QUEUE"}), Under(runs=False)),
        (Reply(100, {"id": "abc-e1", "status": "IN_QUEUE"}), Later("RunPod answered 100")),
        (Reply(300, {"id": "abc-e1", "status": "IN_QUEUE"}), Later("RunPod answered 300")),
        (Reply(410), Later("RunPod answered 410")),
        (status("SOMETHING_NEW"), Later("RunPod's answer can't be read")),
        (Reply(200, "<html>"), Later("RunPod's answer can't be read")),
        (Reply(404), Unknown()),
        (Reply(401), Later("RunPod answered 401")),
        (Reply(429, None, 3_000), Later("RunPod answered 429", 3_000)),
        (Reply(500), Later("RunPod answered 500")),
        (Reply(None, words="away"), Later("away")),
    ],
)
def test_a_look(reply: Reply, means: Any) -> None:
    assert read_status(reply) == means


@pytest.mark.parametrize(
    ("output", "fraction"),
    [
        (0.25, 0.25),
        (25, 0.25),
        (1, 1.0),
        (0, 0.0),
        ({"progress": 0, "percent": 50}, 0.0),
        ({"fraction": 0.5, "percent": 80}, 0.5),
        ({"percentage": 75}, 0.75),
        ({"step": 0, "steps": 40}, 0.0),
        ({"step": 50, "steps": 40}, 1.0),
        ({"step": 10, "percent": 20}, 0.2),
        (float("-inf"), None),
        (1e9, None),
        ({"percent": 50}, 0.5),
        ({"step": 10, "steps": 40}, 0.25),
        ({"step": 10, "steps": 0}, None),
        ({"fraction": -1}, 0.0),
        (900, 1.0),
        (True, None),
        ("half", None),
        (10**400, None),
        (float("nan"), None),
        ([1], None),
    ],
)
def test_how_far_a_worker_says_it_is(output: Any, fraction: float | None) -> None:
    assert fraction_of(output) == fraction


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_nothing_that_is_answered_is_a_fault_of_ours(body: Any) -> None:
    for given_body in (body, {"id": body, "status": body}, {"status": "IN_PROGRESS", "id": "a", "output": body}):
        read_status(Reply(200, given_body))
        read_submission(Reply(200, given_body))


def test_pauses_grow_and_are_as_long_as_asked_for_within_reason() -> None:
    assert [pause_ms(quiet) for quiet in range(7)] == [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]
    assert pause_ms(10**6) == 15_000
    assert pause_ms(0, 20_000) == 20_000
    assert pause_ms(0, 10**9) == 60_000
    assert pause_ms(3, None, 600_000, 600_000) == 600_000
    assert pause_ms(0, None, 20_000, 10_000) == 20_000, "the first is the least"
    assert pause_ms(9, None, 1, 10**6) == 512
    assert pause_ms(3, 1_000) == 8_000


def test_what_is_sent_is_worker_mochis_and_within_runpods_ranges() -> None:
    request = GenerationRequest(prompt="a corgi", negative_prompt="rain", seed=0)
    other = GenerationRequest(prompt="a cat", num_frames=7, width=384, height=640, steps=12, cfg=4.5, seed=9)
    assert body_of(other, None, 60_000)["input"] == {
        "positive_prompt": "a cat",
        "negative_prompt": other.negative_prompt,
        "width": 384,
        "height": 640,
        "num_frames": 7,
        "steps": 12,
        "cfg": 4.5,
        "seed": 9,
    }
    assert body_of(other, None, 60_000)["policy"] == {"executionTimeout": 60_000, "ttl": 60_000}
    body = body_of(request, None, 700)
    assert body == {
        "input": {
            "positive_prompt": "a corgi",
            "negative_prompt": "rain",
            "width": 848,
            "height": 480,
            "num_frames": 31,
            "steps": 40,
            "cfg": 6.0,
            "seed": 0,
        },
        "policy": {"executionTimeout": 5_000, "ttl": 10_000},
    }
    assert body_of(request, "https://x", 10**12)["policy"] == {"executionTimeout": 604_800_000, "ttl": 604_800_000}
    assert body_of(request, "https://x", 700)["webhook"] == "https://x"


def test_what_watchers_see() -> None:
    assert step_of(Under(runs=False), 40) == (Phase.LOAD, 0, 1)
    assert step_of(Under(runs=True), 40) == (Phase.DENOISE, 0, 40)
    assert step_of(Under(runs=True, fraction=0.5), 40) == (Phase.DENOISE, 20, 40)
    assert step_of(Under(runs=True, fraction=0.99), 40) == (Phase.DENOISE, 40, 40)
    assert step_of(Under(runs=True, fraction=1.0), 0) == (Phase.DENOISE, 0, 1)
