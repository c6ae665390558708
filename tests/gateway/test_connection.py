"""Connections that send too much, too slowly or nonsense: a bounded answer, and a gateway that goes on.

Deadlines are short here; that one passes is seen by the end of the connection, never measured.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.connection import HEAD_BYTES, HEADERS_MAX, LEFT_BYTES, PIECES, RECEIVE_BYTES, SLICE, Connection, bounded
from gateway.lingering import Lingering
from tests.gateway.sockets import serving
from tests.gateway.world import World, settings, started, until

# What a test waits for is bounded by the gateway, not by this.
PATIENCE_S = 60.0
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def hasty() -> AsyncIterator[tuple[World, str]]:
    """A gateway with short deadlines, and its address."""
    async with started(settings(head_seconds=1.0, body_seconds=0.5)) as world, serving(world) as address:
        yield world, address


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side ends it, which may be by a reset while we still send."""
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                said += piece
    return said


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer; the connection may go on."""
    async with asyncio.timeout(PATIENCE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1]) if said else 0


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> bytes:
    """Send a piece again and again, slowly, until the gateway ends it; what it said."""
    ended = asyncio.create_task(rest(reader))
    async with asyncio.timeout(PATIENCE_S):
        while not ended.done():
            with suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
            await asyncio.wait({ended}, timeout=0.02)
    return await ended


async def test_a_head_that_comes_a_byte_at_a_time_is_cut_off(hasty: tuple[World, str]) -> None:
    async with connected(hasty[1]) as (reader, writer):
        writer.write(GET)
        said = await drip(reader, writer, b"A: a\r\n")
    assert status(said) == 408
    assert json.loads(said.partition(b"\r\n\r\n")[2]) == {"error": "The request did not arrive in time."}


async def test_who_says_nothing_is_left(hasty: tuple[World, str]) -> None:
    async with connected(hasty[1]) as (reader, _):
        assert await rest(reader) == b""


async def test_who_has_been_answered_may_rest_for_longer_than_a_head_may_take(hasty: tuple[World, str]) -> None:
    """A client of a pool posts on the connection that it had, and may not look whether it was closed meanwhile."""
    async with connected(hasty[1]) as (reader, writer):
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200
        async with connected(hasty[1]) as (silent, _):  # one that asks for nothing shows that the time is over
            assert await rest(silent) == b""
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200
        writer.write(GET)
        assert status(await drip(reader, writer, b"A: a\r\n")) == 408, "but its next head has the same time"


@pytest.mark.parametrize("head", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_comes_a_byte_at_a_time_is_cut_off(hasty: tuple[World, str], head: bytes) -> None:
    world, address = hasty
    key = (await world.key()).encode()
    piece = b"1\r\n \r\n" if b"chunked" in head else b" "
    async with connected(address) as (reader, writer):
        writer.write(b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\n" + head)
        assert status(await drip(reader, writer, piece)) == 408
    assert world.ledger.heard == []


async def test_a_body_that_goes_on_after_its_answer_is_cut_off() -> None:
    """Refused at the door (401), unread: the client may not go on sending for ever."""
    async with (
        started(settings(body_seconds=2.0)) as world,
        serving(world) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        assert (await answer(reader))[0] == 401
        assert await drip(reader, writer, b" ") == b""


POST = b"POST /api/runpod HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LONG = b"Content-Length: %d\r\n\r\n" % (LEFT_BYTES + 1)


@pytest.mark.parametrize("head", [TOO_LONG, CHUNKED], ids=["large", "endless"])
async def test_who_is_answered_before_its_body_was_read_is_not_waited_for(address: str, head: bytes) -> None:
    async with connected(address) as (reader, writer):
        writer.write(POST + head)
        said = await answer(reader)
        assert (said[0], said[1]["connection"]) == (401, "close")
        assert await rest(reader) == b""


@pytest.mark.parametrize("body", [b"{}", b" " * LEFT_BYTES])
async def test_a_small_body_that_comes_behind_its_answer_costs_nobody_the_connection(address: str, body: bytes) -> None:
    async with connected(address) as (reader, writer):
        for _ in range(2):
            writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body))
            said = await answer(reader)
            assert (said[0], said[1].get("connection")) == (401, None)
            writer.write(body)
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200


async def test_a_chunked_body_that_was_read_costs_nobody_the_connection(world: World, address: str) -> None:
    key = (await world.key()).encode()
    async with connected(address) as (reader, writer):
        writer.write(POST + b"Authorization: Bearer " + key + b"\r\n" + CHUNKED + b"1\r\n \r\n" * PIECES + b"0\r\n\r\n")
        said = await answer(reader)
        assert said[1].get("connection") is None
        assert "can be read" not in said[2].decode()
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200


async def test_a_body_in_crumbs_is_refused_and_the_rest_of_it_is_not_parsed(
    world: World, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    received = h11.Connection.next_event

    def counting(connection: h11.Connection) -> Any:
        event = received(connection)
        if isinstance(event, h11.Data):
            parsed.append(len(event.data))
        return event

    monkeypatch.setattr(h11.Connection, "next_event", counting)
    key = (await world.key()).encode()
    async with connected(address) as (reader, writer):
        writer.write(POST + b"Authorization: Bearer " + key + b"\r\n" + CHUNKED + b"1\r\n \r\n" * 40_000)
        assert status(await rest(reader)) == 400
    # It begins with the allowance; each byte of a crumb earns a 64th of another.
    assert PIECES < len(parsed) <= PIECES + PIECES // 32
    assert world.ledger.heard == []


async def test_others_get_their_turn_between_small_pieces(
    world: World, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece that is received is a turn of the loop."""
    sizes: list[int] = []
    received = Connection.data_received

    def noting(connection: Connection, data: bytes) -> None:
        sizes.append(len(data))
        received(connection, data)

    monkeypatch.setattr(Connection, "data_received", noting)
    key = (await world.key()).encode()
    body = b" " * (4 * RECEIVE_BYTES)
    async with connected(address) as (reader, writer):
        writer.write(POST + b"Authorization: Bearer " + key + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await answer(reader)
    assert sum(sizes) > 4 * RECEIVE_BYTES
    assert max(sizes) <= RECEIVE_BYTES
    assert SLICE < RECEIVE_BYTES


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        b"content-length: 0\r\ntransfer-encoding: Chunked\r\n\r\n",
    ],
)
async def test_a_body_with_two_ends_is_refused_and_what_follows_is_no_request(
    world: World, address: str, head: bytes
) -> None:
    key = (await world.key()).encode()
    async with connected(address) as (reader, writer):
        writer.write(POST + b"Authorization: Bearer " + key + b"\r\n" + head + b"0\r\n\r\n" + GET + b"\r\n")
        said = await answer(reader)
        assert (said[0], said[1]["connection"]) == (400, "close")
        assert await rest(reader) == b""
    assert world.ledger.heard == []


class Timers(asyncio.AbstractEventLoop):
    """The running loop, but deadlines are noted and never pass by themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.set: list[tuple[float, asyncio.TimerHandle]] = []

    def create_task(self, coroutine: Any, **how: Any) -> asyncio.Task[Any]:
        return self._loop.create_task(coroutine, **how)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(0, callback, args, self._loop)
        self.set.append((delay, handle))
        return handle

    def running(self, *of: float) -> list[float]:
        return [delay for delay, handle in self.set if not handle.cancelled() and delay in of]


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


HEAD_S, BODY_S = 7.0, 11.0


@pytest.fixture
async def wire(world: World) -> AsyncIterator[tuple[Wire, Timers, Any]]:
    """A connection without a network, and the deadlines that it sets."""
    protocol = bounded(HEAD_S, BODY_S, Lingering())
    config = uvicorn.Config(world.app, http=protocol, ws="websockets-sansio", lifespan="off")
    config.load()
    timers, transport = Timers(), Wire()
    made: Any = protocol(config, ServerState(), {}, timers)
    transport.set_protocol(made)
    made.connection_made(transport)
    yield transport, timers, made
    made.connection_lost(None)


async def test_each_request_has_deadlines_of_its_own(wire: tuple[Wire, Timers, Any]) -> None:
    transport, timers, made = wire
    for turn in range(1, 4):
        assert timers.running(HEAD_S, BODY_S) == ([HEAD_S] if turn == 1 else []), "rest between two is no head"
        made.data_received(b"POST /api/runpod HTTP/1.1\r\nHo")
        assert timers.running(HEAD_S, BODY_S) == [HEAD_S]
        made.data_received(b"st: x\r\nContent-Length: 2\r\n\r\n")
        assert timers.running(HEAD_S, BODY_S) == [BODY_S]
        made.data_received(b"{")
        made.data_received(b"}")
        assert timers.running(HEAD_S, BODY_S) == []
        await until(lambda: transport.written.count(b"401 Unauthorized") == turn)  # noqa: B023 -- waited for at once
        assert len([delay for delay, _ in timers.set if delay == HEAD_S]) == turn


async def test_nothing_is_owed_while_an_answer_is_made_nor_by_a_socket(wire: tuple[Wire, Timers, Any]) -> None:
    _, timers, made = wire
    made.data_received(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert timers.running(HEAD_S, BODY_S) == []


async def test_a_deadline_that_passes_late_for_its_request_does_nothing(wire: tuple[Wire, Timers, Any]) -> None:
    transport, timers, made = wire
    made.data_received(GET + b"\r\n")
    assert all(handle.cancelled() for delay, handle in timers.set if delay in (HEAD_S, BODY_S))
    await until(lambda: b"200 OK" in transport.written)
    assert not transport.closing


def many(count: int) -> bytes:
    return GET + b"".join(b"A%d: a\r\n" % n for n in range(count)) + b"\r\n"


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (many(HEADERS_MAX - 1), 200),
        (many(HEADERS_MAX), 431),
        (many(4_000), 431),
        (GET + b"A: " + b"a" * (HEAD_BYTES - 1_000) + b"\r\n\r\n", 200),
        (GET + b"A: " + b"a" * HEAD_BYTES + b"\r\n\r\n", 431),
        (GET + b"A: " + b"a" * 60_000, 431),
        (b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /" + b"a" * (HEAD_BYTES - 1_000) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"A" * HEAD_BYTES * 2, 431),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
    ids=["fields", "a field too many", "many fields", "a long field", "too long", "endless", "a long line", "a path",
         "no line", "TLS"],
)  # fmt: skip
async def test_a_head_has_bounds_and_its_refusal_has_the_headers_of_every_answer(
    world: World, address: str, sent: bytes, wanted: int
) -> None:
    async with connected(address) as (reader, writer):
        writer.write(sent)
        said = await answer(reader)
    assert said[0] == wanted
    assert said[1]["x-content-type-options"] == "nosniff"
    assert said[1]["content-type"] == "application/json"
    if wanted in (400, 431):
        assert list(json.loads(said[2])) == ["error"]


async def test_a_head_that_follows_in_the_same_piece_has_the_same_bounds(address: str) -> None:
    async with connected(address) as (reader, writer):
        writer.write(GET + b"\r\n" + many(4_000))
        assert (await answer(reader))[0] == 200
        assert (await answer(reader))[0] == 431
        assert await rest(reader) == b""


async def test_garbage_after_an_answer_ends_the_connection_and_nothing_else(
    address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with connected(address) as (reader, writer):
        writer.write(b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await answer(reader))[0] == 401
        writer.write(b"no chunk\r\n")
        assert await rest(reader) == b""
    assert "Traceback" not in "".join(capfd.readouterr())


ODD = [
    "//api/videos", "/api//videos", "/api/videos/", "/API/videos", "/api/./videos", "/api/runpod/../videos",
    "/api/videos;x=1", "/api/videos%00", "/api/videos%2f", "/api%2fvideos/..", "/%2e%2e/api/videos", "/.", "/..",
    "//evil.test/api/videos", "/\\evil.test", "/api/runpod/x/cancel/", "/console", "/console/", "/console/../app.py",
    "/console/%2e%2e/app.py", "/console/..%2fapp.py", "/console//etc/passwd", "/console/%00", "http://evil.test/api",
    "*",
]  # fmt: skip


async def test_other_spellings_of_a_path_are_other_paths_and_lead_nowhere(world: World, address: str) -> None:
    """Clients and proxies differ in what they make of these, so nothing is made of them here."""
    key = await world.key()
    for path in ODD:
        async with connected(address) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: evil.test\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
            said = await answer(reader)
        assert said[0] in (400, 404, 405), path
        assert "location" not in said[1]


async def test_many_slow_clients_do_not_keep_others_waiting(hasty: tuple[World, str]) -> None:
    slow = [await asyncio.open_connection(*hasty[1].split(":")) for _ in range(200)]
    for _, one in slow:
        one.write(GET)
    async with connected(hasty[1]) as (reader, writer):
        writer.write(GET + b"\r\n")
        assert (await answer(reader))[0] == 200
        assert {status(await rest(one)) for one, _ in slow} <= {408, 0}  # 0: nothing of it had been read yet
        for _, one in slow:
            one.close()
