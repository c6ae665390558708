"""Clients that behave as good ones do: they repeat what went unanswered, and come back to a lost socket."""

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from repo.clock import now_ms
from schemas.api.live import may_reconnect

PAUSE_S = 0.2
WAIT_S = 150.0
AGAIN = frozenset({202, 503})  # not decided yet, or not recorded: ask again
SMALL = {"width": 384, "height": 384, "num_frames": 7, "steps": 10}
Heard = list[tuple[int, dict[str, Any]]]  # offsets and documents


class Person:
    """One user. Every request goes to one gateway after the other until one has decided it."""

    def __init__(self, user_id: str, key: str, urls: Iterable[str]) -> None:
        self.user_id = user_id
        self.key = key
        self.urls = list(urls)
        self.repeats = 0
        headers = {"Authorization": f"Bearer {key}"}
        self._clients = [httpx.AsyncClient(base_url=url, headers=headers, timeout=10, trust_env=False) for url in urls]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.aclose()

    async def ask(self, method: str, path: str, first: int = 0, **more: Any) -> httpx.Response:
        """The first answer that is a decision. ``first``: which gateway is asked first."""
        turns = [self._clients[(first + number) % len(self._clients)] for number in range(len(self._clients))]
        deadline = time.monotonic() + WAIT_S
        last = "nothing"
        for client in cycle(turns):
            try:
                answer = await client.request(method, path, **more)
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                if answer.status_code not in AGAIN:
                    return answer
                last = f"{answer.status_code} {answer.text}"
            assert time.monotonic() < deadline, f"{method} {path} undecided after {WAIT_S:g} s: {last}"
            self.repeats += 1
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("no gateway was named")

    async def submit(self, key: str, first: int = 0, **fields: Any) -> dict[str, Any]:
        """The row of a new video; asked for as often as it takes, under one key."""
        body = {**SMALL, **fields}
        answer = await self.ask("POST", "/api/runpod", first, json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    async def row(self, job_id: str) -> dict[str, Any] | None:
        """The row as it is now; None for a deleted one."""
        answer = await self.ask("GET", f"/api/runpod/{job_id}")
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    async def state(self, job_id: str, *states: str) -> dict[str, Any]:
        """The row, once it is in one of these states."""
        deadline = time.monotonic() + WAIT_S
        row = None
        while time.monotonic() < deadline:
            row = await self.row(job_id)
            if row and row["state"] in states:
                return row
            await asyncio.sleep(PAUSE_S)
        raise AssertionError(f"{job_id} not in {states}: {row}")

    async def cancel(self, job_id: str, first: int = 0) -> bool:
        """Whether it was cancelled; else it had ended."""
        answer = await self.ask("POST", f"/api/runpod/{job_id}/cancel", first)
        assert answer.status_code in (200, 409), answer.text
        return answer.status_code == 200

    async def delete(self, job_id: str, first: int = 0) -> None:
        answer = await self.ask("DELETE", "/api/videos", first, json={"jobIds": [job_id]})
        assert answer.json() == {"success": True}, answer.text


@dataclass
class Epoch:
    """What a socket heard since one snapshot: the snapshot's offset and versions, and the events after it."""

    begin: int
    versions: dict[str, int]
    known: dict[str, int]
    events: Heard = field(default_factory=list)


class Watcher:
    """A live connection that keeps its position and goes to the next gateway when it is cut, as ``live.js`` does.

    ``loyal``: it comes back to its first gateway, however long that takes. ``job_id``: it watches this job only.
    """

    def __init__(self, person: Person, first: int, *, loyal: bool = False, job_id: str | None = None) -> None:
        urls = [person.urls[first]] if loyal else person.urls[first:] + person.urls[:first]
        self._urls = cycle(urls)
        self._key = person.key
        self._lost_at: int | None = None
        self._tried_at = 0
        self.user_id = person.user_id
        self.first = first
        self.loyal = loyal
        self.job_id = job_id
        self.position: str | None = None
        self.epochs: list[Epoch] = []
        self.offsets: list[int] = []  # of all events that were sent, repeats of a version too
        self.away: list[tuple[int, int]] = []  # from when it was cut until it tried the attempt that succeeded, in ms
        self.resumes = 0
        self.repeats = 0

    @property
    def offset(self) -> int:
        """Everything of the user's partition up to there was heard."""
        return int(self.position.split(":")[1]) if self.position else -1

    async def run(self) -> None:
        """Until cancelled. Raises ``ConnectionClosed`` when told not to come back."""
        while True:
            self._tried_at = now_ms()
            try:
                await self._watch(next(self._urls))
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if not may_reconnect(code):
                    raise
            except (OSError, TimeoutError, WebSocketException, httpx.TransportError):
                pass  # the gateway is away
            self._lost_at = self._lost_at or now_ms()
            await asyncio.sleep(PAUSE_S)

    async def _watch(self, url: str) -> None:
        silence_s = 10.0
        address = "ws" + url.removeprefix("http") + "/ws"
        async with connect(address, proxy=None, open_timeout=5, close_timeout=1) as socket:
            await socket.send(json.dumps({"type": "auth", "token": self._key}))
            while True:
                async with asyncio.timeout(silence_s):
                    message = await socket.recv()
                if isinstance(message, bytes):
                    continue  # a preview
                frame = json.loads(message)
                if frame["type"] == "welcome":
                    silence_s = 2 * frame["heartbeatMs"] / 1000
                    position = {"position": self.position} if self.position else {}
                    job_id = {"jobId": self.job_id} if self.job_id else {}
                    await socket.send(json.dumps({"type": "subscribe", **position, **job_id}))
                elif frame["type"] == "ping":
                    await socket.send('{"type":"pong"}')
                self._hear(frame)

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "snapshot":
                begin = int(frame["position"].split(":")[1]) if frame.get("position") else -1
                versions = {job["jobId"]: job["version"] for job in frame["jobs"]}
                self.epochs.append(Epoch(begin, versions, dict(versions)))
            case "resumed":
                assert frame["recovered"] is True
                self.resumes += 1
                if self._lost_at is not None:
                    self.away.append((self._lost_at, self._tried_at))
            case "event":
                self._take(int(frame["position"].split(":")[1]), frame["data"])
        if frame["type"] in ("snapshot", "resumed"):
            self._lost_at = None
        self.position = frame.get("position") or self.position

    def _take(self, offset: int, document: dict[str, Any]) -> None:
        """A repeat, told by (job id, version), is dropped; anything else is kept in the order it came."""
        self.offsets.append(offset)
        known = self.epochs[-1].known
        if document["version"] <= known.get(document["jobId"], 0):
            self.repeats += 1
            return
        known[document["jobId"]] = document["version"]
        self.epochs[-1].events.append((offset, document))


class Listener(Watcher):
    """The same over server-sent events, with ``Last-Event-ID`` as an ``EventSource`` keeps it."""

    async def _watch(self, url: str) -> None:
        headers = {
            "Authorization": f"Bearer {self._key}",
            **({"Last-Event-ID": self.position} if self.position else {}),
        }
        query = {"jobId": self.job_id} if self.job_id else {}
        async with (
            httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client,
            client.stream("GET", "/api/live/events", headers=headers, params=query) as answer,
        ):
            assert answer.status_code == 200, answer.status_code
            event: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if line:
                    event[name] = value
                elif "data" in event:
                    frame = json.loads(event["data"])
                    assert (event["event"], event.get("id")) == (frame["type"], frame.get("position"))
                    assert frame.get("reconnect", True), frame
                    self._hear(frame)
                event = event if line else {}
