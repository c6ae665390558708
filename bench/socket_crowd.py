"""The clients of ``fan_out.py``: as many sockets as asked for, each subscribed; when what arrives on all of them.

Sockets and a selector, and no more of WebSocket than is needed: a client that costs more than the server would measure
itself.
"""

import base64
import os
import selectors
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from bench.driver import Answer, Failed, serve

TEXT, PING, PONG = 0x1, 0x9, 0xA
EVENT = b'{"type":"event"'
CHUNK = 256 * 1024
WITHIN_S = 60.0


def _masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame; the mask is of zeros, which changes nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Client:
    """One socket, and what of its last frame has arrived so far."""

    def __init__(self, port: int, key: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
        self._rest = b""
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._received()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status = head.partition(b"\r\n")[0].decode()
        if " 101 " not in status:
            raise Failed(f"no socket: {status}")
        self.socket.sendall(_masked(TEXT, orjson.dumps({"type": "auth", "token": key})))
        self.socket.sendall(_masked(TEXT, b'{"type":"subscribe"}'))
        while not any(frame.startswith(b'{"type":"snapshot"') for frame in self.frames()):
            pass

    def frames(self) -> list[bytes]:
        """The texts of one read; pings are answered."""
        data = self._rest + self._received()
        texts: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 2:
            size, begin = data[at + 1], at + 2
            if size == 126:
                size, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if begin + size > end:
                break
            opcode, at = data[at] & 0xF, begin + size
            if opcode == TEXT:
                texts.append(data[begin:at])
            elif opcode == PING:
                self.socket.sendall(_masked(PONG, data[begin:at]))
        self._rest = data[at:]
        return texts

    def _received(self) -> bytes:
        data = self.socket.recv(CHUNK)
        if not data:
            raise Failed("the server has closed a socket")
        return data


class Crowd:
    """All of them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.clients: list[Client] = []

    def open(self, port: int, key: str, count: int) -> None:
        for _ in range(count):
            client = Client(port, key)
            client.socket.setblocking(False)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self.clients.append(client)

    def receive(self, events: int) -> list[float]:
        """When each event arrived on each socket (``perf_counter``, which all processes of a machine share)."""
        wanted = events * len(self.clients)
        arrived: list[float] = []
        deadline = time.monotonic() + WITHIN_S
        while len(arrived) < wanted:
            if time.monotonic() > deadline:
                raise Failed(f"{len(arrived)} of {wanted} messages arrived")
            for key, _ in self._selector.select(1.0):
                count = sum(frame.startswith(EVENT) for frame in key.data.frames())
                if count:
                    arrived += [time.perf_counter()] * count
        return arrived

    def close(self) -> None:
        for client in self.clients:
            client.socket.close()
        self._selector.close()


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """``do="open"``: connect; ``do="receive"``: until each socket has so many more events, and when they came."""
    port, key = int(os.environ["BENCH_PORT"]), os.environ["BENCH_KEY"]
    crowd = Crowd()

    async def answer(do: str, sockets: int = 0, events: int = 0) -> dict[str, Any]:
        if do == "open":
            crowd.open(port, key, sockets)
        return {"sockets": len(crowd.clients), "arrived": crowd.receive(events)}

    try:
        yield answer
    finally:
        crowd.close()


if __name__ == "__main__":
    serve(answering)
