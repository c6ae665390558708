"""The workers of ``long_polls.py``: as many as asked for, each waiting at a server as one on RunPod's SDK does.

Sockets and a selector: a client that costs more than the server would measure itself. Each waiting worker has two
connections, one for jobs (``job-take``) and one for stops (``job-stop``).
"""

import json
import os
import selectors
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.driver import Answer, Failed, serve
from bench.request_load import request
from repo.clock import now_ms

CHUNK = 64 * 1024
WITHIN_S = 30.0
LOOK_S = 0.005
QUERY = "gpu=none&job_in_progress=0"
JOB = json.dumps({"input": {}}).encode()
Told = tuple[int, bytes]  # status and body


class Closed(Failed):
    """By the server."""


@dataclass
class Line:
    """One connection, and what of its answer has arrived so far."""

    port: int
    path: str
    key: str
    wire: socket.socket = field(init=False)
    _rest: bytes = b""

    def __post_init__(self) -> None:
        self.wire = socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN_S)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str = "GET", path: str | None = None, body: bytes = b"") -> None:
        self.wire.sendall(request(method, path or self.path, self.key, body))

    def heard(self) -> Told | None:
        """The answer, if what can be read now ends it. Raises ``Closed``."""
        data = self.wire.recv(CHUNK)
        if not data:
            raise Closed(f"the server has closed {self.path}")
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if not end or len(body) < length:
            return None
        self._rest = b""
        return int(lines[0].split()[1]), body

    def answer(self) -> bytes:
        """The body of the 200 that it waits for."""
        while (told := self.heard()) is None:
            pass
        return _good(self, told)


class Crowd:
    """All of them, and a client who posts jobs."""

    def __init__(self, port: int, at: str, key: str, client_key: str) -> None:
        self._port, self._at, self._key, self._client_key = port, at, key, client_key
        self._selector = selectors.DefaultSelector()

    def open(self, kind: str, first: int, count: int) -> None:
        """Polls of this kind, of the workers from the ``first`` on."""
        for number in range(first, first + count):
            self._wait_on(Line(self._port, f"{self._at}/{kind}/crowd-{number}?{QUERY}", self._key))

    def wait(self, seconds: float) -> None:
        """Polls that end without a job are made anew, as a worker does."""
        for line, told in self._answers(seconds):
            if told[0] != 204:
                raise Failed(f"{line.path} was answered with {told[0]} though there is nothing to do")

    def wake(self, count: int) -> list[dict[str, Any]]:
        """So many jobs, each posted when the last has ended and its worker waits again."""
        # Connections of their own each time: a server closes those that are idle for seconds.
        client, reporter = (Line(self._port, f"{self._at}/run", key) for key in (self._client_key, self._key))
        self._selector.register(client.wire, selectors.EVENT_READ, client)
        try:
            return [self._wake(client, reporter) for _ in range(count)]
        finally:
            self._selector.unregister(client.wire)
            client.wire.close()
            reporter.wire.close()

    def _wake(self, client: Line, reporter: Line) -> dict[str, Any]:
        """``ms`` from the job's request to the poll's answer, ``at`` when that came (Unix ms)."""
        began = time.perf_counter()
        client.ask("POST", body=JOB)
        posted, found = False, None
        for line, told in self._answers(WITHIN_S):
            if line is client:
                posted = bool(_good(client, told))
            elif told[0] != 204:
                took, at = (time.perf_counter() - began) * 1000, now_ms()
                found = {"id": json.loads(_good(line, told))["id"], "ms": round(took, 3), "at": at}
                pod = line.path.partition("?")[0].rpartition("/")[2]
                done = f"{self._at}/job-done/{pod}/{found['id']}?gpu=none&isStream=false"
                reporter.ask("POST", done, b'{"output": 1}')
                reporter.answer()
                line.ask()
            if posted and found:
                self._ended(client, found["id"])
                return found
        raise Failed(f"a job reached no worker within {WITHIN_S:g} s")

    def _ended(self, client: Line, job_id: str) -> None:
        """Wait until the client is told that it has: nothing of this job is under way when the next one comes."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            client.ask(path=f"{self._at}/status/{job_id}")
            if json.loads(client.answer())["status"] == "COMPLETED":
                return
            time.sleep(LOOK_S)
        raise Failed(f"a job whose result is there is not told of as ended within {WITHIN_S:g} s")

    def _answers(self, within_s: float) -> Iterator[tuple[Line, Told]]:
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            for ready, _ in self._selector.select(left):
                line: Line = ready.data
                try:
                    told = line.heard()
                except Closed:
                    if line.path.endswith("/run"):
                        raise
                    self._selector.unregister(line.wire)
                    line.wire.close()
                    self._wait_on(Line(line.port, line.path, line.key))
                    continue
                if told is not None:
                    if told[0] == 204:
                        line.ask()
                    yield line, told

    def _wait_on(self, line: Line) -> None:
        line.ask()
        self._selector.register(line.wire, selectors.EVENT_READ, line)

    def close(self) -> None:
        for registered in self._selector.get_map().values():
            registered.data.wire.close()
        self._selector.close()


def _good(line: Line, told: Told) -> bytes:
    status, body = told
    if status != 200:
        raise Failed(f"{line.path} was answered with {status}: {body[:200].decode(errors='replace')}")
    return body


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """``do="open"`` polls of a ``kind``; ``do="wait"`` with them; ``do="wake"``: so many jobs, one after the other."""
    told = os.environ
    crowd = Crowd(int(told["BENCH_PORT"]), told["BENCH_AT"], told["BENCH_KEY"], told["BENCH_CLIENT_KEY"])

    async def answer(do: str, kind: str = "", first: int = 0, count: int = 0, seconds: float = 0) -> dict[str, Any]:
        if do == "wake":
            return {"jobs": crowd.wake(count)}
        if do == "open":
            crowd.open(kind, first, count)
        crowd.wait(seconds)
        return {}

    try:
        yield answer
    finally:
        crowd.close()


if __name__ == "__main__":
    serve(answering)
