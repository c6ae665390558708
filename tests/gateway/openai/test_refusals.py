"""Every refusal under ``/v1`` is in OpenAI's form, whatever is wrong and wherever; everywhere else it is not."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import PROBLEMS, Problem, Refused
from gateway.openai.errors import openai_told
from gateway.refusals import Form, form_at
from gateway.spec.openapi import openapi
from schemas.failures import FailureCode
from tests.gateway.world import REMAINING, World

BODY = {"prompt": "a corgi surfing"}
# What OpenAI's SDKs have an exception for, and 413.
STATUSES = {400, 401, 403, 404, 405, 409, 410, 413, 429, 500, 503}


def error_of(answer: Any) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_has_its_form(problem: Problem) -> None:
    said = openai_told(Refused(problem))
    assert set(said.body) == {"error"}
    error = said.body["error"]
    assert error["message"]
    assert error["code"]
    assert said.status in STATUSES
    assert (error["type"] == "server_error") is (said.status >= 500)
    if said.status not in {400, 429}:
        assert said.status == PROBLEMS[problem].status


def test_the_address_decides_about_the_form() -> None:
    assert form_at("/v1/videos") is form_at("/v1/nothing") is Form.OPENAI
    assert form_at("/v1") is form_at("/v10/x") is form_at("/api/videos") is form_at("/api/v1/x") is Form.OPENV


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "no_route"),
        ("POST", "/v1/chat/completions", 404, "no_route"),
        ("PUT", "/v1/videos", 405, "no_method"),
        ("POST", "/v1/models", 405, "no_method"),
        ("POST", "/v1/videos/video_x/remix", 400, "unsupported"),
        ("POST", "/v1/videos/edits", 400, "unsupported"),
        ("POST", "/v1/videos/extensions", 400, "unsupported"),
        ("POST", "/v1/videos/characters", 400, "unsupported"),
        ("GET", "/v1/videos/characters/char_1", 400, "unsupported"),
        ("GET", "/v1/videos/edits", 404, "not_found"),
    ],
)
async def test_what_is_not_there_or_not_done(world: World, method: str, path: str, status: int, code: str) -> None:
    async with world.client() as http:
        answer = await http.request(method, path)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


async def test_without_a_good_key(world: World) -> None:
    async with world.client(None) as http:
        for headers in ({}, {"Authorization": "Bearer ov_nothing"}, {"Authorization": "Bearer"}):
            for method, path in (("GET", "/v1/videos"), ("POST", "/v1/videos"), ("POST", "/v1/videos/edits")):
                answer = await http.request(method, path, headers=headers)
                assert answer.status_code == 401
                assert error_of(answer)["code"] == "invalid_api_key"
        assert (await http.get("/api/videos")).json() == {"error": "Unauthorized"}


async def test_what_escapes_is_in_the_form_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.client() as http:

        async def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("a secret")

        monkeypatch.setattr(world.store, "jobs_of", broken)
        answer = await http.get("/v1/videos")
    assert answer.status_code == 500
    assert error_of(answer)["type"] == "server_error"
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("code", "remaining", "status", "said", "retried"),
    [
        (FailureCode.QUOTA_EXCEEDED, replace(REMAINING, remaining_seconds=0.4), 429, "insufficient_quota", None),
        (FailureCode.CREDITS_EXCEEDED, REMAINING, 429, "insufficient_quota", None),
        (FailureCode.CONCURRENCY_EXCEEDED, REMAINING, 429, "rate_limit_exceeded", "5"),
        (FailureCode.RATE_LIMITED, replace(REMAINING, retry_after_ms=4_200), 429, "rate_limit_exceeded", "5"),
        (FailureCode.ACCOUNT_BLOCKED, REMAINING, 403, "blocked", None),
        (FailureCode.TOO_LATE, REMAINING, 503, "not_recorded", "2"),
        (FailureCode.KEY_REUSED, REMAINING, 400, "key_reused", None),
        (FailureCode.INVALID_INPUT, REMAINING, 400, "refused", None),
    ],
)
async def test_the_ledgers_refusals(
    world: World, code: FailureCode, remaining: Any, status: int, said: str, retried: str | None
) -> None:
    world.ledger.refuse, world.ledger.remaining = code, remaining
    async with world.client() as http:
        answer = await http.post("/v1/videos", json=BODY)
    assert (answer.status_code, error_of(answer)["code"]) == (status, said)
    assert answer.headers.get("retry-after") == retried
    assert ("x-should-retry" in answer.headers) is (said == "insufficient_quota")
    if code is FailureCode.QUOTA_EXCEEDED:
        assert "0.40 seconds remaining" in error_of(answer)["message"]


@pytest.mark.parametrize("body", [b"broken", b"", b"[]", b'"text"', b'{"prompt":"\\ud800"}', b'{"prompt":NaN}'])
async def test_bodies_that_are_no_json_object(world: World, body: bytes) -> None:
    async with world.client() as http:
        answer = await http.post("/v1/videos", content=body)
    assert answer.status_code == 400
    error_of(answer)


async def test_a_body_that_is_too_large(world: World) -> None:
    async with world.client() as http:
        for given in ({"content": b'{"prompt":"' + b"x" * 1_100_000}, {"files": {"prompt": (None, "x" * 300_000)}}):
            answer = await http.post("/v1/videos", **given)
            assert answer.status_code == 413
            assert "bytes" in error_of(answer)["message"]
    assert world.ledger.heard == []


def form(*parts: bytes, boundary: bytes = b"edge") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


def field(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="%b"\r\n%b\r\n%b' % (name, more, value)


GOOD = form(field(b"prompt", b"a corgi"))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", GOOD),
        ("multipart/form-data; boundary=", GOOD),
        ('multipart/form-data; boundary="a\\"b"', GOOD),
        ("multipart/form-data; boundary=edgé", GOOD),
        (f"multipart/form-data; boundary={'e' * 71}", GOOD),
        ("multipart/form-data; boundary=other", GOOD),
        ("multipart/form-data; boundary=edge", b"garbage"),
        ("multipart/form-data; boundary=edge", form(b"no header\r\n\r\nx")),
        ("multipart/form-data; boundary=edge", form(b"Content-Disposition: form-data\r\n\r\nx")),
        ("multipart/form-data; boundary=edge", form(*[field(b"prompt", b"a corgi")] * 2)),
        ("multipart/form-data; boundary=edge", form(*[field(b"p%d" % n, b"") for n in range(65)])),
    ],
)
async def test_forms_that_can_not_be_read(world: World, content_type: str, body: bytes) -> None:
    async with world.client() as http:
        answer = await http.post("/v1/videos", content=body, headers={"Content-Type": content_type.encode("latin-1")})
    assert answer.status_code == 400
    assert error_of(answer)["type"] == "invalid_request_error"
    assert world.ledger.heard == []


@pytest.mark.parametrize("charset", ["utf-8", "unicode_escape", "idna", "undefined", "utf-16", "punycode", "nothing"])
async def test_a_forms_charset_is_not_taken_at_its_word(world: World, charset: str) -> None:
    """Codecs of Python's make text of bytes which nothing can write down again, or raise what nobody expects."""
    body = form(field(b"prompt", b"a corgi \\ud800 \xff"))
    async with world.client() as http:
        headers = {"Content-Type": f"multipart/form-data; boundary=edge; charset={charset}"}
        answer = await http.post("/v1/videos", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["prompt"] == "a corgi \\ud800 ÿ"


async def test_a_file_is_refused_clearly_whatever_its_size_and_place(world: World) -> None:
    picture = ("cat.png", b"\x89PNG" + b"\0" * 2_000_000, "image/png")
    async with world.client() as http:
        answers = [
            await http.post("/v1/videos", data={"prompt": "a cat"}, files={"input_reference": picture}),
            await http.post("/v1/videos", files={"input_reference": picture}),
            await http.post("/v1/videos", json={**BODY, "input_reference": {"image_url": "https://x.test/cat.png"}}),
            await http.post("/v1/videos", files={"prompt": (None, "a"), "input_reference[file_id]": (None, "f")}),
        ]
    for answer in answers:
        error = error_of(answer)
        assert (answer.status_code, error["param"], error["code"]) == (400, "input_reference", "invalid_value")
        assert "words alone" in error["message"]
    assert world.ledger.heard == []


def test_the_document_says_both_bodies_and_the_form_of_refusals() -> None:
    paths = openapi("http://videos.test")["paths"]
    created = paths["/v1/videos"]["post"]
    assert set(created["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert created["responses"]["429"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/OpenAIError"
    }
    assert "422" not in created["responses"]
    assert "Retry-After" in created["responses"]["429"]["headers"]
