"""What is asked of the admin API wrongly, on purpose or not: refused in a sentence, and nothing of it is believed."""

from collections.abc import AsyncIterator, Iterator

import pytest

from operations.admin.openapi import document
from operations.admin.table import OPERATIONS
from repo.clock import now_ms
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import encode
from schemas.lifecycle import State
from tests.gateway.world import job
from tests.operations.admin.house import House, opened


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened(admin_body_bytes=1024) as made:
        await made.database.jobs.store_job(job("waits", state=State.QUEUED, at=now_ms()), 0)
        yield made


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({}, b"{}", 415, "not_json"),
        ({"Content-Type": "text/plain"}, b"{}", 415, "not_json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"reason=x", 415, "not_json"),
        ({"Content-Type": "application/json"}, b"{", 400, "invalid"),
        ({"Content-Type": "application/json"}, b"[]", 400, "invalid"),
        ({"Content-Type": "application/json"}, b"null", 400, "invalid"),
        ({"Content-Type": "application/json"}, b'{"reason": 1}', 400, "invalid"),
        ({"Content-Type": "application/json"}, b'{"reason": "x", "root": true}', 400, "invalid"),
        ({"Content-Type": "application/json"}, b'{"reason": "\\ud800"}', 400, "invalid"),
        ({"Content-Type": "application/json"}, b'{"reason": "' + b"x" * 2_000 + b'"}', 413, "too_large"),
        ({"Content-Type": "application/json"}, b'{"reason": ' + b"[" * 1_000, 400, "invalid"),
        ({"Content-Type": "application/json; charset=utf-8"}, b'{"reason": "\xff"}', 400, "invalid"),
    ],
)
async def test_a_body_is_json_and_nothing_but_what_is_known(
    house: House, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    async with house.admin() as admin:
        answer = await admin.post("/jobs/waits/cancel", headers=headers, content=content)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert house.audit() == []


async def test_a_body_without_an_end_is_cut_off(house: House) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1_000_000:
            sent += 512
            yield b"x" * 512

    async def pieces() -> AsyncIterator[bytes]:
        for piece in endless():
            yield piece

    async with house.admin() as admin:
        answer = await admin.post("/jobs/waits/cancel", headers={"Content-Type": "application/json"}, content=pieces())
    assert answer.status_code == 413
    assert sent < 10_000


async def test_no_body_is_read_of_a_stranger(house: House) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    async with house.client() as stranger:
        answer = await stranger.post("/jobs/waits/cancel", content=pieces())
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1&limit=2",
        "before=-1",
        "page=2",
        "since=yesterday",
        "until=99999-01-01",
        "actor=",
        "&".join(f"a{n}=1" for n in range(200)),
    ],
)
async def test_a_query_is_what_is_known(house: House, query: str) -> None:
    async with house.admin() as admin:
        answer = await admin.get(f"/audit?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert len(answer.content) < 4_000


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..%2f..%2fetc",
        "/jobs/%00",
        "/jobs/waits%0d%0aX: y",
        "/jobs//waits",
        "/jobs/waits/",
        "/jobs/" + "x" * 500,
        "/endpoints/%2e%2e",
        "/endpoints/MOCHI-1",
        "/works/not-an-id",
        "//jobs",
        "/Jobs",
    ],
)
async def test_no_path_leads_elsewhere(house: House, path: str) -> None:
    async with house.admin() as admin:
        answer = await admin.get(path)
    assert answer.status_code == 404, answer.text
    assert "Location" not in answer.headers


async def test_every_answer_is_for_nobody_else(house: House) -> None:
    async with house.admin() as admin:
        for answer in (
            await admin.get("/audit", headers={"Origin": "https://evil.example", "X-Request-Id": "ask-0001"}),
            await admin.get("/nowhere"),
            await admin.options("/audit", headers={"Origin": "https://evil.example"}),
        ):
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Request-Id"]
            assert not any(name.lower().startswith("access-control-") for name in answer.headers)
            assert "set-cookie" not in answer.headers


async def test_a_defect_is_shown_to_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(house.database.endpoints, "endpoints", broken)
    async with house.admin() as admin:
        answer = await admin.get("/endpoints")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]


async def test_the_audit_is_paged_newest_first(house: House) -> None:
    for number in range(25):
        entry = AuditEntry(
            action_id=f"a-{number}",
            stage=AuditStage.BEGUN,
            at=now_ms(),
            actor="root/ov_abcdef" if number % 2 else "ops@host",
            via="api",
            address="192.0.2.1",
            action="replay.execute" if number % 5 else "users.block",
            target=f"t-{number}",
        )
        await house.log.append(encode(entry, source="/test", at=entry.at))
    async with house.admin() as admin:
        first = (await admin.get("/audit?limit=10")).json()
        assert [row["entry"]["target"] for row in first["entries"]] == [f"t-{n}" for n in range(24, 14, -1)]
        second = (await admin.get(f"/audit?limit=10&before={first['before']}")).json()
        third = (await admin.get(f"/audit?limit=10&before={second['before']}")).json()
        assert [row["entry"]["target"] for row in third["entries"]] == [f"t-{n}" for n in range(4, -1, -1)]
        assert "before" not in third
        found = (await admin.get("/audit?actor=ops&action=users.*&limit=200")).json()["entries"]
        assert [row["entry"]["target"] for row in found] == ["t-20", "t-10", "t-0"]
        assert (await admin.get("/audit?target=t-7")).json()["entries"][0]["entry"]["actionId"] == "a-7"
        assert (await admin.get("/audit?since=1h&until=30m")).json()["entries"] == []


async def test_the_document_describes_every_route(house: House) -> None:
    async with house.admin() as admin:
        found = (await admin.get("/openapi.json")).json()
    assert found == document(OPERATIONS)
    assert found["openapi"] == "3.1.0"
    told = {(method, path) for path, one in found["paths"].items() for method in one}
    assert told == {(row.method, row.path) for row in OPERATIONS}
    routes = {
        (method.lower(), route.path)  # type: ignore[attr-defined]
        for route in house.app.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert routes - told == {("get", "/healthz"), ("get", "/readyz")}


async def test_what_a_work_was_asked_is_shown_in_camel_case(house: House) -> None:
    asked = {"source": "commands", "into": "copies", "fromOffset": 3, "maxReplays": 2, "headers": ["a_b=c_d"]}
    async with house.admin() as admin:
        begun = await admin.post("/replays", json=asked)
        again = await admin.get(begun.headers["Location"])
    assert begun.status_code == 202, begun.text
    shown = again.json()["arguments"]["asked"]
    assert (shown["firstOffset"], shown["maxReplays"], shown["headers"]) == (3, 2, ["a_b=c_d"])
    assert begun.json()["arguments"] == again.json()["arguments"]
    assert not [name for name in shown if "_" in name]
