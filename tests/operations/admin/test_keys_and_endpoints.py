"""Keys and endpoints over HTTP: what is made is what was asked, a secret is answered once, and nobody gets more than
the command line gives."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from rich.console import Console

from gateway.identity.keys import PREFIX_LENGTH, hash_of, is_key, new_key
from operations import keys
from operations.endpoints import views as endpoint_views
from operations.endpoints.wishes import Wishes, new_endpoint
from repo.clock import now_ms
from repo.memory import MemoryDatabase
from schemas.access import OWN_SCOPES, KeyKind, Scope
from schemas.accounts import Account, Role
from schemas.audit import AuditStage
from schemas.endpoints import BUILT_IN, EndpointKind, EndpointLimits, ServerlessEndpoint
from schemas.lifecycle import State
from schemas.topics import AUDIT
from tests.gateway.world import job
from tests.operations.admin.house import House, opened

URL = "https://openv.example.org"
SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="
DAY_MS = 86_400_000


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[House]:
    monkeypatch.setenv("OPENV_URL", URL)
    async with opened(data_dir=tmp_path) as made:
        await made.database.endpoints.store_endpoint(new_endpoint("captions", Wishes(external=True), now_ms()), 0)
        yield made


def audited(house: House) -> str:
    return json.dumps([record.value.decode() for record in house.log.records(AUDIT.name)])


async def stored(house: House, name: str) -> ServerlessEndpoint:
    found = await house.database.endpoints.endpoint(name)
    assert found is not None
    return found


async def test_a_key_is_shown_once_and_is_what_was_asked(house: House) -> None:
    wanted = {"name": "dashboard", "role": "user", "scopes": ["write", "read"], "expiresDays": 90, "reason": "asked"}
    with structlog.testing.capture_logs() as lines:
        async with house.admin() as admin:
            answer = await admin.post("/users/ada/keys", json=wanted)
            listed = await admin.get("/users/ada/keys")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    secret = answer.json()["secret"]
    assert is_key(secret)
    (key,) = await house.database.access.api_keys("ada")
    assert (key.key_hash, key.kind, key.role, key.name) == (hash_of(secret), KeyKind.KEY, Role.USER, "dashboard")
    assert key.scopes == (Scope.READ, Scope.WRITE)
    assert key.expires_at == key.created_at + 90 * DAY_MS
    shown = answer.json()["key"]
    assert (shown["prefix"], shown["state"], shown["scopes"]) == (secret[:PREFIX_LENGTH], "active", ["read", "write"])
    assert listed.json() == {"keys": [shown], "damaged": []}
    elsewhere = [listed.text, audited(house), repr(lines), repr(house.log.records(AUDIT.name))]
    for text in elsewhere:
        assert secret[PREFIX_LENGTH:] not in text
        assert key.key_hash not in text
    begun, done = house.audit()
    assert begun.detail == {"key": key.prefix, "role": "user", "scopes": "read write"}
    assert (begun.target, begun.reason, done.stage) == ("ada", "asked", AuditStage.DONE)


async def test_a_key_has_the_command_lines_defaults(house: House) -> None:
    async with house.admin() as admin:
        assert (await admin.post("/users/ada/keys")).status_code == 201
    (key,) = await house.database.access.api_keys("ada")
    assert (key.role, key.scopes, key.expires_at) == (Role.USER, OWN_SCOPES, None)


async def test_an_admin_may_make_an_admins_key_and_both_are_in_the_audit(house: House) -> None:
    own = await house.key()
    async with house.client(own) as admin:
        answer = await admin.post("/users/bob/keys", json={"role": "admin", "scopes": ["admin"]})
    assert answer.status_code == 201
    async with house.client(answer.json()["secret"]) as second:
        assert (await second.get("/audit")).status_code == 200
    begun, _ = house.audit()
    assert begun.detail is not None
    assert begun.actor == f"root/{own[:PREFIX_LENGTH]}"
    assert (begun.detail["key"], begun.detail["role"]) == (answer.json()["key"]["prefix"], "admin")


async def test_no_key_lifts_who_was_blocked(house: House) -> None:
    await house.database.jobs.store_account(Account(user_id="bob", version=1, blocked=True, blocked_issued_at=1), 0)
    async with house.admin() as admin:
        answer = await admin.post("/users/bob/keys", json={"role": "admin"})
    assert answer.status_code == 201
    async with house.client(answer.json()["secret"]) as blocked:
        assert (await blocked.get("/audit")).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": ["admin"]},
        {"role": "user", "scopes": ["read", "admin"]},
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": "read"},
        {"role": "root"},
        {"role": None},
        {"expiresDays": 0},
        {"expiresDays": 36_501},
        {"expiresDays": "90"},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"name": "\x1b[2J"},
        {"kind": "session"},
        {"secret": "ov_" + "a" * 43},
        {"keyHash": "0" * 64},
        {"userId": "bob"},
    ],
)
async def test_what_can_be_no_key_is_refused(house: House, body: dict[str, Any]) -> None:
    async with house.admin() as admin:
        answer = await admin.post("/users/ada/keys", json=body)
        assert (await admin.post("/users/..ada/keys", json={})).status_code == 404
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "ov_" not in answer.text
    assert await house.database.access.api_keys("ada") == []
    assert house.audit() == []


async def test_a_key_is_revoked_by_its_first_characters_and_once(house: House) -> None:
    secret, other = await house.key("ada"), await house.key("ada")
    at = f"/users/ada/keys/{secret[:PREFIX_LENGTH]}"
    async with house.admin() as admin:
        for name in (secret, secret[: PREFIX_LENGTH - 1], "ov_", "x" * PREFIX_LENGTH):
            assert (await admin.delete(f"/users/ada/keys/{name}")).status_code == 404
        assert (await admin.delete(f"/users/bob/keys/{secret[:PREFIX_LENGTH]}")).status_code == 404
        assert house.audit() == []
        gone = await admin.request("DELETE", at, json={"reason": "lost"})
        assert (gone.status_code, gone.json()["state"]) == (200, "revoked")
        assert (await admin.delete(at)).status_code == 409
        states = {key["prefix"]: key["state"] for key in (await admin.get("/users/ada/keys")).json()["keys"]}
    assert states == {secret[:PREFIX_LENGTH]: "revoked", other[:PREFIX_LENGTH]: "active"}
    begun, done = house.audit()
    assert (begun.action, begun.reason, done.stage) == ("keys.revoke", "lost", AuditStage.DONE)
    assert secret not in audited(house)


async def test_no_words_of_an_admin_stop_or_steer_the_lists_of_another(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line's tables take words as they are, not as markup, a wrong one of which ends the command."""

    @asynccontextmanager
    async def database(*_: object) -> AsyncIterator[MemoryDatabase]:
        yield house.database

    monkeypatch.setattr(keys, "server_environment", lambda _: None)
    monkeypatch.setattr(keys, "ServerSettings", lambda: None)
    monkeypatch.setattr(keys, "MongoDatabase", database)
    monkeypatch.setattr(endpoint_views, "open_database", database)
    words = "[/b] [red]stop"
    async with house.admin() as admin:
        assert (await admin.post("/users/ada/keys", json={"name": words})).status_code == 201
        assert (await admin.patch("/endpoints/captions", json={"description": words})).status_code == 200
    console = Console(width=300)
    assert await keys.show(Path("nowhere"), "ada", console) == 0
    assert await endpoint_views.listed(Path("nowhere"), console, as_json=False) == 0
    assert await endpoint_views.show(Path("nowhere"), "captions", console, as_json=False) == 0
    assert capsys.readouterr().out.count(words) == 3


async def test_two_who_revoke_the_same_key_do_it_once(house: House) -> None:
    secret = await house.key("ada")
    both = asyncio.Barrier(2)
    real = house.database.access.revoke_api_key

    async def together(key_hash: str, at: int) -> bool:
        await both.wait()
        return await real(key_hash, at)

    house.database.access.revoke_api_key = together  # type: ignore[method-assign]
    async with house.admin() as admin:
        answers = await asyncio.gather(*(admin.delete(f"/users/ada/keys/{secret[:PREFIX_LENGTH]}") for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert sorted(entry.stage for entry in house.audit()) == ["begun", "begun", "done", "failed"]


async def test_the_list_has_nothing_that_opens_once(house: House) -> None:
    for kind in KeyKind:
        await house.database.access.store_api_key(new_key("ada", now=now_ms(), kind=kind)[1])
    async with house.admin() as admin:
        found = (await admin.get("/users/ada/keys")).json()["keys"]
    assert {one["kind"] for one in found} == {"key", "session", "worker"}


async def test_an_endpoint_is_made_changed_and_deleted(house: House) -> None:
    wanted = {
        "endpointId": "clips",
        "pool": "gpu-large",
        "limits": {"maxActive": 5},
        "maxRetries": 0,
        "executionTimeoutMs": 60_000,
        "ttlMs": 30_000,
        "resultMs": 60_000,
        "users": ["ada", "bob"],
        "webhookSecret": "generate",
        "description": "short ones",
    }
    async with house.admin() as admin:
        made = await admin.post("/endpoints", json=wanted)
        assert (made.status_code, made.headers["Location"]) == (201, "/endpoints/clips"), made.text
        assert made.headers["Cache-Control"] == "no-store"
        secret = made.json()["webhookSecret"]
        first = await stored(house, "clips")
        assert (first.webhook_secret, first.kind, first.users) == (secret, EndpointKind.ENGINE, ("ada", "bob"))
        assert first.limits == EndpointLimits(max_active=5)
        assert "ttl" in made.json()["notes"][0]
        assert (await admin.post("/endpoints", json={"endpointId": "clips"})).status_code == 409
        change = {"limits": None, "users": None, "description": None, "webhookSecret": SIGNING, "ttlMs": 90_000}
        changed = await admin.patch("/endpoints/clips", json=change)
        assert changed.status_code == 200, changed.text
        second = await stored(house, "clips")
        assert (second.limits, second.users, second.description, second.ttl_ms) == (None, None, "", 90_000)
        assert (second.webhook_secret, second.max_retries, second.pool) == (SIGNING, 0, "gpu-large")
        assert changed.json()["limitsOf"] == "deployment"
        assert "webhookSecret" not in changed.json()
        unsigned = await admin.patch("/endpoints/clips", json={"webhookSecret": None})
        assert unsigned.json()["signedWebhooks"] is False
        shown = await admin.get("/endpoints/clips")
        gone = await admin.request("DELETE", "/endpoints/clips")
        assert (gone.status_code, gone.json()["activeJobs"]) == (200, 0)
        for method in ("GET", "PATCH", "DELETE"):
            body = {"maxRetries": 1} if method == "PATCH" else None
            assert (await admin.request(method, "/endpoints/clips", json=body)).status_code == 404
        again = await admin.post("/endpoints", json={"endpointId": "clips"})
        assert again.json()["endpoint"]["version"] == 5
    for text in (audited(house), shown.text):
        assert secret not in text
        assert SIGNING not in text
    assert [entry.detail for entry in house.audit() if entry.action == "endpoints.update" and entry.detail] == [
        {"version": "2", "changed": "limits ttl_ms users webhook_secret description"},
        {"version": "3", "changed": "webhook_secret"},
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": "none"},
        {"pool": None},
        {"kind": None},
        {"maxRetries": None},
        {"pool": None, "maxRetries": 1},
        {"limits": {"maxActive": None, "rateLimit": 1}},
        {"maxRetries": 101},
        {"maxRetries": True},
        {"limits": {}},
        {"limits": {"maxActive": None}},
        {"limits": {"maxActive": -1}},
        {"limits": {"rateWindowMs": 999}},
        {"executionTimeoutMs": 4_999},
        {"ttlMs": 8 * DAY_MS},
        {"resultMs": 1},
        {"users": []},
        {"users": ["ada", "two words"]},
        {"users": ["ada"] * 1_001},
        {"webhookSecret": "whsec_c2hvcnQ="},
        {"webhookSecret": "hunter2"},
        {"description": "two\nlines"},
        {"description": "x" * 501},
        {"kind": "browser"},
        {"version": 9},
        {"endpointId": "other"},
        {"deletedAt": None},
    ],
)
async def test_what_can_be_no_change_is_refused(house: House, body: dict[str, Any]) -> None:
    before = await stored(house, "captions")
    async with house.admin() as admin:
        answer = await admin.patch("/endpoints/captions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text
    assert not any(secret in answer.text for secret in ("hunter2", "c2hvcnQ"))
    assert await stored(house, "captions") == before
    assert house.audit() == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"endpointId": "Captions"},
        {"endpointId": "../etc"},
        {"endpointId": "new", "kind": "external", "pool": "gpu"},
        {"endpointId": "new", "pool": "endpoint.captions"},
        {"endpointId": "new", "pool": "a|b"},
        {"endpointId": "new", "createdAt": 1},
    ],
)
async def test_what_can_be_no_endpoint_is_refused(house: House, body: dict[str, Any]) -> None:
    async with house.admin() as admin:
        answer = await admin.post("/endpoints", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text
    assert {one.endpoint_id for one in await house.database.endpoints.endpoints()} == {"captions", BUILT_IN.endpoint_id}
    assert house.audit() == []


async def test_jobs_under_way_keep_an_endpoint_in_its_pool_and_outlive_it(house: House) -> None:
    await house.database.jobs.store_job(job("waits", state=State.QUEUED, at=now_ms(), endpoint="captions"), 0)
    async with house.admin() as admin:
        moved = await admin.patch("/endpoints/captions", json={"kind": "engine"})
        assert (moved.status_code, moved.json()["code"]) == (409, "refused")
        assert (await stored(house, "captions")).kind is EndpointKind.EXTERNAL
        gone = await admin.request("DELETE", "/endpoints/captions", json={})
    assert gone.json()["activeJobs"] == 1
    assert [entry.stage for entry in house.audit()] == ["begun", "failed", "begun", "done"]


async def test_of_two_changes_at_once_both_hold(house: House) -> None:
    """Both have read the same version before either writes, as two on the command line may."""
    both, writes = asyncio.Barrier(2), 0
    real = house.database.endpoints.store_endpoint

    async def together(endpoint: ServerlessEndpoint, expected: int) -> bool:
        nonlocal writes
        writes += 1
        if writes <= 2:
            await both.wait()
        return await real(endpoint, expected)

    house.database.endpoints.store_endpoint = together  # type: ignore[method-assign]
    changes: tuple[dict[str, Any], ...] = ({"maxRetries": 7}, {"users": ["ada"]})
    async with house.admin() as admin:
        answers = await asyncio.gather(*(admin.patch("/endpoints/captions", json=body) for body in changes))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert writes == 3
    now = await stored(house, "captions")
    assert (now.max_retries, now.users, now.version) == (7, ("ada",), 3)
    assert len(house.audit()) == 4


async def test_of_two_who_make_the_same_name_one_does(house: House) -> None:
    both, writes = asyncio.Barrier(2), 0
    real = house.database.endpoints.store_endpoint

    async def together(endpoint: ServerlessEndpoint, expected: int) -> bool:
        nonlocal writes
        writes += 1
        if writes <= 2:
            await both.wait()
        return await real(endpoint, expected)

    house.database.endpoints.store_endpoint = together  # type: ignore[method-assign]
    async with house.admin() as admin:
        answers = await asyncio.gather(
            *(admin.post("/endpoints", json={"endpointId": "clips", "maxRetries": tries}) for tries in (7, 8))
        )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    (won,) = (answer.json()["endpoint"]["maxRetries"] for answer in answers if answer.status_code == 201)
    assert (await stored(house, "clips")).max_retries == won
    assert (await stored(house, "clips")).version == 1


async def test_a_workers_key_opens_its_endpoint_and_not_this_api(house: House) -> None:
    wanted = {"name": "rack 4", "podId": "pod-1", "expiresDays": 30, "reason": "new machine"}
    async with house.admin() as admin:
        answer = await admin.post("/endpoints/captions/keys", json=wanted)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store"), answer.text
        listed = await admin.get("/users/endpoint:captions/keys")
        shown = await admin.get("/endpoints/captions")
    environment = answer.json()["environment"]
    secret = environment["RUNPOD_AI_API_KEY"]
    (key,) = await house.database.access.api_keys("endpoint:captions")
    assert (key.key_hash, key.kind, key.endpoint, key.role) == (
        hash_of(secret), KeyKind.WORKER, "captions", Role.RESTRICTED,
    )  # fmt: skip
    assert (key.scopes, key.name, key.expires_at) == ((), "rack 4", key.created_at + 30 * DAY_MS)
    assert environment["RUNPOD_POD_ID"] == "pod-1"
    assert environment["RUNPOD_WEBHOOK_GET_JOB"] == f"{URL}/v2/captions/job-take/$ID?gpu=x"
    assert [one["prefix"] for one in listed.json()["keys"]] == [key.prefix]
    assert shown.json()["workerKeys"] == 1
    assert secret[PREFIX_LENGTH:] not in listed.text + shown.text + audited(house)
    async with house.client(secret) as worker:
        assert (await worker.get("/endpoints")).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"podId": "two words"}, 400),
        ({"podId": ""}, 400),
        ({"url": "ftp://openv.example.org"}, 400),
        ({"url": "https://openv.example.org/?x=$(id)"}, 400),
        ({"url": "https://openv.example.org/\nRUNPOD_POD_ID=x"}, 400),
        ({"name": "two\nlines"}, 400),
        ({"expiresDays": 0}, 400),
        ({"endpoint": "other"}, 400),
        ({"role": "admin"}, 400),
    ],
)
async def test_what_can_be_no_workers_key_is_refused(house: House, body: dict[str, Any], status: int) -> None:
    async with house.admin() as admin:
        answer = await admin.post("/endpoints/captions/keys", json=body)
        assert answer.status_code == status, answer.text
        assert (await admin.post("/endpoints/none/keys", json={})).status_code == 404
        ours = await admin.post(f"/endpoints/{BUILT_IN.endpoint_id}/keys", json={})
        assert (ours.status_code, ours.json()["code"]) == (409, "refused")
    assert await house.database.access.api_keys("endpoint:captions") == []
    assert house.audit() == []


async def test_a_gateway_whose_address_is_no_address_makes_no_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENV_URL", "openv.example.org")
    async with house.admin() as admin:
        assert (await admin.post("/endpoints/captions/keys", json={})).status_code == 400
        assert (await admin.post("/endpoints/captions/keys", json={"url": URL})).status_code == 201
    assert len(await house.database.access.api_keys("endpoint:captions")) == 1


async def test_a_name_that_is_taken_is_told_in_this_apis_words(house: House) -> None:
    before = await stored(house, "captions")
    async with house.admin() as admin:
        answer = await admin.post("/endpoints", json={"endpointId": "captions"})
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert "PATCH /endpoints/captions" in answer.json()["error"]
    assert "openv endpoints" not in answer.text
    assert await stored(house, "captions") == before


async def test_a_damaged_key_stands_in_no_good_ones_way_and_is_revoked_by_its_name(house: House) -> None:
    good, bad = await house.key("ada"), await house.key("ada")
    house.database.access.damage(hash_of(bad))  # type: ignore[attr-defined]
    async with house.admin() as admin:
        listed = (await admin.get("/users/ada/keys")).json()
        assert [one["prefix"] for one in listed["keys"]] == [good[:PREFIX_LENGTH]]
        assert listed["damaged"] == [{"name": bad[:PREFIX_LENGTH], "places": "role: enum", "state": "damaged"}]
        assert (await admin.delete(f"/users/ada/keys/{good[:PREFIX_LENGTH]}")).json()["state"] == "revoked"
        ended = await admin.delete(f"/users/ada/keys/{bad[:PREFIX_LENGTH]}")
        assert (ended.status_code, ended.json()["state"]) == (200, "deleted")
        assert (await admin.delete(f"/users/ada/keys/{bad[:PREFIX_LENGTH]}")).status_code == 404
        assert (await admin.get("/users/ada/keys")).json()["damaged"] == []
    assert await house.database.access.api_key(hash_of(bad)) is None
    begun, done = house.audit()[-2:]
    assert (begun.action, begun.detail) == ("keys.revoke", {"key": bad[:PREFIX_LENGTH], "damaged": "role: enum"})
    assert done.stage == "done"
    assert hash_of(bad) not in audited(house)
