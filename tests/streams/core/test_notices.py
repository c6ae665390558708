"""Which deliveries a job's end makes, and what they say."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deliveries import (
    BODY_MAX,
    JOB_KEPT_MS,
    JOB_TOLD_WITHIN_MS,
    JOBS,
    KEPT_MS,
    TOLD_WITHIN_MS,
    DeliveryKind,
    Endpoint,
    Hooks,
    WebhookEvent,
    place_of_server,
)
from schemas.failures import FailureCode
from schemas.jobs import Charge, ChargeState, Failure, Job, Output, StoredFile
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from streams.core.mail import letter_of
from streams.core.notices import EVENT_OF, MAILED_WITHIN_MS, body_of, deliveries_of, job_delivery

NOW = 1_790_000_000_000
ORIGIN = "https://videos.example.org"
FILE = StoredFile(key="k", bytes=1, sha256="0", media_type="video/mp4")


def job(state: State = State.FAILED, **changes: Any) -> Job:
    made = Job(
        job_id="j1",
        user_id="ann",
        pool="mochi",
        state=state,
        version=3,
        request=GenerationRequest(prompt="a secret wish"),
        request_hash="h",
        charge=Charge(state=ChargeState.REFUNDED, seconds=1.0, reserved_at=1),
        created_at=NOW - 50,
        updated_at=NOW,
        finished_at=NOW,
        due_at=1,
        expires_at=2,
        execution_timeout_ms=1,
        failure=Failure(code=FailureCode.ENGINE_ERROR, message="The model failed."),
    )
    return replace(made, **changes)


def endpoint(name: str, *events: WebhookEvent, since: int = 0, **changes: Any) -> Endpoint:
    made = Endpoint(
        endpoint_id=name,
        url="https://example.org",
        listens=dict.fromkeys(events or WebhookEvent, since),
        secret="whsec_c2VjcmV0",
        created_at=since,
        updated_at=since,
    )
    return replace(made, **changes)


def told(made: Job, *endpoints: Endpoint, now: int = NOW, mail: bool = False) -> list[str]:
    hooks = Hooks(user_id="ann", version=1, endpoints=endpoints)
    return [one.endpoint_id for one in deliveries_of(made, hooks, now, origin=ORIGIN, mail=mail)]


@pytest.mark.parametrize("state", State)
def test_ends_are_told_and_nothing_else(state: State) -> None:
    assert told(job(state), endpoint("a")) == (["a"] if state in EVENT_OF else [])


def test_to_those_who_listen_since_before_it_happened() -> None:
    listening = endpoint("a", WebhookEvent.FAILED, since=NOW)
    late = endpoint("b", since=NOW + 1)
    deaf = endpoint("c", WebhookEvent.COMPLETED)
    off = endpoint("d", enabled=False)
    assert told(job(), listening, late, deaf, off) == ["a"]
    assert told(job(State.TIMED_OUT), listening) == ["a"]


def test_mail_is_for_failures_of_today() -> None:
    assert told(job(), mail=True) == ["mail"]
    assert told(job(State.TIMED_OUT), mail=True) == ["mail"]
    assert told(job(State.COMPLETED), mail=True) == []
    assert told(job(State.CANCELLED), mail=True) == []
    assert told(job(), now=NOW + MAILED_WITHIN_MS + 1, mail=True) == []


def test_a_replay_of_any_age_makes_nothing_twice() -> None:
    """A delivery is kept for longer than an event of its age makes one."""
    hooks = Hooks(user_id="ann", version=1, endpoints=(endpoint("a"),))
    (first,) = deliveries_of(job(), hooks, NOW, origin=None, mail=False)
    for age in (0, 1, TOLD_WITHIN_MS):
        made = deliveries_of(job(), hooks, NOW + age, origin=None, mail=True)
        assert made[0].delivery_id == first.delivery_id
        assert all(one.delete_at > NOW + TOLD_WITHIN_MS for one in made)
    assert deliveries_of(job(), hooks, NOW + TOLD_WITHIN_MS + 1, origin=None, mail=True) == []
    assert KEPT_MS - TOLD_WITHIN_MS >= 7 * 86_400_000, "whatever the clocks say"


def test_the_id_is_one_for_each_run_and_endpoint_whatever_else_changes() -> None:
    hooks = Hooks(user_id="ann", version=1, endpoints=(endpoint("a"), endpoint("b")))

    def ids(made: Job) -> list[str]:
        return [one.delivery_id for one in deliveries_of(made, hooks, NOW, origin=ORIGIN, mail=True)]

    assert len(set(ids(job()))) == 3
    assert ids(job()) == ids(job(version=9, updated_at=NOW + 5))
    assert not set(ids(job())) & set(ids(job(run=2)))
    assert not set(ids(job())) & set(ids(job(job_id="j2")))


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_a_job_of_external_workers_is_no_video(state: State) -> None:
    assert told(job(state, external=True, endpoint="any"), endpoint("a"), mail=True) == []


def test_the_address_that_a_job_came_with_is_told_once_for_each_run() -> None:
    made = job(State.TIMED_OUT, webhook="https://hooks.example.org/a?token=hidden", external=True)
    delivery = job_delivery(made, NOW)
    assert delivery is not None
    assert (delivery.kind, delivery.type, delivery.run) == (DeliveryKind.JOB, "job.timed_out", 1)
    assert (delivery.endpoint_id, delivery.user_id, delivery.job_id) == (JOBS, "ann", "j1")
    assert (delivery.body, delivery.next_at, delivery.url) == ("", NOW, made.webhook)
    assert delivery.place == delivery.to == place_of_server("ann", "https://hooks.example.org/")
    assert "hidden" not in repr(delivery)
    later = job_delivery(replace(made, version=9), NOW + JOB_TOLD_WITHIN_MS)
    assert later is not None
    assert later.delivery_id == delivery.delivery_id
    assert job_delivery(made, NOW + JOB_TOLD_WITHIN_MS + 1) is None
    assert delivery.delete_at - NOW == JOB_KEPT_MS > JOB_TOLD_WITHIN_MS + 86_400_000, "whatever the clocks say"
    other = job_delivery(replace(made, run=2), NOW)
    assert other is not None
    assert other.delivery_id != delivery.delivery_id
    assert job_delivery(job(State.COMPLETED), NOW) is None


def test_places_are_of_one_user_at_one_server() -> None:
    place = place_of_server("ann", "https://hooks.example.org/a?b=c")
    assert place == place_of_server("ann", "HTTPS://HOOKS.example.org?x")
    others = [("bob", "https://hooks.example.org/a"), ("ann", "https://hooks.example.org:444/a"), ("ann", "https://x")]
    assert len({place, *(place_of_server(*one) for one in others)}) == 4
    assert "example" not in place


def test_what_a_completed_video_says() -> None:
    output = Output(video=FILE, poster=FILE, frames=31)
    made = job(State.COMPLETED, output=output, failure=None)
    body = body_of(made, WebhookEvent.COMPLETED, ORIGIN)
    assert orjson.loads(body) == {
        "type": "video.completed",
        "timestamp": "2026-09-21T14:13:20.000Z",
        "data": {
            "jobId": "j1",
            "status": "completed",
            "state": "completed",
            "run": 1,
            "frames": 31,
            "createdAt": "2026-09-21T14:13:19.950Z",
            "updatedAt": "2026-09-21T14:13:20.000Z",
            "finishedAt": "2026-09-21T14:13:20.000Z",
            "url": f"{ORIGIN}/api/videos/j1/video",
            "posterUrl": f"{ORIGIN}/api/videos/j1/poster",
        },
    }
    assert orjson.loads(body_of(made, WebhookEvent.COMPLETED, None))["data"]["url"] == "/api/videos/j1/video"


@pytest.mark.parametrize("state", [State.FAILED, State.TIMED_OUT, State.CANCELLED])
@pytest.mark.parametrize("origin", [ORIGIN, None])
def test_what_made_no_video_names_no_address(state: State, origin: str | None) -> None:
    """The document has ``url: null`` then, as OpenV's table."""
    data = orjson.loads(body_of(job(state), EVENT_OF[state], origin))["data"]
    assert not data.keys() & {"url", "posterUrl", "thumbnailUrl"}
    assert all(value is not None and "None" not in str(value) for value in data.values())


def test_what_a_timed_out_one_says() -> None:
    made = job(State.TIMED_OUT, failure=Failure(code=FailureCode.TTL_EXPIRED, message="Too late."))
    body = orjson.loads(body_of(made, WebhookEvent.FAILED, ORIGIN))
    assert body["type"] == "video.failed"
    assert (body["data"]["status"], body["data"]["state"]) == ("failed", "timed_out")
    assert body["data"]["error"] == {"code": "ttl_expired", "message": "Too late."}


@given(st.text(), st.sampled_from(sorted(EVENT_OF)), st.text(min_size=4))
def test_no_body_is_large_or_holds_the_prompt(words: str, state: State, prompt: str) -> None:
    marked = f"<<{prompt}>>"
    made = job(
        state,
        job_id="j" * 128,
        request=GenerationRequest(prompt=marked, negative_prompt=marked),
        failure=Failure(code=FailureCode.ENGINE_ERROR, message=words * 400),
        output=Output(video=FILE, value="x" * 100_000),
    )
    body = body_of(made, EVENT_OF[state], ORIGIN)
    assert len(body.encode()) < BODY_MAX
    assert "<<" not in body or "<<" in words


def test_the_letter_is_short_plain_and_always_has_the_same_id() -> None:
    words = "It broke.\r\nBcc: everybody@example.org\n\n.\n"
    made = job(failure=Failure(code=FailureCode.ENGINE_ERROR, message=words))
    delivery = deliveries_of(made, Hooks(user_id="ann"), NOW, origin=ORIGIN, mail=True)[0]
    assert delivery.kind is DeliveryKind.MAIL
    letter = letter_of(delivery, ORIGIN, "example.org")
    assert letter == letter_of(replace(delivery, tries=4), ORIGIN, "example.org")
    assert letter.message_id == f"<{delivery.delivery_id}@example.org>"
    assert "secret wish" not in letter.text
    assert "Why: It broke. Bcc: everybody@example.org ." in letter.text.splitlines()
    assert letter.text.endswith(f"{ORIGIN}/\n")
    assert ORIGIN not in letter_of(delivery, None, "example.org").text
