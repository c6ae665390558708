"""What a completion webhook says: RunPod's object, however its parts are stored, and signed as a receiver checks it."""

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from repo.clock import now_ms
from schemas.api.runpod import status_object
from schemas.api.runpod_bodies import NAME_MAX, URL_MAX
from schemas.deliveries import Delivery
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from schemas.requests import GenerationRequest, external_request
from streams.core.job_calls import (
    S3_CONFIG_MAX,
    WORDS_DELETED,
    WORDS_RETRIED,
    body_of,
    not_told,
    signed_headers,
)
from streams.core.notices import EVENT_OF, job_delivery
from tests.streams.core.test_notices import NOW, job

URL = "https://hooks.example.org/done?token=t"
SECRET = base64.b64encode(b"a secret of the endpoint").decode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["error", "output", "s3Config", "input", "a", '","error":']), inner)
    ),
    max_leaves=12,
)


def ended(state: State = State.COMPLETED, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "webhook": URL,
        "external": True,
        "endpoint": "any",
        "request": external_request(text='{"input":{}}'),
        "output": Output(value='{"output":1}'),
    }
    if state is not State.FAILED:
        values["failure"] = None
    return job(state, **(values | changes))


def delivery_of(made: Job) -> Delivery:
    delivery = job_delivery(made, NOW)
    assert delivery is not None
    return delivery


@given(
    st.sampled_from([State.COMPLETED, State.FAILED]),
    JSON,
    st.dictionaries(st.sampled_from(["output", "error"]), JSON),
    st.booleans(),
)
def test_it_is_the_status_object_with_input_and_webhook_and_never_the_clients_keys(
    state: State, value: Any, word: dict[str, Any], with_keys: bool
) -> None:
    made = ended(state)
    if state is State.FAILED:
        word = word | {"error": "why"}  # it has a word only because its worker said that it failed
    keys = {"s3Config": {"accessSecret": "hidden-key"}} if with_keys else {}
    body = body_of(made, given=orjson.dumps({"input": value} | keys), word=orjson.dumps(word), result=None)
    assert orjson.loads(body) == status_object(made, word) | {"input": value, "webhook": URL}
    assert b"hidden-key" not in body


def test_the_clients_keys_are_never_as_long_as_is_looked_for_them() -> None:
    longest = {
        "accessId": "\x01" * NAME_MAX,
        "accessSecret": "\U0001f511" * NAME_MAX,
        "bucketName": "\x01" * NAME_MAX,
        "endpointUrl": "https://".ljust(URL_MAX, "x"),
        "objectPath": "\x01" * NAME_MAX,
    }
    assert len(orjson.dumps(longest)) < S3_CONFIG_MAX // 2
    for value in (1, [[{"a": 1, "s3Config": "x" * S3_CONFIG_MAX}]], {"a": 1, "s3Config": {"b": [2]}}):
        text = orjson.dumps({"input": value, "s3Config": longest})
        assert orjson.loads(body_of(ended(), given=text, word=None, result=None))["input"] == value
        text = orjson.dumps({"input": value})
        assert orjson.loads(body_of(ended(), given=text, word=None, result=None))["input"] == value


def test_a_job_that_ended_in_the_queue_has_no_output() -> None:
    for state in (State.CANCELLED, State.TIMED_OUT):
        body = orjson.loads(body_of(ended(state, output=None), given=b'{"input":[1]}', word=None, result=None))
        assert body == {"id": "j1", "status": str(state).upper(), "input": [1], "webhook": URL}


def test_of_a_video_it_says_what_worker_mochi_is_given_and_says() -> None:
    request = GenerationRequest(prompt="a fox", negative_prompt="blur", num_frames=7, seed=0, width=480, height=848)
    made = ended(external=False, request=request, output=Output())
    body = orjson.loads(body_of(made, given=None, word=None, result="https://files.example/v.mp4"))
    assert body["output"] == {"result": "https://files.example/v.mp4", "status": "DONE"}
    assert body["input"] == {
        "positive_prompt": "a fox",
        "negative_prompt": "blur",
        "width": 480,
        "height": 848,
        "seed": 0,
        "steps": 40,
        "cfg": 6.0,
        "num_frames": 7,
    }


@pytest.mark.parametrize("text", [b"", b"nothing", b"[]", b"7"])
def test_what_is_no_object_is_said(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- orjson's own, or ours
        body_of(ended(), given=text, word=None, result=None)
    with pytest.raises(ValueError):  # noqa: PT011
        body_of(ended(State.FAILED), given=b'{"input":1}', word=text, result=None)


@given(st.binary(max_size=40), st.sampled_from(["whsec_", ""]), st.booleans(), st.text(max_size=40))
def test_a_receiver_finds_its_signature(key: bytes, mark: str, padded: bool, text: str) -> None:
    secret = mark + base64.b64encode(b"k" + key).decode().rstrip("" if padded else "=")
    at = now_ms()
    body = text.encode("utf-8", "surrogatepass")
    if b"\xed" in body:
        return  # no UTF-8: a body never is
    headers = signed_headers(secret, "msg_1", at, body)
    Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers, json_parse=False)
    assert headers["webhook-id"] == "msg_1"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "whsec_ü"])
def test_a_secret_that_is_none_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- binascii's, or ours
        signed_headers(secret, "msg_1", NOW, b"")


@pytest.mark.parametrize("state", State)
def test_every_end_is_told_of_the_run_that_it_is_the_end_of(state: State) -> None:
    made = ended(state)
    delivery = job_delivery(made, NOW)
    assert (delivery is not None) is (state in EVENT_OF)
    if delivery is not None:
        assert not_told(delivery, made) is None
        assert not_told(delivery, replace(made, run=2)) == WORDS_RETRIED
        assert not_told(delivery, replace(made, run=2, state=State.QUEUED)) == WORDS_RETRIED
        assert not_told(delivery, replace(made, state=State.DELETED, webhook=None)) == WORDS_DELETED
        assert not_told(delivery, None) == WORDS_DELETED
