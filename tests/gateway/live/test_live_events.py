"""The event stream over a real server: what a browser's EventSource needs, and that it is the socket's equal."""

import asyncio
import base64
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest

from gateway.identity.principal import Principal
from gateway.live import watch
from repo.clock import now_ms
from schemas.access import ApiKey, Scope
from schemas.accounts import Account, Role
from schemas.api.live import CloseCode
from schemas.codec import encode
from schemas.events import AccountEvent, JobEvent
from schemas.lifecycle import State
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress
from tests.gateway.sockets import serving, stream
from tests.gateway.world import DEADLINE_S, ORIGIN, World, job, settings, started, until

IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(40)]


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


async def test_head_welcome_snapshot_events_with_their_positions(world: World, address: str) -> None:
    await world.ledger.write(job(IDS[0]))
    async with stream(address, await world.key()) as client:
        headers = client.response.headers
        assert client.response.status_code == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-cache, no-transform"
        assert headers["x-accel-buffering"] == "no"
        welcome, snapshot = await client.until("snapshot")
        assert client.retry == 2000
        assert (welcome.name, welcome.data["userId"], welcome.identity) == ("welcome", "ada", None)
        assert [one["jobId"] for one in snapshot.data["jobs"]] == [IDS[0]]
        assert snapshot.identity == snapshot.data["position"]
        await world.ledger.write(job(IDS[1]))
        await world.ledger.write(job(IDS[2], "bob"))
        await world.ledger.write(job(IDS[3]))
        events = [*await client.until("event"), *await client.until("event")]
        assert [one.data["data"]["jobId"] for one in events] == [IDS[1], IDS[3]]
        assert all(one.identity == one.data["position"] for one in events)
    told = world.parts.metrics.registry.get_sample_value
    assert told("openv_socket_delay_seconds_count") == 2, "bob's event is nobody's here"
    assert (told("openv_sockets_opened_total", {"kind": "sse"}), told("openv_socket_frames_total")) == (1, 4)


@pytest.mark.parametrize("by", ["header", "query"])
async def test_it_goes_on_after_the_last_event_at_another_gateway(world: World, address: str, by: str) -> None:
    key = await world.key()
    async with stream(address, key) as client:
        await client.until("snapshot")
        await world.ledger.write(job(IDS[0]))
        await client.until("event")
    for n in range(1, 4):
        await world.ledger.write(job(IDS[n]))
    assert client.last_id is not None
    async with started(world=world) as other, serving(other) as elsewhere:
        # The header is the newer word: a browser repeats the address of its first request.
        how = {"headers": {"Last-Event-ID": client.last_id}, "position": "0:0:deadbeef"} if by == "header" else {}
        async with stream(elsewhere, key, **(how or {"position": client.last_id})) as again:  # type: ignore[arg-type]
            await again.until("resumed")
            seen = [(await again.until("event"))[-1].data["data"]["jobId"] for _ in range(3)]
    assert seen == IDS[1:4]


async def test_one_job_alone_its_progress_and_previews_unless_unwanted(world: World, address: str) -> None:
    for n in range(2):
        await world.ledger.write(job(IDS[n], state=State.PROCESSING))
    key = await world.key()
    async with stream(address, key, jobId=IDS[0]) as one, stream(address, key, previews="none") as other:
        assert len((await one.until("snapshot"))[-1].data["jobs"]) == 1
        await other.until("snapshot")
        await show(world, IDS[1], 1)
        await show(world, IDS[0], 2)
        events = await one.until("preview")
        assert [(event.name, event.data["data"]["jobId"]) for event in events] == [
            ("progress", IDS[0]), ("preview", IDS[0]),
        ]  # fmt: skip
        assert base64.b64decode(events[-1].data["data"]["jpeg"]) == b"A"
        await world.ledger.write(job(IDS[2]))
        assert "preview" not in [event.name for event in await other.until("event")]


async def show(world: World, job_id: str, sequence: int) -> None:
    """Progress and a preview."""
    whose = {"user_id": "ada", "job_id": job_id, "sequence": sequence, "attempt": 1, "worker_id": "w:1"}
    told = AttemptProgress(**whose, phase=Phase.DENOISE, step=1, steps=10, fraction=0.1, elapsed_ms=1)  # type: ignore[arg-type]
    shown = AttemptPreview(**whose, step=1, steps=10, jpeg="QQ==")  # type: ignore[arg-type]
    for message in (told, shown):
        await world.log.append(encode(message, source="/test", at=now_ms()))


async def test_a_ticket_or_the_cookie_stands_for_the_header(world: World, address: str) -> None:
    caller = await world.parts.auth.by_secret(await world.key())
    assert caller is not None
    ticket = await world.parts.auth.new_ticket(caller)
    async with stream(address, ticket=ticket) as client:
        await client.until("snapshot")
    async with stream(address, ticket=ticket) as client:
        assert client.response.status_code == 401
    cookie = {"Cookie": f"{world.parts.auth.cookie}={await world.key()}"}
    async with stream(address, headers=cookie | {"Origin": ORIGIN}) as client:
        await client.until("snapshot")
    async with stream(address, headers=cookie | {"Origin": "http://evil.test"}) as client:
        assert client.response.status_code == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 401), ({"ticket": "no"}, 401), ({"ticket": ""}, 401)],
)
async def test_strangers_are_told_by_a_status(address: str, query: dict[str, str], status: int) -> None:
    async with stream(address, **query) as client:
        assert client.response.status_code == status


@pytest.mark.parametrize("query", [{"previews": "binary"}, {"previews": "x"}, {"jobId": "x" * 200}, {"jobId": ""}])
async def test_what_can_not_be_asked_for_is_400(world: World, address: str, query: dict[str, str]) -> None:
    async with stream(address, await world.key(), **query) as client:
        assert client.response.status_code == 400


async def test_whom_coming_back_would_not_help_is_told_by_a_status() -> None:
    async with started(settings(terms_required=True, sockets_per_user=1)) as world, serving(world) as address:
        async with stream(address, await world.key()) as client:
            assert client.response.status_code == 403
        ticket = await world.parts.auth.new_ticket(Principal("ada", Role.USER, scopes=frozenset({Scope.WRITE})))
        async with stream(address, ticket=ticket) as client:
            assert client.response.status_code == 403


async def test_streams_and_sockets_share_the_limits() -> None:
    async with started(settings(sockets_per_user=1)) as world, serving(world) as address:
        key = await world.key()
        async with stream(address, key) as first:
            await first.until("snapshot")
            async with stream(address, key) as second:
                assert second.response.status_code == 429
                assert "retry-after" in second.response.headers
        await until(lambda: not world.app.state.sockets.open)
        async with stream(address, key) as again:
            await again.until("snapshot")
    async with (
        started(settings(sockets_per_address=1)) as world,
        serving(world) as address,
        stream(address, await world.key()) as first,
    ):
        await first.until("snapshot")
        async with stream(address, await world.key("bob")) as second:
            assert second.response.status_code == 429


@pytest.mark.parametrize("limit", ["sockets_per_address", "sockets_max"])
async def test_streams_that_wait_for_the_store_together_are_counted_when_they_begin(limit: str) -> None:
    async with started(settings(**{limit: 2})) as world, serving(world) as address:
        keys = [await world.key(user_id) for user_id in ("ada", "bob", "cid", "dan")]
        asked, gate, look_up = 0, asyncio.Event(), world.database.access.api_key

        async def slow(key_hash: str) -> ApiKey | None:
            nonlocal asked
            asked += 1
            await gate.wait()
            return await look_up(key_hash)

        world.database.access.api_key = slow  # type: ignore[method-assign]

        async def come(key: str) -> str:
            async with stream(address, key) as client:
                event = await client.receive()
                if event is not None and event.name == "welcome":
                    await until(lambda: len(ends) == 2)
                    return "welcome"
                ends.append("refused")
                return "refused"

        ends: list[str] = []
        coming = [asyncio.create_task(come(key)) for key in keys]
        await until(lambda: asked == len(keys))
        gate.set()
        assert sorted(await asyncio.gather(*coming)) == ["refused", "refused", "welcome", "welcome"]


async def test_what_may_help_later_is_told_in_the_stream_so_that_a_browser_comes_back() -> None:
    async with started(settings(sockets_max=1)) as world, serving(world) as address:
        key = await world.key()
        async with stream(address, key) as first:
            await first.until("snapshot")
            async with stream(address, key) as second:
                assert second.response.status_code == 200
                assert await second.closed() == {
                    "type": "close", "code": CloseCode.NOT_READY, "reconnect": True,
                    "reason": "The gateway is not ready yet; connect again soon.",
                }  # fmt: skip
        await until(lambda: not world.app.state.sockets.open)
        world.database.away = True
        async with stream(address, "ov_" + "x" * 43) as without:
            assert (await without.closed())["code"] == CloseCode.NOT_READY
        world.database.away = False


async def test_the_end_of_a_credential_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GRACE_MS", 50)
    at = now_ms()
    async with started(now=lambda: at) as world, serving(world) as address:
        ticket = await world.parts.auth.new_ticket(Principal("ada", Role.USER, expires_at=at + 150))
        async with stream(address, ticket=ticket) as client:
            assert (await client.until("welcome"))[-1].data["expiresInMs"] == 150
            said = await client.closed()
            assert (said["code"], said["reconnect"]) == (CloseCode.EXPIRED, True)


async def test_a_blocked_user_and_a_stopping_gateway_end_the_stream() -> None:
    async with started(settings(socket_heartbeat_seconds=0.1)) as world:
        async with serving(world) as address, stream(address, await world.key()) as last:
            await last.until("ping")
            async with stream(address, await world.key("eve")) as blocked:
                await blocked.until("snapshot")
                account = replace(Account(user_id="eve", version=1), blocked=True)
                await world.log.append(encode(AccountEvent(account), source="/test", at=now_ms()))
                said = await blocked.closed()
                assert (said["code"], said["reconnect"]) == (CloseCode.ACCOUNT, False)
            stopping = asyncio.create_task(world.app.state.sockets.close_all(CloseCode.RESTARTING))
            said = await last.closed()
            assert (said["code"], said["reconnect"]) == (CloseCode.RESTARTING, True)
            await stopping
            async with stream(address, await world.key()) as late:
                assert (await late.closed())["code"] == CloseCode.RESTARTING
        assert not world.app.state.sockets._of_user
        assert world.parts.feed.hub.watchers("ada") == ()


async def test_who_goes_away_is_forgotten_at_once(world: World, address: str) -> None:
    async with stream(address, await world.key()) as client:
        await client.until("snapshot")
        assert len(world.app.state.sockets.open) == 1
    await until(lambda: not world.app.state.sockets.open)
    assert world.parts.feed.hub.watchers("ada") == ()


async def test_who_reads_nothing_is_cut_off_and_comes_back_by_its_position(caplog: pytest.LogCaptureFixture) -> None:
    limits = settings(socket_queue_frames=16)
    async with started(limits) as world, serving(world) as address:
        key = await world.key()
        host, port = address.split(":")
        with sockets.create_connection((host, int(port))) as raw:
            raw.sendall(
                f"GET /api/live/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
            )
            await until(lambda: world.parts.feed.hub.watchers("ada"))
            made = job(IDS[0])
            request = replace(made.request, input="x" * 60_000)
            await world.ledger.write(made)
            while world.app.state.sockets.open:
                made = replace(made, version=made.version + 1, request=request)
                await world.ledger.write(made)
                await asyncio.sleep(0.002)
            raw.settimeout(DEADLINE_S)
            await asyncio.to_thread(read_to_the_end, raw)
        assert caplog.messages == []  # nothing that uvicorn would call unfinished
        async with stream(address, key) as client:
            snapshot = (await client.until("snapshot"))[-1]
            assert snapshot.data["jobs"][0]["version"] == made.version


def read_to_the_end(raw: sockets.socket) -> None:
    """Raises ``TimeoutError`` if the connection is still there."""
    with suppress(ConnectionError):
        while raw.recv(65536):
            pass


async def test_a_line_end_in_a_stored_event_does_not_end_the_event(world: World, address: str) -> None:
    async with stream(address, await world.key()) as client:
        await client.until("snapshot")
        pretty = encode(JobEvent(job(IDS[0])), source="/test", at=now_ms())
        await world.log.append(replace(pretty, value=pretty.value.replace(b",", b",\r\n\n", 3)))
        assert (await client.until("event"))[-1].data["data"]["jobId"] == IDS[0]


async def test_a_head_request_is_answered_without_a_stream(world: World, address: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
        headers = {"Authorization": f"Bearer {await world.key()}"}
        answer = await http.head("/api/live/events", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert not world.app.state.sockets.open


async def test_head_asks_who_it_is_as_get_does(world: World, address: str) -> None:
    key = await world.key()
    sockets = world.app.state.sockets
    async with httpx.AsyncClient(base_url=f"http://{address}") as http:

        async def status(**how: str) -> int:
            return (await http.head("/api/live/events", headers=how)).status_code

        assert await status() == 401
        assert await status(Authorization="Bearer ov_wrong") == 401
        answer = await http.head("/api/live/events", headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert not sockets.open
        while sockets.admit("ada"):
            pass
        assert await status(Authorization=f"Bearer {key}") == 429
