"""Frames without end, from anybody: all of them count, and behind the one too many nothing is read any more."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol

from gateway import server
from gateway.connection import RECEIVE_BYTES
from gateway.live import wire as wire_module
from gateway.live.watch import MESSAGES_OF_STRANGERS, MESSAGES_PER_MINUTE
from gateway.live.wire import EARLY_FRAMES, UvicornWire
from schemas.api.live import CloseCode
from tests.gateway.sockets import serving, socket
from tests.gateway.world import DEADLINE_S, World, settings, started, until

KINDS = {
    "pongs": (Opcode.PONG, b""),
    "pings": (Opcode.PING, b""),
    "texts": (Opcode.TEXT, b'{"type":"ping"}'),
    "bytes": (Opcode.BINARY, b""),
    "fragments": (Opcode.CONT, b""),
}
AT_ONCE = 350  # empty frames in what is parsed before anybody looks at it


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


def handshake(address: str) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Opcode]:
    """Every frame that the gateway parses."""
    frames: list[Opcode] = []
    received = Protocol.recv_frame

    def noting(protocol: Any, frame: Frame) -> None:
        frames.append(frame.opcode)
        received(protocol, frame)

    monkeypatch.setattr(Protocol, "recv_frame", noting)
    return frames


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "known"])
async def test_whatever_it_is_made_of_a_flood_ends_and_its_rest_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, parsed: list[Opcode], kind: str, known: bool
) -> None:
    monkeypatch.setattr(wire_module, "CLOSE_S", 0.3)
    deaf_when_received: list[bool] = []
    received = UvicornWire.data_received

    def noting(wire: UvicornWire, data: bytes) -> None:
        deaf_when_received.append(wire.is_deaf)
        received(wire, data)

    monkeypatch.setattr(UvicornWire, "data_received", noting)
    opcode, data = KINDS[kind]
    is_fragment = opcode is Opcode.CONT
    async with started(settings(socket_auth_seconds=600)) as world, serving(world) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(handshake(address))
        await reader.readuntil(b"\r\n\r\n")
        if known:
            writer.write(masked(Opcode.TEXT, json.dumps({"type": "auth", "token": await world.key()}).encode()))
            await reader.readuntil(b'"welcome"')
        if is_fragment:
            writer.write(masked(Opcode.TEXT, b"", fin=False))
        writer.write(masked(opcode, data, fin=not is_fragment) * 40_000)
        said = b""
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):
                while part := await reader.read(65536):
                    said += part
            await until(lambda: not world.app.state.sockets.open)
        writer.transport.abort()
        assert not world.app.state.sockets._at_place
    allowed = MESSAGES_PER_MINUTE if known else MESSAGES_OF_STRANGERS
    assert allowed < len(parsed) <= allowed + AT_ONCE + 2
    assert deaf_when_received
    assert not any(deaf_when_received)
    codes = {CloseCode.BUSY}
    if opcode is Opcode.BINARY or (opcode is Opcode.TEXT and not known):  # the first reason is the one that is said
        codes = {CloseCode.PROTOCOL, CloseCode.UNAUTHORIZED}
    assert any(code.to_bytes(2, "big") in said for code in codes)


@pytest.mark.parametrize("opcode", [Opcode.PONG, Opcode.PING])
async def test_as_many_as_are_allowed_do_no_harm_and_one_more_does(world: World, address: str, opcode: Opcode) -> None:
    key = await world.key()
    async with socket(address, key) as client:
        for _ in range(MESSAGES_PER_MINUTE - 3):
            await say(client.connection, opcode)
        await client.send(type="ping")
        assert await client.receive() == {"type": "pong"}
        await say(client.connection, opcode)  # with the first message, who it is, these are all
        assert len(world.app.state.sockets.open) == 1
        for _ in range(2):
            await say(client.connection, opcode)
        assert await client.closed() == CloseCode.BUSY


async def say(connection: Any, opcode: Opcode) -> None:
    await (connection.pong() if opcode is Opcode.PONG else connection.ping())


async def test_another_uvicorn_counts_messages_at_least(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "protocol_class", lambda: "websockets-sansio")
    async with serving(world) as address, socket(address, await world.key()) as client:
        with suppress(ConnectionClosed):
            for _ in range(MESSAGES_PER_MINUTE + 10):
                await client.send(type="ping")
        assert await client.closed() == CloseCode.BUSY


async def test_a_flood_before_the_answer_to_the_handshake_is_cut(world: World) -> None:
    config = uvicorn.Config(world.app, lifespan="off")
    config.load()
    transport, wire = Dead(), UvicornWire(config, ServerState(), {})
    wire.connection_made(transport)
    pong = masked(Opcode.PONG, b"")
    wire.data_received(handshake("x") + pong * EARLY_FRAMES)
    assert not transport.aborted
    wire.data_received(pong)
    assert transport.aborted
    wire.connection_lost(None)
    await asyncio.gather(*wire.tasks, return_exceptions=True)


class Dead(asyncio.Transport):
    """Leads nowhere, and notes that it was cut."""

    aborted = False

    def write(self, data: Any) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True


async def test_a_socket_receives_in_small_pieces_too(world: World, address: str) -> None:
    """Each is a turn of the loop."""
    async with socket(address, await world.key()):
        (member,) = world.app.state.sockets.open
        assert member._wire.transport.max_size == RECEIVE_BYTES
