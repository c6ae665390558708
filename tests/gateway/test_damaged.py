"""A stored document that nobody can read: the user is told so, the log names it, and nobody learns its words."""

from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from gateway import damaged as damage
from repo.core.documents import DamagedDocumentError, LeftOut, from_document, to_document
from schemas.accounts import Account
from schemas.api.live import CloseCode
from schemas.jobs import Job
from tests.gateway.sockets import serving, socket, stream
from tests.gateway.world import World, job, settings, started, until

USER, SECRET = "ada", "never to be seen"
JOB, SOUND, OTHER = [f"00000000-0000-4000-8000-{n:012d}" for n in (1, 2, 3)]
BEAT_S = 0.02


def damaged(kind: type[Any] = Account, value: Any = None, document_id: str = USER) -> DamagedDocumentError:
    stored = to_document(Account(user_id=USER) if value is None else value, document_id)
    with pytest.raises(DamagedDocumentError) as caught:
        from_document(kind, stored | {"version": SECRET})
    return caught.value


async def unreadable(*_: Any, **__: Any) -> Any:
    """Of an account's document."""
    raise damaged()


async def with_damaged(world: World, patch: pytest.MonkeyPatch, *job_ids: str) -> None:
    """Three videos, of which these can't be read: as MongoDB's store does it."""
    for n, job_id in enumerate((SOUND, JOB, OTHER)):
        await world.store.store_job(job(job_id, at=1_000 + n), 0)
    jobs_of, of_id = world.store.jobs_of, world.store.job
    errors = {one: damaged(Job, await of_id(one), one) for one in job_ids}

    async def some(
        user_id: str, *, damaged: LeftOut | None = None, limit: int = 100, before: Any = None, **how: Any
    ) -> list[Job]:
        found = await jobs_of(user_id, limit=1000, before=before, **how)
        for one in found:
            if one.job_id in errors and damaged is None:
                raise errors[one.job_id]
            if one.job_id in errors and damaged is not None:
                damaged(errors[one.job_id])
        return [one for one in found if one.job_id not in errors][:limit]

    async def one(job_id: str) -> Job | None:
        if job_id in errors:
            raise errors[job_id]
        return await of_id(job_id)

    patch.setattr(world.store, "jobs_of", some)
    patch.setattr(world.store, "job", one)


def told(logs: Sequence[EventDict], *names: str) -> None:
    """The log names these documents once each, and says nothing else of what went wrong."""
    wrong = [one for one in logs if one["log_level"] == "error"]
    assert [one["event"] for one in wrong] == ["document_damaged"] * len(names)
    assert all(repr(name) in one["reason"] for name, one in zip(names, wrong, strict=True)), wrong
    assert not any("exc_info" in one for one in wrong)
    assert SECRET not in repr(logs)


@pytest.mark.parametrize(
    "path", [f"/api/runpod/{JOB}", f"/v1/videos/video_{JOB}", f"/v1/videos?after=video_{JOB}",
             f"/api/live/events?jobId={JOB}"]
)  # fmt: skip
async def test_who_asks_is_told_and_the_log_names_it(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await with_damaged(world, monkeypatch, JOB)
    async with world.client() as http:
        assert (await http.get("/api/usage")).status_code == 200  # the key is remembered now
        with structlog.testing.capture_logs() as logs:
            answer = await http.get(path)
    error = answer.json()["error"]
    code, words = (error["code"], error["message"]) if path.startswith("/v1") else (answer.json()["code"], error)
    assert (answer.status_code, code) == (500, "damaged_document")
    assert "`openv doctor`" in words
    assert SECRET not in answer.text
    told(logs, JOB)


@pytest.mark.parametrize("path", ["/api/videos", "/api/videos?limit=2", "/v1/videos", "/v1/videos?order=asc"])
async def test_a_list_shows_the_others_and_the_log_names_each_once(
    world: World, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_damaged(world, monkeypatch, JOB)
    async with world.client() as http:
        with structlog.testing.capture_logs() as logs:
            answer = await http.get(path)
    assert answer.status_code == 200
    assert SOUND in answer.text
    assert OTHER in answer.text
    assert JOB not in answer.text
    told(logs, JOB)


async def test_a_list_of_nothing_else_is_empty_and_the_log_stays_short(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_damaged(world, monkeypatch, SOUND, JOB, OTHER)
    monkeypatch.setattr(damage, "NAMED_MAX", 2)
    async with world.client() as http:
        with structlog.testing.capture_logs() as logs:
            answer = await http.get("/api/videos?format=array")
    assert answer.json() == []
    told(logs, OTHER, JOB)


@pytest.mark.parametrize("by", ["message", "ticket"])
async def test_a_socket_of_a_damaged_account_is_closed_for_good(
    world: World, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await world.key()
    caller = await world.parts.auth.by_secret(key)
    assert caller is not None
    query = f"?ticket={await world.parts.auth.new_ticket(caller)}" if by == "ticket" else ""
    monkeypatch.setattr(world.parts.accounts, "standing", unreadable)
    with structlog.testing.capture_logs() as logs:
        async with serving(world) as address, socket(address, query=query) as client:
            if by == "message":
                await client.send(type="auth", token=key)
            assert await client.closed() == CloseCode.DAMAGED
            assert client.connection.close_reason is not None
            assert "`openv doctor`" in client.connection.close_reason
    told(logs, USER)


async def test_a_socket_shows_the_others_and_ends_for_the_damaged_one_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_damaged(world, monkeypatch, JOB)
    async with serving(world) as address, socket(address, await world.key(), subscribe={}) as client:
        with structlog.testing.capture_logs() as logs:
            (shown,) = await client.until(lambda frame: frame["type"] == "snapshot")
            assert [one["jobId"] for one in shown["jobs"]] == [OTHER, SOUND]
        told(logs, JOB)  # asked for twice: the newest, and those that are being made
        with structlog.testing.capture_logs() as logs:
            await client.send(type="subscribe", jobId=JOB)
            assert await client.closed() == CloseCode.DAMAGED
        told(logs, JOB)


async def test_a_stream_says_that_it_need_not_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the document is damaged after the first look at it: whoever comes back then gets a status."""
    await with_damaged(world, monkeypatch, JOB)
    looked: list[str] = []
    look = world.store.job

    async def later(job_id: str) -> Job | None:
        looked.append(job_id)
        return None if len(looked) == 1 else await look(job_id)

    monkeypatch.setattr(world.store, "job", later)
    with structlog.testing.capture_logs() as logs:
        async with serving(world) as address, stream(address, await world.key(), jobId=JOB) as client:
            last = (await client.until("close"))[-1].data
            assert await client.receive() is None
    assert (last["code"], last["reconnect"]) == (CloseCode.DAMAGED, False)
    told(logs, JOB)


async def test_a_heartbeat_that_cant_check_its_key_says_so_once_and_keeps_the_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = settings(key_cache_seconds=0.001, socket_heartbeat_seconds=BEAT_S)
    asked: list[str] = []

    async def by_hash(key_hash: str) -> Any:
        asked.append(key_hash)
        raise damaged()

    async with started(quick) as world, serving(world) as address, socket(address, await world.key()) as client:
        monkeypatch.setattr(world.parts.auth, "by_hash", by_hash)
        with structlog.testing.capture_logs() as logs:
            await until(lambda: len(asked) > 3)
            await client.send(type="ping")
            await client.until(lambda frame: frame["type"] == "pong")
    told(logs, USER)


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "/api/runpod", {"prompt": "a corgi"}, "set aside"),
        ("POST", "/v1/videos", {"prompt": "a corgi", "model": "mochi-1"}, "set aside"),
        ("POST", f"/api/runpod/{SOUND}/cancel", None, "set aside"),
        ("GET", "/api/usage", None, "can't be read"),
    ],
    ids=["openv", "openai", "cancel", "usage"],
)
async def test_what_the_ledger_sets_aside_is_no_queued_and_no_later(
    world: World, method: str, path: str, body: dict[str, str] | None, says: str
) -> None:
    await world.store.store_job(job(SOUND), 0)
    world.ledger.damaged = True
    async with world.client() as http:
        answer = await http.request(method, path, json=body)
        error = answer.json()["error"]
        code, words = (error["code"], error["message"]) if path.startswith("/v1") else (answer.json()["code"], error)
        assert (answer.status_code, code) == (500, "damaged_document")
        assert says in words
        assert "`openv doctor`" in words
        assert "retry-after" not in answer.headers
        # OpenAI's SDKs would send it again, and each would be carried out once the document is mended.
        assert answer.headers.get("x-should-retry") == ("false" if path.startswith("/v1") else None)
        world.ledger.damaged = False
        assert (await http.get("/api/usage")).status_code == 200
        assert (await http.request(method, path, json=body)).is_success


async def test_a_stream_of_a_damaged_account_is_refused_with_a_status(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ``EventSource`` comes back after the end of any stream, but not after a status."""
    async with world.client() as http:
        monkeypatch.setattr(world.parts.accounts, "standing", unreadable)
        with structlog.testing.capture_logs() as logs:
            answer = await http.get("/api/live/events")
    assert (answer.status_code, answer.json()["code"]) == (500, "damaged_document")
    told(logs, USER)
