"""Clients that leave before the whole of a large output has come to them, on real connections."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from gateway.identity.principal import Principal
from gateway.runpod import telling
from gateway.runpod.asked import Asked
from schemas.accounts import Role
from schemas.jobs import Output
from tests.gateway.runpod import echo
from tests.gateway.runpod.test_jobs import ended, run
from tests.gateway.sockets import serving
from tests.gateway.world import World, eventually, until

PATIENCE_S = 60.0
WORD = orjson.dumps({"output": "x" * (16 * 1024 * 1024)})  # far more than the buffers between two sockets hold
PIECES = len(WORD) // telling.PIECE_BYTES


@pytest.fixture
async def job_id(world: World) -> str:
    """A job whose output is large."""
    await echo.add(world)
    async with world.client() as http:
        made = await run(http)
        world.objects.objects["there"] = (WORD, "application/json")
        await echo.finish(world, made, None, output=Output(value_key="there"))
        assert await eventually(lambda: ended(http, made))
    return made


@dataclass
class Pieces:
    """How many of the body the server was given, and has taken."""

    given: int = 0
    taken: int = 0

    @property
    def wait(self) -> bool:
        """Whether the server holds the sending up because the client does not read: else it takes each at once."""
        return self.given > self.taken


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Pieces:
    seen, send = Pieces(), telling._Large._send

    async def sending(self: Any, body: bytes, out: Any) -> None:
        async def counted(message: Any) -> None:
            is_piece = message["type"] == "http.response.body"
            seen.given += is_piece
            await out(message)
            seen.taken += is_piece

        await send(self, body, counted)

    monkeypatch.setattr(telling._Large, "_send", sending)
    return seen


@asynccontextmanager
async def asking(world: World, job_id: str) -> AsyncIterator[socket.socket]:
    """A connection on which ``/status`` has been asked, and of whose answer little fits into its buffers."""
    key = await world.key()
    async with serving(world) as address:
        host, _, port = address.partition(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (host, int(port)))
            asked = f"GET /v2/echo/status/{job_id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
            await loop.sock_sendall(client, asked.encode())
            yield client


def reset(client: socket.socket) -> None:
    """Leave without a word: the next write to it fails."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name in {"asyncio", "uvicorn.error"}]


async def test_a_client_that_breaks_off_in_the_middle_of_a_write_ends_the_sending(
    world: World, job_id: str, pieces: Pieces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clients: list[socket.socket] = []
    send = telling._Large._send

    async def breaking_off(self: Any, body: bytes, out: Any) -> None:
        async def broken(message: Any) -> None:
            if pieces.given == 1:  # the first lies in the buffers, and nobody has heard anything yet
                reset(clients[0])
            await out(message)

        await send(self, body, broken)

    monkeypatch.setattr(telling._Large, "_send", breaking_off)
    with caplog.at_level(logging.WARNING):
        async with asking(world, job_id) as client:
            clients.append(client)
            await until(lambda: pieces.given and not world.parts.serverless.room.taken, PATIENCE_S)
    assert complaints(caplog) == []
    assert pieces.given < PIECES


async def test_a_client_that_reads_no_more_and_goes_frees_the_room(
    world: World, job_id: str, pieces: Pieces, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with asking(world, job_id) as client:
            await until(lambda: pieces.wait, PATIENCE_S)
            reset(client)
            await until(lambda: not world.parts.serverless.room.taken, PATIENCE_S)
    assert complaints(caplog) == []
    assert pieces.given < PIECES


async def test_a_client_that_says_it_will_ask_no_more_is_not_written_to_in_vain(
    world: World, job_id: str, pieces: Pieces, caplog: pytest.LogCaptureFixture
) -> None:
    """The server takes its end of sending for its leaving, throws away all that it is given from then on, and would
    wait for its reading all the same."""
    with caplog.at_level(logging.WARNING):
        async with asking(world, job_id) as client:
            await until(lambda: pieces.wait, PATIENCE_S)
            client.shutdown(socket.SHUT_WR)
            await until(lambda: not world.parts.serverless.room.taken, PATIENCE_S)
    assert complaints(caplog) == []
    assert pieces.given < PIECES


@pytest.mark.parametrize("at", ["http.response.start", "http.response.body"])
async def test_a_server_that_says_so_by_an_error_ends_the_sending(world: World, job_id: str, at: str) -> None:
    """ASGI 2.4."""

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == at:
            raise BrokenPipeError

    who = Asked(world.parts, Principal("ada", Role.USER), echo.endpoint())
    async with asyncio.timeout(PATIENCE_S):
        await (await telling.told(who, await echo.stored(world, job_id)))({}, never, send)
    assert world.parts.serverless.room.taken == 0


async def test_who_has_gone_before_it_is_read_costs_the_store_nothing(
    world: World, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def unexpected(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(world.objects, "read", unexpected)
    who = Asked(world.parts, Principal("ada", Role.USER), echo.endpoint())
    room = world.parts.serverless.room
    async with room.held("told:ada", 64 * 1024 * 1024):
        answering = asyncio.create_task(
            (await telling.told(who, await echo.stored(world, job_id)))({}, gone, unexpected)
        )
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        await answering
    assert room.taken == 0
