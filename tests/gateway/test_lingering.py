"""Clients that are still sending when they are answered: they can read the answer, and they may not stay."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from gateway import lingering
from gateway.lingering import Lingering
from tests.gateway.sockets import serving
from tests.gateway.world import World, settings, started, until

PATIENCE_S = 60.0
MIB = 1024 * 1024
LARGE = 30 * MIB
PIECE = b" " * MIB
LENGTH = b"Content-Length: %d\r\n\r\n" % LARGE
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


def connect(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def head(key: str, how: bytes) -> bytes:
    return b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key.encode() + b"\r\n" + how


def all_of(connection: socket.socket) -> bytes:
    """What comes until its end, which must be no reset."""
    said = b""
    while piece := connection.recv(65_536):
        said += piece
    return said


def is_too_large(said: bytes) -> bool:
    top, _, body = said.partition(b"\r\n\r\n")
    return top.startswith(b"HTTP/1.1 413 ") and json.loads(body)["limitBytes"] == MIB


@pytest.mark.parametrize("how", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_who_writes_all_before_it_reads_reads_the_refusal(world: World, address: str, how: bytes) -> None:
    key = await world.key()
    framed = PIECE if how is LENGTH else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)

    def post() -> bytes:
        with connect(address) as connection:
            connection.sendall(head(key, how))
            for _ in range(LARGE // len(PIECE)):
                connection.sendall(framed)
            return all_of(connection)

    assert is_too_large(await asyncio.to_thread(post))
    assert world.ledger.heard == []


def by_http_client(address: str, key: str) -> tuple[int, Any]:
    """As ``requests`` and ``urllib3`` do, which are built on this."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    try:
        connection.request("POST", "/api/runpod", PIECE * (LARGE // MIB), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def by_httpx(address: str, key: str) -> tuple[int, Any]:
    """As OpenAI's SDK does."""
    with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_S, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {key}"}
        answer = client.post("/api/runpod", content=PIECE * (LARGE // MIB), headers=headers)
        assert client.get("/healthz").status_code == 200, "what comes next has a connection of its own"
        return answer.status_code, answer.json()


@pytest.mark.parametrize("client", [by_http_client, by_httpx])
async def test_clients_of_others_read_the_refusal(
    world: World, address: str, client: Callable[[str, str], tuple[int, Any]]
) -> None:
    status, said = await asyncio.to_thread(client, address, await world.key())
    assert (status, said["limitBytes"]) == (413, MIB)


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 65_536, b"431"),
        (b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 31457280\r\n\r\n", b"401"),
    ],
    ids=["two ends", "a large head", "no key"],
)
async def test_so_does_who_is_refused_for_what_it_sent_before(address: str, sent: bytes, wanted: bytes) -> None:
    def post() -> bytes:
        with connect(address) as connection:
            connection.sendall(sent)
            for _ in range(LARGE // len(PIECE)):
                connection.sendall(PIECE)
            return all_of(connection)

    assert (await asyncio.to_thread(post)).split(b" ", 2)[1] == wanted


def send_for_ever(connection: socket.socket, piece: bytes, apart_s: float) -> int:
    """Send until that fails, and count the bytes. Whoever is never cut off fails the test."""
    sent, until_s = 0, time.monotonic() + PATIENCE_S
    with suppress(ConnectionError):
        while time.monotonic() < until_s:
            connection.sendall(piece)
            sent += len(piece)
            time.sleep(apart_s)
        pytest.fail(f"it may send for ever: {sent} bytes so far")
    return sent


async def test_who_sends_a_byte_now_and_then_for_ever_is_cut_off() -> None:
    def post(address: str) -> bytes:
        with connect(address) as connection:
            connection.sendall(b"POST /api/runpod HTTP/1.1\r\nHost: x\r\n" + LENGTH)
            said = all_of(connection)
            send_for_ever(connection, b" ", 0.02)
            return said

    async with started(settings(body_seconds=0.5)) as world, serving(world) as address:
        assert (await asyncio.to_thread(post, address)).startswith(b"HTTP/1.1 401 ")


async def test_the_end_of_the_gateway_waits_for_nobody(world: World) -> None:
    async with serving(world) as address:
        connection = connect(address)
        connection.sendall(b"POST /api/runpod HTTP/1.1\r\nHost: x\r\n" + LENGTH)
        assert (await asyncio.to_thread(all_of, connection)).startswith(b"HTTP/1.1 401 ")
        connection.sendall(b" ")
    with connection:
        await asyncio.to_thread(send_for_ever, connection, b" ", 0.01)


class Closing(asyncio.BaseTransport):
    """A transport that has nothing left to do."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection})
        self.connection = connection


Pairs = Callable[[], tuple[socket.socket, Closing]]


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Makes a client's socket, and the transport of its connection as it is about to close."""
    made: list[socket.socket] = []

    def pair() -> tuple[socket.socket, Closing]:
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname(), timeout=PATIENCE_S)
        ours, _ = listener.accept()
        ours.setblocking(False)
        made.extend((client, ours, listener))
        return client, Closing(ours)

    yield pair
    for one in made:
        one.close()


def left_to(lingering_: Lingering, pairs: Pairs) -> socket.socket:
    """A client whose connection is closed, but for this."""
    client, transport = pairs()
    lingering_.take(transport)
    transport.connection.close()
    return client


async def over(lingering_: Lingering) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await until(lambda: len(lingering_) == 0)


async def test_it_ends_when_the_client_does(pairs: Pairs) -> None:
    ends = Lingering()
    client = left_to(ends, pairs)
    assert client.recv(1) == b"", "nothing more comes from us"
    client.sendall(b" " * 10_000)
    assert len(ends) == 1
    client.close()
    await over(ends)


async def test_no_more_than_so_many_bytes_are_read(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "BYTES", MIB)
    ends = Lingering()
    client = left_to(ends, pairs)
    sent = await asyncio.to_thread(send_for_ever, client, b" " * 65_536, 0.0)
    assert MIB <= sent < LARGE, "no more than the buffers of two sockets besides"
    await over(ends)


async def test_who_is_silent_is_not_waited_for(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "SILENCE_S", 0.1)
    ends = Lingering()
    left_to(ends, pairs)
    assert len(ends) == 1
    await over(ends)


async def test_so_many_at_once_and_the_eldest_makes_room(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "CONNECTIONS", 3)
    ends = Lingering()
    clients = [left_to(ends, pairs) for _ in range(5)]
    assert len(ends) == 3
    for client in clients[:2]:
        await asyncio.to_thread(send_for_ever, client, b" ", 0.01)
    for client in clients[2:]:
        client.sendall(b" ")
    ends.close()
    assert len(ends) == 0


async def test_who_comes_after_the_end_is_not_taken(pairs: Pairs) -> None:
    ends = Lingering()
    ends.close()
    left_to(ends, pairs)
    assert len(ends) == 0


async def test_a_client_that_is_gone_and_a_transport_without_a_socket_are_nothing_to_wait_for(pairs: Pairs) -> None:
    ends = Lingering()
    ends.take(asyncio.BaseTransport())
    client = left_to(ends, pairs)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()  # by a reset
    await over(ends)
