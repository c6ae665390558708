"""How sockets end: strangers, limits, revoked keys, slow readers, gaps, missing servers, a stopping gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.live.watch import MESSAGES_PER_MINUTE
from repo.clock import now_ms
from schemas.api.live import CloseCode
from schemas.lifecycle import State
from schemas.topics import EVENTS
from tests.gateway.sockets import Client, serving, socket
from tests.gateway.world import ORIGIN, World, job, settings, started, until

IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(40)]


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


def is_type(*types: str) -> Any:
    return lambda frame: frame["type"] in types


def is_event(job_id: str, state: State) -> Any:
    return lambda frame: (
        frame["type"] == "event" and (frame["data"]["jobId"], frame["data"]["state"]) == (job_id, state)
    )


@pytest.mark.parametrize(
    "first",
    [
        '{"type":"auth","token":"ov_wrong"}',
        '{"type":"auth"}',
        '{"type":"subscribe"}',
        '{"type":"ping"}',
        "nonsense",
        b"\x00",
    ],
)
async def test_strangers_are_shut_out_for_good(address: str, first: str | bytes) -> None:
    async with socket(address) as client:
        await client.connection.send(first)
        assert await client.closed() == CloseCode.UNAUTHORIZED


async def test_who_says_nothing_is_closed_and_may_come_back() -> None:
    async with (
        started(settings(socket_auth_seconds=0.1)) as world,
        serving(world) as address,
        socket(address) as client,
    ):
        assert await client.closed() == CloseCode.AUTH_LATE


async def test_a_message_too_large_is_the_transports_end(world: World, address: str) -> None:
    async with socket(address, await world.key()) as client:
        await client.connection.send("x" * (world.parts.settings.socket_message_bytes + 1))
        assert await client.closed() == 1009


async def test_mistakes_are_answered_and_too_many_end_it(world: World, address: str) -> None:
    async with socket(address, await world.key()) as client:
        await client.connection.send(b"\x00")
        assert (await client.receive())["code"] == "bad_message"
        await client.send(type="ping")
        assert await client.receive() == {"type": "pong"}
        for _ in range(4):
            await client.connection.send("{")
        assert await client.closed() == CloseCode.PROTOCOL


async def test_too_many_sockets_of_a_user_and_room_again_when_one_leaves() -> None:
    async with started(settings(sockets_per_user=1)) as world, serving(world) as address:
        key = await world.key()
        async with socket(address, key), socket(address) as second:
            await second.send(type="auth", token=key)
            assert await second.closed() == CloseCode.TOO_MANY
            async with socket(address, await world.key("bob")):
                pass
        await until(lambda: not world.app.state.sockets.open)
        async with socket(address, key):
            pass


async def refusal(address: str, key: str | None = None, **how: Any) -> int:
    """The status with which the gateway refuses a handshake."""
    with pytest.raises(InvalidStatus) as refused:
        async with socket(address, key, **how):
            pass
    return refused.value.response.status_code


async def test_a_full_gateway_says_so_at_the_handshake() -> None:
    async with started(settings(sockets_max=1)) as world, serving(world) as address, socket(address):
        assert await refusal(address) == 503


async def test_too_many_sockets_of_an_address_whoever_they_are_of_and_room_again_when_one_leaves() -> None:
    async with started(settings(sockets_per_address=2)) as world, serving(world) as address:
        async with socket(address), socket(address, await world.key("bob")):
            assert await refusal(address, await world.key()) == 429
            forged = {"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7", "X-Real-Ip": "198.51.100.7"}
            assert await refusal(address, additional_headers=forged) == 429
        await until(lambda: not world.app.state.sockets.open)
        async with socket(address, await world.key()):
            pass


async def test_behind_a_trusted_proxy_the_address_is_the_one_it_names() -> None:
    limits = settings(sockets_per_address=1, trusted_proxies="127.0.0.0/8, ::1")
    async with (
        started(limits) as world,
        serving(world) as address,
        socket(address, additional_headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}),
        socket(address, additional_headers={"X-Forwarded-For": "198.51.100.8"}),
        socket(address, additional_headers={"X-Forwarded-For": "2001:db8:1:2:3::4"}),
    ):
        for again in ("198.51.100.7", "203.0.113.1, 198.51.100.8", "2001:db8:1:2:ffff::1", "::ffff:198.51.100.8"):
            assert await refusal(address, additional_headers={"X-Forwarded-For": again}) == 429


async def test_too_many_handshakes_of_an_address_in_a_minute() -> None:
    async with started(settings(handshakes_per_address=2)) as world, serving(world) as address:
        for _ in range(2):
            async with socket(address):
                pass
        assert await refusal(address) == 429


async def test_a_client_that_answered_heartbeats_and_stops_is_closed_one_that_never_did_is_not() -> None:
    async with started(settings(socket_heartbeat_seconds=0.1)) as world, serving(world) as address:
        key = await world.key()
        async with socket(address, key) as silent, socket(address, key) as answering:
            await answering.send(type="pong")
            assert await answering.closed() == CloseCode.SILENT
            await silent.send(type="ping")
            assert (await silent.until(is_type("pong")))[-1] == {"type": "pong"}


async def test_a_client_that_answers_each_heartbeat_stays() -> None:
    async with (
        started(settings(socket_heartbeat_seconds=0.2)) as world,
        serving(world) as address,
        socket(address, await world.key()) as client,
    ):
        for _ in range(6):
            assert (await client.receive())["type"] == "ping"
            await client.send(type="pong")


async def test_a_flood_of_messages_is_ended(world: World, address: str) -> None:
    async with socket(address, await world.key()) as client:
        with suppress(ConnectionClosed):
            for _ in range(MESSAGES_PER_MINUTE + 10):
                await client.send(type="ping")
        assert await client.closed() == CloseCode.BUSY


async def test_who_subscribes_all_the_time_is_sent_away() -> None:
    async with (
        started(settings(socket_subscribes_per_minute=2)) as world,
        serving(world) as address,
        socket(address, await world.key(), subscribe={}) as client,
    ):
        await client.send(type="subscribe")
        await client.send(type="subscribe")
        assert await client.closed() == CloseCode.BUSY


async def test_a_revoked_key_ends_the_socket() -> None:
    async with (
        started(settings(key_cache_seconds=0.05, socket_heartbeat_seconds=0.1)) as world,
        serving(world) as address,
    ):
        key = await world.key()
        async with socket(address, key, subscribe={}) as client:
            await client.until(is_type("snapshot"))
            (stored,) = await world.database.access.api_keys("ada")
            await world.database.access.store_api_key(replace(stored, revoked_at=now_ms()))
            assert await client.closed() == CloseCode.REVOKED


async def test_heartbeats_carry_a_position_that_moves_with_others_events() -> None:
    async with started(settings(socket_heartbeat_seconds=0.05)) as world, serving(world) as address:
        partition_of = world.parts.feed.partition_of
        bob = next(name for name in (f"bob-{n}" for n in range(1_000)) if partition_of(name) == partition_of("ada"))
        key = await world.key()
        async with socket(address, key, subscribe={}) as client:
            await client.until(is_type("snapshot"))
            offset = await world.ledger.write(job(IDS[0], bob))
            async with asyncio.timeout(10):
                while (
                    not (frame := await client.receive())
                    .get("position", "::")
                    .startswith(f"{partition_of('ada')}:{offset}:")
                ):
                    assert frame["type"] == "ping"
        async with socket(address, key, subscribe={"position": frame["position"]}) as client:
            assert (await client.until(is_type("resumed", "snapshot")))[-1]["type"] == "resumed"


async def test_the_pages_cookie_counts_only_from_the_page(world: World, address: str) -> None:
    secret = await world.key()
    cookie = {"Cookie": f"{world.parts.auth.cookie}={secret}"}
    for origin in (ORIGIN, f"http://{address}"):
        async with socket(address, origin=origin, additional_headers=cookie) as client:
            await client.send(type="auth")
            assert (await client.receive())["userId"] == "ada"
    async with socket(address, additional_headers=cookie) as client:
        await client.send(type="auth")
        assert await client.closed() == CloseCode.UNAUTHORIZED


async def test_pages_of_strangers_are_refused_at_the_handshake_even_with_a_key(world: World, address: str) -> None:
    key = await world.key()
    for origin in ("http://evil.test", f"https://{address}", "null", ""):
        assert await refusal(address, key, origin=origin) == 403
    async with socket(address, key, origin=ORIGIN):
        pass


async def test_a_reader_that_stops_is_closed_and_heals_by_its_position() -> None:
    limits = settings(socket_queue_frames=16)
    async with started(limits) as world, serving(world) as address:
        key = await world.key()
        async with socket(address, key, subscribe={}, max_queue=1, close_timeout=0.1) as client:
            await client.until(is_type("snapshot"))
            await world.ledger.write(made := job(IDS[0]))
            position = (await client.until(is_event(IDS[0], State.QUEUED)))[-1]["position"]
            client.connection.transport.pause_reading()
            request = replace(made.request, input="x" * 60_000)
            while world.app.state.sockets.open:
                made = replace(made, version=made.version + 1, request=request)
                await world.ledger.write(made)
                await asyncio.sleep(0.002)
        async with socket(address, key, subscribe={"position": position}) as client:
            frame = await client.receive()
            assert frame["type"] == "snapshot"  # far more was missed than half a queue
            assert frame["jobs"][0]["version"] == made.version


async def test_a_gap_in_the_log_is_told_to_those_it_concerns(world: World, address: str) -> None:
    async with socket(address, await world.key(), subscribe={}) as client:
        await client.until(is_type("snapshot"))
        record = await _appended(world, job(IDS[0]))
        await client.until(is_type("event"))
        world.parts.feed._on_event(replace(record, offset=record.offset + 5))
        assert await client.closed() == CloseCode.GAP


async def _appended(world: World, made: Any) -> Any:
    await world.ledger.write(made)
    return next(r for r in world.log.records(EVENTS.name) if r.header("ce_subject") == made.job_id)


async def test_without_kafka_a_socket_is_told_to_come_back() -> None:
    async with started() as world:
        world.parts.feed.caught_up = False
        async with serving(world) as address, socket(address, await world.key()) as client:
            world.parts.feed.reached = _never  # type: ignore[method-assign]
            await client.send(type="subscribe")
            assert await client.closed() == CloseCode.NOT_READY


async def _never(*_: Any) -> bool:
    return False


async def test_without_mongodb_a_socket_is_told_to_come_back(world: World, address: str) -> None:
    key = await world.key()
    async with socket(address, key) as client, socket(address) as stranger:
        world.database.away = True
        await client.send(type="subscribe")
        assert await client.closed() == CloseCode.NOT_READY
        await stranger.send(type="auth", token=await _another(world))
        assert await stranger.closed() == CloseCode.NOT_READY


async def _another(world: World) -> str:
    world.database.away = False
    secret = await world.key("bob")
    world.database.away = True
    return secret


async def test_a_stopping_gateway_tells_its_sockets_to_come_back() -> None:
    async with started() as world:
        clients: list[Client] = []
        async with AsyncExitStack() as stack, serving(world) as address:
            key = await world.key()
            for _ in range(3):
                clients.append(await stack.enter_async_context(socket(address, key, subscribe={})))
                await clients[-1].until(is_type("snapshot"))
        assert [await client.closed() for client in clients] == [CloseCode.RESTARTING] * 3
        assert not world.app.state.sockets.open
        assert not world.app.state.sockets._of_user
        assert world.parts.feed.hub.watchers("ada") == ()
