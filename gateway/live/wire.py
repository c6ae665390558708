"""Under a WebSocket: uvicorn's connection, driven without a task of its own.

uvicorn has no public way to write bytes that were framed once to many sockets, and keeps a task, a queue and an event a
socket. ``UvicornWire`` is its protocol with a few methods replaced: the application runs until the handshake is done
and then lets go; from then on messages are handed over as they arrive, and frames are written to the transport. It
rests on members of uvicorn that nobody promises, so it is used with the versions it was tested with (``TESTED_WITH``);
with any other, ``asgi_wire.PlainWire`` does the same through ASGI.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

import structlog
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame as WebSocketFrame

from gateway.core.frame import Frame

TESTED_WITH = ("0.54.",)
EXTENSION = "openv.wire"
CLOSE_S = 1.0
PONGS_BYTES = 256 * 1024  # more than that waits for no client that reads
FRAGMENTS_MAX = 1024
EARLY_FRAMES = 32  # before the handshake was answered
SLICE = 2 * 1024  # what is parsed before it is looked at: at most some 340 frames
logger = structlog.get_logger()


class Listener(Protocol):
    """Who is told what happens on a wire."""

    def counted(self) -> bool:
        """A frame of the client, of any kind, before anything is done with it. False: that was one too many; the wire
        reads nothing more."""
        ...

    def hear(self, message: str | bytes) -> None:
        """A message of the client, which was counted."""
        ...

    def pinged(self) -> None:
        """A ping of the protocol, which the wire answers."""
        ...

    def room(self) -> None:
        """Frames can be written again."""
        ...

    def lost(self) -> None:
        """The connection is gone, or as good as that. May be said twice."""
        ...


class Wire(Protocol):
    """One connection to a client. Nothing may be written while it is ``paused``; ``room`` says when that has ended."""

    @property
    def paused(self) -> bool: ...

    def write(self, frames: Sequence[Frame]) -> None:
        """Send these, in order."""
        ...

    def hold(self, held: bool) -> None:
        """Whether to leave the client's messages where they are for now."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Say good-bye behind what was written; the connection ends when the client has answered, or soon."""
        ...

    def cut(self) -> None:
        """End it at once."""
        ...


def protocol_class() -> type[asyncio.Protocol] | str:
    """What uvicorn's ``ws`` setting is given."""
    return UvicornWire if uvicorn.__version__.startswith(TESTED_WITH) else "websockets-sansio"


class _Nothing:
    """In the place of an event and a queue that nobody reads any more; the two hold 2 KiB a socket."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def put_nowait(self, _: object) -> None: ...


_NOTHING: Any = _Nothing()


class UvicornWire(WebSocketsSansIOProtocol):
    """uvicorn's connection; ``attach`` takes it over once the handshake is done."""

    listener: Listener | None = None
    paused = False
    early = 0  # frames that came before there was a listener
    is_deaf = False  # it said too much: nothing more is read, and what was read is not looked at

    async def run_asgi(self) -> None:
        """As uvicorn's, but a connection that was taken over outlives the application's call."""
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[EXTENSION] = self
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException as error:
            logger.error("handshake_failed", error=type(error).__name__, exc_info=error)
            self.send_500_response()
        if self.listener is None and self.close_timer is None:
            self.transport.close()

    def attach(self, listener: Listener) -> None:
        """Hand over: what came since the handshake, then whatever comes."""
        self.listener = listener
        self.paused = not self.writable.is_set()
        waiting, self.queue = self.queue, _NOTHING
        self.writable = _NOTHING
        # Of no use after the handshake, and half of what an idle socket would hold.
        self.request = self.response = self.scope = self.app_state = None  # type: ignore[assignment]
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        while not waiting.empty():
            message: Any = waiting.get_nowait()
            if message["type"] == "websocket.receive" and self._hears(listener.counted()):
                text = message.get("text")
                listener.hear(message["bytes"] if text is None else text)
        if self.disconnected or self.transport.is_closing():
            listener.lost()

    def write(self, frames: Sequence[Frame]) -> None:
        if len(frames) == 1:
            self.transport.write(frames[0].message)
        else:
            self.transport.write(b"".join([frame.message for frame in frames]))

    def hold(self, held: bool) -> None:
        if held:
            self.transport.pause_reading()
        elif not self.is_deaf:
            self.transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        self.stop_keepalive()
        self.close_sent = True
        self.close_timer = self.loop.call_later(CLOSE_S, self.cut)
        self.hold(False)
        with suppress(InvalidState):
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def cut(self) -> None:
        self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        if self.listener is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "bytes":
            self.listener.hear(bytes(data))
            return
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:
            self.conn.fail(1007, "not UTF-8")
            self.handle_parser_exception()
        else:
            self.listener.hear(text)

    def _counted(self) -> bool:
        """Count a frame; whether to do anything with it."""
        if self.is_deaf:
            return False
        if self.listener is not None:
            return self._hears(self.listener.counted())
        self.early += 1
        if self.early > EARLY_FRAMES:
            self.is_deaf = True
            self.cut()
        return not self.is_deaf

    def _hears(self, may: bool) -> bool:
        """Whether the client is still heard. One that is not gets its good-bye, and its connection is soon cut."""
        if not may and not self.is_deaf:
            self.is_deaf = True
            self.transport.pause_reading()
        return not self.is_deaf

    def handle_text(self, event: WebSocketFrame) -> None:
        if self._counted():
            super().handle_text(event)

    def handle_bytes(self, event: WebSocketFrame) -> None:
        if self._counted():
            super().handle_bytes(event)

    def handle_pong(self, event: WebSocketFrame) -> None:
        if self._counted():
            super().handle_pong(event)

    def handle_cont(self, event: WebSocketFrame) -> None:
        """As uvicorn's, which would gather empty fragments for ever."""
        if not self._counted():
            return
        super().handle_cont(event)
        if len(self.frames) > FRAGMENTS_MAX:
            self.cut()

    def handle_ping(self) -> None:
        """As uvicorn's, which would write answers for ever to a client that reads none."""
        if not self._counted():
            return
        super().handle_ping()
        if self.transport.get_write_buffer_size() > PONGS_BYTES:
            self.cut()
        elif self.listener is not None:
            self.listener.pinged()

    def data_received(self, data: bytes) -> None:
        while data and not self.is_deaf and not self.transport.is_closing():
            super().data_received(data[:SLICE])
            data = data[SLICE:]
        if self.listener is not None and self.transport.is_closing():
            self.listener.lost()

    def pause_writing(self) -> None:
        self.paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.paused = False
        super().resume_writing()
        if self.listener is not None:
            self.listener.room()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        if self.listener is not None and self.transport.is_closing():
            self.listener.lost()
            self.cut()  # what waits for this peer would hold the connection until the kernel gives up

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.listener is not None:
            self.listener.lost()
