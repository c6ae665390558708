"""What stands around every route, enumerated from the table of operations, so that no new route is without it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.errors import Problem, Refused
from gateway.middleware import HEADERS
from gateway.refusals import FORMS
from gateway.spec.operation import SAFE, Access, Operation
from gateway.spec.table import OPERATIONS
from repo.environment import SettingsError
from schemas.access import KeyKind
from schemas.accounts import Role
from tests.gateway.spec_check import operation
from tests.gateway.world import ORIGIN, World, job, settings, started, with_files

APP = "https://app.test"
TOKEN = "a-token-of-the-deployment"
FILLED = {"job_id": "00000000-0000-4000-8000-000000000001", "kind": "video"}
UNSAFE = [row for row in OPERATIONS if row.method not in SAFE and row.access.scope is not None]
FOR_A_COOKIE = [row for row in OPERATIONS if row.access is not Access.WORKER]
READING = [row for row in OPERATIONS if row.body is not None]
# These take as much as RunPod does; `runpod/test_run.py`, `workers/test_done.py` and `test_streaming.py` find its end.
ROOMY = ("runJob", "runJobSync", "workerDone", "workerStream")


def address(row: Operation) -> str:
    return "/".join(FILLED.get(part[1:-1], "x") if part.startswith("{") else part for part in row.path.split("/"))


def method(row: Operation) -> str:
    """A stream has no end here; its head says as much."""
    return "head" if any(reply.media == "text/event-stream" for reply in row.replies.values()) else row.method


def by_name(row: Any) -> str | None:
    return getattr(row, "name", None)


@pytest.fixture
async def secured() -> AsyncIterator[World]:
    """Reached over HTTPS, with an origin that may call."""
    async with started(settings(public_url="https://videos.test", allowed_origins=APP)) as world:
        yield world


async def visitor(world: World, http: httpx.AsyncClient) -> None:
    """Come in by a link: from here on the client has the page's cookie, and nothing else."""
    http.base_url = world.parts.settings.origin
    await http.get("/", params={"token": await world.key("root", kind=KeyKind.PAGE_LINK, role=Role.ADMIN)})
    assert list(http.cookies) == [world.parts.auth.cookie]


@pytest.mark.parametrize("row", OPERATIONS, ids=by_name)
async def test_every_answer_has_the_headers(world: World, row: Operation) -> None:
    async with world.client() as http, world.client(None) as nobody:
        for client in (http, nobody):
            answer = await client.request(method(row), address(row), content=b"{}")
            assert set(map(str.lower, HEADERS)) <= set(answer.headers), row.name
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "strict-transport-security" not in answer.headers
            assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/nothing", "/api", "/console/nothing.js", "/console/app.js", "/api/videos/"])
async def test_where_there_is_no_operation_the_headers_are_the_same(world: World, path: str) -> None:
    async with world.client(None) as http:
        for verb in ("GET", "HEAD", "OPTIONS", "POST", "BREW"):
            answer = await http.request(verb, path)
            assert answer.status_code in (200, 404, 405), (verb, path)
            assert set(map(str.lower, HEADERS)) <= set(answer.headers)


async def test_over_https_browsers_are_told_to_stay_there(secured: World) -> None:
    async with secured.client() as http:
        for path in ("/", "/api/videos", "/nothing"):
            assert (await http.get(path)).headers["strict-transport-security"] == "max-age=31536000"


async def test_a_defect_has_the_headers_and_tells_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(world.store, "job", broken)
    async with world.client() as http:
        answer = await http.get("/api/runpod/x")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert set(map(str.lower, HEADERS)) <= set(answer.headers)


@pytest.mark.parametrize("row", UNSAFE, ids=by_name)
async def test_a_cookie_from_a_page_of_somebody_else_moves_nothing(world: World, row: Operation) -> None:
    before = len(world.ledger.heard)
    refusal = FORMS[row.form](Refused(Problem.FORBIDDEN_ORIGIN, words="This page may not act with your session.")).body
    async with world.client(None) as http:
        await visitor(world, http)
        for origin in (None, "null", "http://evil.test", "https://videos.test", ORIGIN + ".evil.test", ORIGIN + ":81"):
            headers = {"Origin": origin} if origin else {}
            answer = await http.request(method(row), address(row), content=b"{}", headers=headers)
            assert answer.status_code == 403, (row.name, origin)
            assert answer.json() == refusal
        own = await http.request(method(row), address(row), content=b"{}", headers={"Origin": ORIGIN})
        assert own.json() != refusal
    assert len(world.ledger.heard) <= before + 1


@pytest.mark.parametrize("row", [row for row in FOR_A_COOKIE if method(row) in SAFE - {"head"}], ids=by_name)
async def test_what_is_safe_to_ask_may_be_asked_with_a_cookie_alone(world: World, row: Operation) -> None:
    async with world.client(None) as http:
        await visitor(world, http)
        answer = await http.request(method(row), address(row), headers={"Origin": "http://evil.test"})
        assert answer.status_code not in (401, 403)
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("row", OPERATIONS, ids=by_name)
async def test_only_named_origins_may_read_answers(secured: World, row: Operation) -> None:
    async with secured.client() as http:
        for origin, named in ((APP, True), ("https://evil.test", False), ("null", False), (APP + ".evil.test", False)):
            answer = await http.request(method(row), address(row), content=b"{}", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == (origin if named else None)
            assert answer.headers.get("access-control-allow-credentials") == ("true" if named else None) or not named
            ask = {"Origin": origin, "Access-Control-Request-Method": row.method.upper()}
            ask["Access-Control-Request-Headers"] = "authorization, content-type, idempotency-key"
            preflight = await http.options(address(row), headers=ask)
            assert (preflight.status_code == 200) is named
            assert ("access-control-allow-origin" in preflight.headers) is named
            if named:
                assert row.method.upper() in preflight.headers["access-control-allow-methods"]


async def test_a_page_of_a_named_origin_may_act_with_the_cookie(secured: World) -> None:
    async with secured.client(None) as http:
        await visitor(secured, http)
        for origin, wanted in ((APP, 200), ("https://videos.test", 200), ("https://evil.test", 403)):
            answer = await http.post("/api/runpod", json={"prompt": "a"}, headers={"Origin": origin})
            assert answer.status_code == wanted


@pytest.mark.parametrize("origins", ["*", "null", "https://*.app.test", "app.test", "https://app.test/x",
                                     "https://user@app.test", "HTTPS://App.test", "ftp://app.test"])  # fmt: skip
def test_an_origin_that_is_none_or_any_is_no_setting(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENV_ALLOWED_ORIGINS", f"https://fine.test, {origins}")
    with pytest.raises(SettingsError, match="OPENV_ALLOWED_ORIGINS is not valid"):
        settings()


async def test_the_cookie_is_for_this_host_over_https_and_for_no_script(secured: World) -> None:
    async with secured.client(None) as http:
        answer = await http.get("/", params={"token": await secured.key(kind=KeyKind.PAGE_LINK)})
        name, *flags = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-openv_session=")
    assert {"httponly", "samesite=strict", "path=/", "secure"} <= set(map(str.lower, flags))
    assert not any(flag.lower().startswith("domain") for flag in flags)


async def test_files_may_be_embedded_by_named_origins_and_by_no_other(world: World, secured: World) -> None:
    for one, wanted in ((world, "same-origin"), (secured, "cross-origin")):
        made = with_files(job(FILLED["job_id"]))
        await one.ledger.write(made)
        async with one.client() as http:
            answer = await http.get(f"/api/videos/{made.job_id}/video")
        assert (answer.status_code, answer.headers["cross-origin-resource-policy"]) == (307, wanted)


@pytest.mark.parametrize("row", [row for row in READING if row.name not in ROOMY], ids=by_name)
async def test_every_body_has_a_limit(row: Operation) -> None:
    vouched = settings(body_bytes=2048, webhook_token=TOKEN, clerk_webhook_secret=f"whsec_{'A' * 32}")
    async with started(vouched) as world, world.client("root", role=Role.ADMIN) as http:
        http.headers.update({"svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,AAAA"})

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(10_000):
                yield b" " * 1024

        for content in (b" " * 300_000, endless()):
            answer = await http.request(row.method, address(row), content=content, params={"token": TOKEN})
            assert answer.status_code == 413, row.name
        assert world.ledger.heard == []


@pytest.mark.parametrize("row", OPERATIONS, ids=by_name)
async def test_methods_that_a_path_does_not_take_are_refused_by_name(world: World, row: Operation) -> None:
    taken = {one.method.upper() for one in OPERATIONS if one.path == row.path}
    async with world.client() as http:
        others = {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - taken
        for other in (one for one in others if operation(one, address(row)) is None):
            answer = await http.request(other, address(row))
            assert answer.status_code == 405, (other, row.path)
            assert set(answer.headers["allow"].split(", ")) & taken


async def test_looking_at_the_head_of_an_answer_gives_no_body(world: World) -> None:
    async with world.client() as http:
        for path in ("/healthz", "/api/videos", "/openapi.json", "/docs"):
            answer = await http.head(path)
            assert (answer.status_code, answer.content) == ((await http.get(path)).status_code, b"")
