"""What RunPod says of a job, read; and which report of which attempt that is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ingress import is_told_again, report_of
from schemas.api.runpod_calls import BadCall, Call, Said, read_call
from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded
from schemas.dispatch import WEBHOOK_WORKER
from schemas.failures import RETRYABLE_WORDS, FailureCode
from schemas.jobs import AttemptEnd, EarlierAttempt, Job, Output
from schemas.lifecycle import ACTIVE, State
from tests.gateway.core.test_submission import ANYTHING
from tests.gateway.world import job as job_of

URL = "https://files.example.org/a.mp4"
ID = "3f0c4a52-8a8f-5d0e-9f6a-0d5b9c1e7a11"


def read(**body: Any) -> Call | BadCall:
    return read_call({"id": ID, **body})


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("IN_QUEUE", Said.QUEUED), ("queued", Said.QUEUED), ("In_Progress", Said.PROCESSING),
        ("PROCESSING", Said.PROCESSING), ("running", Said.PROCESSING), ("FAILED", Said.FAILED),
        ("CANCELLED", Said.FAILED), ("timed_out", Said.FAILED),
    ],
)  # fmt: skip
def test_statuses_in_any_case(status: str, said: Said) -> None:
    call = read(status=status)
    assert isinstance(call, Call)
    assert (call.job_id, call.said) == (ID, said)


@pytest.mark.parametrize("status", ["COMPLETED", "done"])
def test_a_video_that_is_there(status: str) -> None:
    assert read(status=status, output={"result": URL, "status": "DONE"}) == Call(ID, Said.COMPLETED, url=URL)
    assert read(status=status, output={"result": URL, "status": "SUCCESS"}, error=None) == Call(
        ID, Said.COMPLETED, url=URL
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"output": {"result": "FAILED: CUDA error"}}, "FAILED: CUDA error"),
        ({"output": {"result": " failed: x"}}, "failed: x"),
        ({"output": {"status": "ERROR", "error": "it broke"}}, "it broke"),
        ({"output": {"status": "error", "result": URL}}, URL),
        ({"output": {"status": "ERROR"}}, "The worker failed and did not say why."),
        ({"output": {"result": URL}, "error": "server error"}, "server error"),
        ({"error": json.dumps({"error_type": "X", "error_message": "out of memory"})}, "out of memory"),
        ({"error": {"error_message": "out of memory"}}, "out of memory"),
        ({"error": "{not json"}, "{not json"),
        ({"error": {"code": 7}}, "The worker failed and did not say why in words."),
        ({}, "The worker finished without a video."),
        ({"output": URL}, "The worker finished without a video."),
        ({"output": {"result": ""}}, "The worker finished without a video."),
        ({"output": {"result": 7}}, "The worker finished without a video."),
        ({"output": {"result": "javascript:alert(1)"}}, "The worker finished, but what it gave is no http address"),
        ({"output": {"result": "https://" + "a" * 3_000}}, "The worker finished, but what it gave is no http address"),
        ({"output": {"result": f"{URL}\r\nX: y"}}, "The worker finished, but what it gave is no http address"),
    ],
)
def test_what_runpod_calls_completed_may_be_none(body: dict[str, Any], words: str) -> None:
    call = read(status="COMPLETED", **body)
    assert isinstance(call, Call)
    assert (call.said, call.url) == (Said.FAILED, "")
    assert call.message.startswith(words)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "Invalid request body"),
        ([], "Invalid request body"),
        ("text", "Invalid request body"),
        ({}, "Job ID is required"),
        ({"id": "", "status": "DONE"}, "Job ID is required"),
        ({"id": 7, "status": "DONE"}, "Job ID is required"),
        ({"id": ID}, "Invalid status"),
        ({"id": ID, "status": None}, "Invalid status"),
        ({"id": ID, "status": 7}, "Invalid status"),
        ({"id": ID, "status": ["DONE"]}, "Invalid status"),
        ({"id": ID, "status": "INVALID_STATUS"}, "Invalid status"),
        ({"id": ID, "status": "__proto__"}, "Invalid status"),
    ],
)
def test_calls_that_are_none(body: Any, reason: str) -> None:
    assert read_call(body) == BadCall(reason)


@given(ANYTHING | st.dictionaries(st.sampled_from(["id", "status", "output", "error"]), ANYTHING | st.just("DONE")))
def test_whatever_comes_is_read_or_refused(body: Any) -> None:
    call = read_call(body)
    assert isinstance(call, Call | BadCall)
    if isinstance(call, Call) and call.said is Said.FAILED:
        assert 0 < len(call.message) <= 2_000


def reported(call: Call, job: Job, attempt: int | None = None) -> Any:
    made = report_of(call, job, "c", attempt)
    if made is not None:
        assert (made.command_id, made.user_id, made.job_id) == ("c", job.user_id, job.job_id)
    return made


STARTED, DONE = Call(ID, Said.PROCESSING), Call(ID, Said.COMPLETED, url=URL)
FAILED = Call(ID, Said.FAILED, message="no such thing")
CALLS = [Call(ID, Said.QUEUED), STARTED, DONE, FAILED]


@pytest.mark.parametrize("state", [state for state in State if state not in ACTIVE])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.said)
def test_a_job_that_has_ended_is_never_moved(state: State, call: Call) -> None:
    assert reported(call, job_of(ID, state=state)) is None
    assert reported(call, job_of(ID, state=state), attempt=1) is None


def test_a_job_that_waits_is_reported_by_the_webhook_itself() -> None:
    waiting = job_of(ID)
    assert reported(CALLS[0], waiting) is None
    started, done, failed = (reported(call, waiting) for call in CALLS[1:])
    assert isinstance(started, AttemptStarted)
    assert isinstance(done, AttemptSucceeded)
    assert isinstance(failed, AttemptFailed)
    assert {(one.attempt, one.worker_id) for one in (started, done, failed)} == {(1, WEBHOOK_WORKER)}
    assert done.output == Output(remote_url=URL)
    assert (failed.code, failed.message) == (FailureCode.ENGINE_ERROR, "no such thing")


def test_a_job_that_runs_is_reported_by_who_runs_it() -> None:
    running = job_of(ID, state=State.PROCESSING, worker_id="gpu-1", attempt=3)
    assert reported(CALLS[0], running) is reported(STARTED, running) is None
    assert reported(STARTED, running, attempt=3) is None
    for call in (DONE, FAILED):
        made = reported(call, running)
        assert (made.attempt, made.worker_id) == (3, "gpu-1")


@pytest.mark.parametrize("word", RETRYABLE_WORDS)
def test_openvs_words_make_a_failure_worth_another_try(word: str) -> None:
    made = reported(Call(ID, Said.FAILED, message=f"It said {word.title()}."), job_of(ID))
    assert made.code is FailureCode.TRANSIENT_ERROR


def test_a_signed_call_counts_for_its_attempt_alone() -> None:
    lost = EarlierAttempt(attempt=1, worker_id="gpu-1", end=AttemptEnd.LOST)
    again = job_of(ID, attempt=2, previous_worker_id="gpu-1", earlier_attempts=(lost,))
    assert reported(STARTED, again, attempt=1) is reported(FAILED, again, attempt=1) is None
    late = reported(DONE, again, attempt=1)
    assert (late.attempt, late.worker_id) == (1, "gpu-1"), "a lost attempt may still deliver: the ledger decides"
    assert reported(DONE, again, attempt=3) is None
    assert reported(STARTED, again, attempt=2).attempt == 2


def test_a_failure_before_the_next_attempt_may_begin_is_the_one_before_told_again() -> None:
    again = job_of(ID, at=1_000, attempt=2, due_at=5_000)
    assert is_told_again(FAILED, again, 4_999)
    assert is_told_again(STARTED, again, 4_999)
    assert not is_told_again(DONE, again, 4_999), "a video is a video"
    assert not is_told_again(FAILED, again, 5_000)
    assert not is_told_again(FAILED, job_of(ID, due_at=5_000), 4_999), "nothing came before the first attempt"
    rerun = job_of(ID, attempt=2, run=2, run_first_attempt=2, due_at=5_000)
    assert not is_told_again(FAILED, rerun, 4_999)
