"""Wires through ASGI: event streams, and WebSockets where uvicorn's own connection can't be used (``wire.py``)."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.core.frame import BinaryFrame, Frame
from gateway.live.wire import Listener

logger = structlog.get_logger()


class AsgiWire(ABC):
    """ASGI takes one message at a time and waits while the client is slow; until then the wire is ``paused``."""

    def __init__(self) -> None:
        self._frames: Sequence[Frame] = ()
        self._wake = asyncio.Event()
        self._good_bye: tuple[int, str] | None = None
        self._cut = asyncio.Event()
        self.is_over = False  # said to its end, or the client has gone

    @property
    def paused(self) -> bool:
        return bool(self._frames)

    def write(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        self._good_bye = (code, reason)
        self._wake.set()

    def cut(self) -> None:
        self._cut.set()

    async def run(self, listener: Listener) -> None:
        """Write and listen until either side has ended it, or it was cut."""
        speaking = asyncio.ensure_future(self._speak(listener))
        listening = asyncio.ensure_future(self._listen(listener))
        tasks = (speaking, listening, asyncio.ensure_future(self._cut.wait()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.is_over = speaking in done or listening in done
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            listener.lost()
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, WebSocketDisconnect | OSError):
                logger.error("wire_failed", error=type(end).__name__, exc_info=end)

    async def _speak(self, listener: Listener) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._frames:
                await self._send(self._frames)
                self._frames = ()
                listener.room()
            if self._good_bye is not None:
                await self._end(*self._good_bye)
                return

    @abstractmethod
    async def _send(self, frames: Sequence[Frame]) -> None: ...

    @abstractmethod
    async def _end(self, code: int, reason: str) -> None: ...

    @abstractmethod
    async def _listen(self, listener: Listener) -> None:
        """Pass on what the client says; returns when it has gone."""


class PlainWire(AsgiWire):
    """A WebSocket through Starlette."""

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__()
        self._websocket = websocket
        self._may_read = asyncio.Event()
        self._may_read.set()

    def hold(self, held: bool) -> None:
        if held:
            self._may_read.clear()
        else:
            self._may_read.set()

    async def _send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if isinstance(frame, BinaryFrame):
                await self._websocket.send_bytes(frame.text)
            else:
                await self._websocket.send_text(frame.text.decode())

    async def _end(self, code: int, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(code, reason)

    async def _listen(self, listener: Listener) -> None:
        while True:
            await self._may_read.wait()
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not listener.counted():
                await self._cut.wait()  # no more is read; what is said to it meanwhile ends it, or its time does
            text = message.get("text")
            listener.hear(message["bytes"] if text is None else text)
