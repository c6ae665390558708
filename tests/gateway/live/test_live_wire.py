"""Under the WebSocket: that uvicorn is what our wire rests on, the way without it, garbage, and nothing left over."""

import asyncio
import gc
import json
import random
import socket as sockets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosed

from gateway import server
from gateway.live import sockets as registry
from gateway.live.watch import Watch
from gateway.live.wire import TESTED_WITH, UvicornWire, protocol_class
from repo.clock import now_ms
from schemas.api.live import CloseCode
from schemas.codec import encode
from schemas.progress import AttemptPreview
from tests.gateway.sockets import serving, socket
from tests.gateway.world import DEADLINE_S, World, job, settings, started, until

JOB = "00000000-0000-4000-8000-000000000000"
PLAIN = "websockets-sansio"


@pytest.fixture(params=[UvicornWire, PLAIN], ids=["direct", "plain"])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The gateway's own wire, and what stands in for it under another uvicorn."""
    monkeypatch.setattr(server, "protocol_class", lambda: request.param)
    return request.param


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


def test_the_installed_uvicorn_is_one_that_the_wire_was_tested_with() -> None:
    assert uvicorn.__version__.startswith(TESTED_WITH)
    assert protocol_class() is UvicornWire
    replaced = {
        "run_asgi", "send_receive_event_to_app", "data_received", "pause_writing", "resume_writing",
        "keepalive_timeout", "connection_lost", "handle_parser_exception", "stop_keepalive", "handle_ping",
        "handle_cont", "handle_text", "handle_bytes", "handle_pong",
    }  # fmt: skip
    assert replaced <= set(vars(WebSocketsSansIOProtocol))


def test_another_uvicorn_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn, "__version__", "1.0.0")
    assert protocol_class() == PLAIN


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[Any]]]:
    """What was logged as a warning or worse, by us or by uvicorn."""
    with capture_logs() as ours:
        yield lambda: [one for one in ours if one["log_level"] in {"warning", "error"}] + caplog.messages


async def test_the_gateway_uses_the_wire_it_was_given(wire: Any, world: World, address: str) -> None:
    async with socket(address, await world.key()):
        (member,) = world.app.state.sockets.open
        assert isinstance(member._wire, UvicornWire) == (wire is UvicornWire)


@pytest.mark.usefixtures("wire")
async def test_messages_of_all_sizes_go_both_ways_in_order(world: World, address: str) -> None:
    key = await world.key()
    async with socket(address, key, subscribe={}, max_size=None) as client:
        assert (await client.receive())["type"] == "snapshot"
        made = job(JOB)
        for version, size in enumerate((0, 120, 65_000, 66_000, 300_000), start=1):
            made = replace(made, version=version, request=replace(made.request, input="x" * size))
            await world.ledger.write(made)
            event = (await client.until(lambda frame: frame["type"] == "event"))[-1]
            assert (event["data"]["version"], len(event["data"]["request"]["input"])) == (version, size)
        for padding in (0, 100, 200, 15_000):
            await client.connection.send(json.dumps({"type": "ping", "padding": "x" * padding}))
            assert await client.receive() == {"type": "pong"}
        await client.connection.send(iter(['{"type":', '"ping"', "}"]))  # three fragments
        assert await client.receive() == {"type": "pong"}
        assert await client.connection.ping() is not None


@pytest.mark.usefixtures("wire")
async def test_previews_as_they_were_asked_for(world: World, address: str) -> None:
    await world.ledger.write(job(JOB))
    key = await world.key()
    async with (
        socket(address, key, subscribe={"previews": "binary"}) as binary,
        socket(address, key, subscribe={"previews": "none"}) as none,
        socket(address, key, subscribe={}) as plain,
    ):
        for client in (binary, none, plain):
            assert (await client.receive())["type"] == "snapshot"
        shown = AttemptPreview(
            user_id="ada", job_id=JOB, sequence=4, attempt=1, worker_id="w:1", step=3, steps=10, jpeg="/9j/QUJD"
        )
        await world.log.append(encode(shown, source="/test", at=now_ms()))
        message = await binary.connection.recv()
        assert isinstance(message, bytes)
        size = int.from_bytes(message[:4], "big")
        header, jpeg = json.loads(message[4 : 4 + size]), message[4 + size :]
        assert (header["type"], header["data"]["step"], "jpeg" in header["data"]) == ("preview", 3, False)
        assert jpeg == b"\xff\xd8\xffABC"
        assert (await plain.receive())["data"] == header["data"] | {"jpeg": "/9j/QUJD"}
        await none.send(type="ping")
        assert await none.receive() == {"type": "pong"}
        await binary.send(type="subscribe", previews="jpeg2000")
        assert (await binary.receive())["code"] == "bad_message"


@pytest.mark.usefixtures("wire")
async def test_it_ends_in_order_whoever_ends_it(world: World, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CLOSE_S", 1_000.0)  # nobody is waited for who has gone
    key = await world.key()
    async with socket(address, key, subscribe={}) as leaving, socket(address, key, subscribe={}) as cut:
        await leaving.connection.close()
        await until(lambda: len(world.app.state.sockets.open) == 1)
        cut.connection.transport.abort()
        await until(lambda: not world.app.state.sockets.open)
    async with socket(address) as stranger:
        await stranger.send(type="auth", token="ov_wrong")
        assert await stranger.closed() == CloseCode.UNAUTHORIZED
    async with socket(address, key) as last:
        closing = asyncio.create_task(world.app.state.sockets.close_all(CloseCode.RESTARTING))
        assert await last.closed() == CloseCode.RESTARTING
        async with asyncio.timeout(DEADLINE_S):
            await closing
    assert not world.app.state.sockets._of_user
    assert not world.app.state.sockets._at_place


@pytest.mark.usefixtures("wire")
async def test_a_slow_reader_is_closed_and_its_connection_does_not_stay() -> None:
    limits = settings(socket_queue_frames=16)
    async with (
        started(limits) as world,
        serving(world) as address,
        socket(address, await world.key(), subscribe={}, max_queue=1, max_size=None) as client,
    ):
        assert (await client.receive())["type"] == "snapshot"
        client.connection.transport.pause_reading()
        made = job(JOB)
        request = replace(made.request, input="x" * 60_000)
        await world.ledger.write(made)
        while world.app.state.sockets.open:
            made = replace(made, version=made.version + 1, request=request)
            await world.ledger.write(made)
            await asyncio.sleep(0.002)
        client.connection.transport.resume_reading()
        assert await client.closed() in {CloseCode.SLOW, 1006}


@pytest.mark.usefixtures("wire")
async def test_who_reads_on_in_time_is_sent_what_waited(world: World, address: str) -> None:
    async with socket(address, await world.key(), subscribe={}, max_queue=1, max_size=None) as client:
        assert (await client.receive())["type"] == "snapshot"
        (member,) = world.app.state.sockets.open
        client.connection.transport.pause_reading()
        made = job(JOB)
        request = replace(made.request, input="x" * 60_000)
        await world.ledger.write(made)
        while not len(member._subscription._outbox):
            made = replace(made, version=made.version + 1, request=request)
            await world.ledger.write(made)
            await asyncio.sleep(0.002)
        client.connection.transport.resume_reading()
        versions = [(await client.receive())["data"]["version"] for _ in range(made.version)]
        assert versions == list(range(1, made.version + 1))


async def test_an_idle_socket_has_no_task(world: World, address: str) -> None:
    key = await world.key()
    async with socket(address, key, subscribe={}) as client, socket(address) as stranger:
        assert (await client.receive())["type"] == "snapshot"
        await until(lambda: not tasks_of_sockets())
        await stranger.connection.ping()
        assert len(world.app.state.sockets.open) == 2


def tasks_of_sockets() -> list[str]:
    names = [f"{task.get_name()} {task.get_coro()}" for task in asyncio.all_tasks()]
    return [name for name in names if "watch" in name or "run_asgi" in name or "sockets.beside" in name]


UVICORNS_OWN = "Invalid UTF-8 sequence received from client."
GARBAGE = [
    b"\x83\x80\x00\x00\x00\x00",  # an opcode that is none
    b"\xf1\x80\x00\x00\x00\x00",  # reserved bits
    b"\x81\x05hello",  # without a mask
    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # far too long
    b"\x80\x80\x00\x00\x00\x00",  # goes on with nothing
    b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # not UTF-8
    b"\x88\x82\x00\x00\x00\x00\x00\x01",  # a close code that is none
    b"\x89\xfe\x00\xff\x00\x00\x00\x00" + bytes(255),  # a ping too long
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x88\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00",  # goes on after its good-bye
]


@pytest.mark.usefixtures("wire")
@pytest.mark.parametrize("after_auth", [False, True])
async def test_bytes_that_are_no_websocket_end_that_socket_alone(
    world: World, address: str, failures: Callable[[], list[Any]], after_auth: bool
) -> None:
    key = await world.key()
    async with socket(address, key) as bystander:
        for garbage in GARBAGE:
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(
                f"GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            if after_auth:
                auth = json.dumps({"type": "auth", "token": key}).encode()
                writer.write(bytes([0x81, 0x80 | len(auth)]) + bytes(4) + auth)
                await reader.readuntil(b'"welcome"')
            writer.write(garbage)
            async with asyncio.timeout(10):
                with suppress(ConnectionError):
                    while await reader.read(4096):
                        pass
            writer.close()
        await until(lambda: len(world.app.state.sockets.open) == 1)
        await bystander.send(type="ping")
        assert await bystander.receive() == {"type": "pong"}
    assert set(failures()) <= {UVICORNS_OWN}


@pytest.mark.parametrize(
    "flood",
    [
        b"\x89\xfd\x00\x00\x00\x00" + bytes(125),  # pings, whose answers nobody reads
        b"\x00\x80\x00\x00\x00\x00",  # empty fragments of a message that never ends
    ],
    ids=["pings", "fragments"],
)
async def test_a_flood_is_cut_off_before_it_fills_the_memory(flood: bytes) -> None:
    patient = settings(socket_auth_seconds=600)
    async with started(patient) as world, serving(world) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"), limit=1024)
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x01\x80\x00\x00\x00\x00")  # the first fragment
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(30):
            with suppress(ConnectionError):
                while world.app.state.sockets.open:
                    writer.write(flood * 100)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.transport.abort()
        assert not world.app.state.sockets._at_place


def messages(chance: random.Random) -> Iterator[str | bytes]:
    """What a client should not say, and some of what it may."""
    types: list[Any] = ["auth", "subscribe", "ping", "pong", "snapshot", "", None, 1, [], {}, "auth\x00", "\ud83d"]
    values: list[Any] = [
        None,
        True,
        -1,
        2**70,
        1e308,
        "",
        "x" * 600,
        "0:0:deadbeef",
        "\u202e",
        [],
        {"a": [1]},
        "binary",
    ]
    while True:
        frame: Any = {"type": chance.choice(types)}
        for name in chance.sample(["token", "position", "jobId", "previews", "extra", "__class__"], 2):
            frame[name] = chance.choice(values)
        text = json.dumps(frame)
        yield chance.choice(
            [
                text, text, text,
                text[: chance.randrange(len(text))],
                chance.randbytes(chance.randrange(50)),
                "[" * 10_000, '{"type":' * 1_000, '"', "nul", "NaN", "\x00", text.replace(":", ": \t\n"),
            ]
        )  # fmt: skip


async def test_whatever_clients_say_nothing_fails_and_nothing_is_left(failures: Callable[[], list[Any]]) -> None:
    async with started(settings(socket_subscribes_per_minute=1_000)) as world, serving(world) as address:
        key = await world.key()
        for seed in range(40):
            chance = random.Random(seed)
            async with socket(address, key if seed % 4 else None) as client:
                said = messages(chance)
                with suppress(ConnectionClosed):
                    for _ in range(chance.randrange(1, 40)):
                        await client.connection.send(next(said))
                    if chance.random() < 0.3:
                        client.connection.transport.abort()
        await until(lambda: not world.app.state.sockets.open and not tasks_of_sockets())
        assert not world.app.state.sockets._of_user
        assert not world.app.state.sockets._at_place
        assert world.parts.feed.hub.watchers("ada") == ()
        async with socket(address, key, subscribe={}) as client:
            assert (await client.receive())["type"] == "snapshot"
    assert failures() == []


async def test_connections_that_ended_are_let_go() -> None:
    async with started(settings(socket_heartbeat_seconds=0.1)) as world, serving(world) as address:
        key = await world.key()
        for _ in range(5):
            async with socket(address, key, subscribe={}) as client:
                assert (await client.receive())["type"] == "snapshot"

        def nothing_is_left() -> bool:
            gc.collect()
            # Not ``isinstance``, which asks every object of the process for its class; some answer with a warning.
            return not any(issubclass(type(one), Watch | UvicornWire) for one in gc.get_objects())

        await until(nothing_is_left)


async def test_a_client_that_vanishes_during_the_handshake_leaves_nothing(world: World, address: str) -> None:
    host, port = address.split(":")
    for _ in range(5):
        with sockets.create_connection((host, int(port))) as raw:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            raw.sendall(
                f"GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
    async with socket(address, await world.key()) as client:
        await client.send(type="ping")
        assert await client.receive() == {"type": "pong"}
    await until(lambda: not world.app.state.sockets.open and not world.app.state.sockets._at_place)
