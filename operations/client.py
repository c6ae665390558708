"""A client of any OpenV gateway: submit, watch, download. What ``openv generate`` and ``openv up --prompt`` use.

HTTP by httpx, the live socket by websockets. The socket is reopened with the last position, so nothing is missed; a
503 is repeated with the same ``Idempotency-Key``, so nothing is made twice.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from schemas.api.live import may_reconnect
from schemas.lifecycle import TERMINAL

PATIENCE_S = 60.0


class RefusedError(Exception):
    """The gateway said no; ``str`` is the sentence for a person, ``status`` the HTTP status (0: no answer at all)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway is, and the API key to show it."""

    url: str
    api_key: str


class OpenVClient:
    """One gateway and one user. Use as an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.AsyncClient(
            base_url=endpoint.url,
            headers={"Authorization": f"Bearer {endpoint.api_key}"},
            timeout=httpx.Timeout(15.0, read=60.0),
            trust_env=False,
        )

    @property
    def url(self) -> str:
        """Where the gateway is, without a slash at the end."""
        return self._endpoint.url.rstrip("/")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, body: Mapping[str, Any], note: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Ask for a video; returns the job's row. Waits a minute for a gateway that starts or lacks Kafka.

        ``note`` is told once that it waits, and for what.
        """
        headers = {"Idempotency-Key": str(uuid4())}
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                answer = await self._http.post("/api/runpod", json=dict(body), headers=headers)
            except httpx.TransportError as error:
                wait, refusal = (
                    1.0,
                    RefusedError(0, f"No answer from {self._endpoint.url}: {error or type(error).__name__}."),
                )
            else:
                if answer.is_success:
                    row: dict[str, Any] = answer.json()
                    return row
                wait, refusal = (
                    _seconds(answer.headers.get("Retry-After")),
                    RefusedError(answer.status_code, _words(answer)),
                )
                if answer.status_code not in (502, 503, 504):
                    raise refusal
            if asyncio.get_running_loop().time() + wait > deadline:
                raise refusal
            if note is not None:
                note(f"{refusal} Trying again for up to a minute.")
                note = None
            await asyncio.sleep(wait)

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """The job's row as it is now, or None where there is none (yet)."""
        answer = await self._http.get(f"/api/runpod/{job_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise RefusedError(answer.status_code, _words(answer))
        row: dict[str, Any] = answer.json()
        return row

    async def cancel(self, job_id: str) -> None:
        """Ask for the job's end; errors are not ours to handle while leaving."""
        with suppress(httpx.HTTPError):
            await self._http.post(f"/api/runpod/{job_id}/cancel")

    async def watch(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """Frames about one job (``event``, ``progress``, ``preview``, ``place``) until it has ended.

        The snapshot arrives as an ``event`` frame too. Reconnects for ever with growing pauses; a terminal close code
        raises ``RefusedError``.
        """
        position: str | None = None
        pause = 0.5
        while True:
            try:
                async with connect(self._socket_url(), open_timeout=10, proxy=None) as socket:
                    async for frame in self._frames(socket, job_id, position):
                        pause = 0.5
                        position = frame.get("position") or position
                        yield frame
                        if frame["type"] == "event" and frame["data"].get("state") in TERMINAL:
                            return
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if not may_reconnect(code):
                    raise RefusedError(code, closed.rcvd.reason if closed.rcvd else "") from None
            except (OSError, TimeoutError, InvalidHandshake):
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)

    async def _frames(
        self, socket: ClientConnection, job_id: str, position: str | None
    ) -> AsyncIterator[dict[str, Any]]:
        await socket.send(json.dumps({"type": "auth", "token": self._endpoint.api_key}))
        subscribe = {"type": "subscribe", "jobId": job_id}
        await socket.send(json.dumps(subscribe | ({"position": position} if position else {})))
        async for text in socket:
            frame = json.loads(text)
            kind = frame.get("type")
            if kind == "ping":
                await socket.send('{"type":"pong"}')
            elif kind == "snapshot":
                for job in frame["jobs"]:
                    if job["jobId"] == job_id:
                        yield {"type": "event", "position": frame.get("position"), "data": job}
            elif kind in ("event", "progress", "preview", "place") and frame["data"].get("jobId") == job_id:
                yield frame

    async def download(self, path: str, target: Path) -> None:
        """Save a gateway file (it redirects to the object store) as ``target``, whole or not at all."""
        partial = target.with_name(f".{target.name}.part")
        try:
            async with self._http.stream("GET", path, follow_redirects=True) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise RefusedError(answer.status_code, _words(answer))
                with partial.open("wb") as file:
                    async for chunk in answer.aiter_bytes():
                        file.write(chunk)
            os.replace(partial, target)  # noqa: PTH105 -- Path.replace is the same call; the name says "atomic" here
        finally:
            partial.unlink(missing_ok=True)

    def _socket_url(self) -> str:
        return "ws" + self._endpoint.url.removeprefix("http").rstrip("/") + "/ws"


def _seconds(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 0.2), 30.0)
    except ValueError:
        return 1.0


def _words(answer: httpx.Response) -> str:
    """The gateway's refusal as one sentence, from any of the bodies it may send."""
    try:
        body = answer.json()
    except ValueError:
        return f"The gateway answered {answer.status_code}."
    if not isinstance(body, dict):
        return f"The gateway answered {answer.status_code}."
    fields = [f"{d.get('field')} {d.get('message')}" for d in body.get("details") or [] if isinstance(d, dict)]
    words = [str(body[name]) for name in ("error", "message") if body.get(name)]
    said = ". ".join(words) or f"The gateway answered {answer.status_code}."
    return f"{said.rstrip('.')}: {'; '.join(fields)}." if fields else said
