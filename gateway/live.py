"""The WebSocket ``/ws``: one reader and one writer a socket around the pure subscription.

The reader takes the client's messages one after another; the writer writes what waits in the outbox, sends heartbeats
when it is quiet, and asks now and then whether the key is still good. Inputs from the feed arrive through ``receive``,
synchronously; they only wake the writer. Whoever ends first ends the other, and the socket closes with a code of
``schemas/api/live.py``.
"""

import asyncio
from contextlib import suppress

import structlog
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.catch_up import catch_up
from gateway.core.allowance import Allowance
from gateway.core.outbox import Outbox
from gateway.core.subscription import (
    Asked,
    Beat,
    Ended,
    Granted,
    Input,
    Mistake,
    Phase,
    Pinged,
    Subscription,
)
from gateway.parts import Parts
from gateway.principal import Principal
from repo.ports import Unavailable
from schemas.api.live import (
    CLOSE_WORDS,
    AuthFrame,
    BadFrame,
    ClientFrame,
    CloseCode,
    PingFrame,
    PongFrame,
    SubscribeFrame,
    read_client_frame,
)

CLOSE_S = 1.0
MINUTE_MS = 60_000
logger = structlog.get_logger()


class Sockets:
    """All sockets of this process: how many, whose, and closing them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.open: set[Socket] = set()
        self._of_user: dict[str, int] = {}
        self.leaving = False

    @property
    def full(self) -> bool:
        return self.leaving or len(self.open) >= self.parts.settings.sockets_max

    def admit(self, user_id: str) -> bool:
        """Count a socket of a user; False (and not counted) if the user has too many here."""
        count = self._of_user.get(user_id, 0)
        if count >= self.parts.settings.sockets_per_user:
            return False
        self._of_user[user_id] = count + 1
        return True

    def release(self, user_id: str) -> None:
        count = self._of_user.pop(user_id, 0) - 1
        if count > 0:
            self._of_user[user_id] = count

    async def close_all(self, code: CloseCode) -> None:
        """Tell every socket to close and wait until all are gone; takes no new ones."""
        self.leaving = True
        closing = list(self.open)
        for socket in closing:
            socket.receive(Ended(code))
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * CLOSE_S):
                await asyncio.gather(*(socket.gone.wait() for socket in closing))


async def socket_endpoint(websocket: WebSocket) -> None:
    """Starlette's endpoint."""
    sockets: Sockets = websocket.app.state.sockets
    if sockets.full:
        await websocket.send_denial_response(JSONResponse({"error": "Too many sockets; try again."}, status_code=503))
        return
    socket = Socket(sockets, websocket)
    sockets.open.add(socket)
    try:
        await socket.run()
    finally:
        sockets.open.discard(socket)
        socket.gone.set()


class Socket:
    """One connection, from its handshake to its end."""

    def __init__(self, sockets: Sockets, websocket: WebSocket) -> None:
        settings = sockets.parts.settings
        self._sockets = sockets
        self._parts = sockets.parts
        self._websocket = websocket
        self._wake = asyncio.Event()
        self._beat_is_due = False
        self._heartbeat_s = settings.socket_heartbeat_seconds
        self._allowance = Allowance(settings.socket_subscribes_per_minute, MINUTE_MS, keys_max=1)
        outbox = Outbox(settings.socket_queue_frames, settings.socket_queue_bytes)
        self._subscription = Subscription(outbox, settings.socket_queue_frames)
        self._principal: Principal | None = None
        self._partition = 0
        self._reader: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()

    def receive(self, happened: Input) -> None:
        """An input for the subscription, from the feed, the reader or the writer."""
        self._subscription.receive(happened)
        self._wake.set()
        if self._subscription.closing is not None and self._reader is not None and self._patience is None:
            # The writer says good-bye; it may hang on a peer that reads nothing, so it gets only so long.
            self._patience = asyncio.get_running_loop().call_later(CLOSE_S, self._reader.cancel)

    async def run(self) -> None:
        """Until either side ends it."""
        await self._websocket.accept()
        reader = self._reader = asyncio.create_task(self._read(), name="socket.read")
        writer = asyncio.create_task(self._write(), name="socket.write")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._patience is not None:
                self._patience.cancel()
            if self._principal is not None:
                self._parts.feed.hub.unwatch(self._principal.user_id, self)
                self._sockets.release(self._principal.user_id)
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            await self._close()
        for task in (reader, writer):
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("socket_failed", error=type(error).__name__, exc_info=error)

    async def _close(self) -> None:
        code = self._subscription.closing or CloseCode.RESTARTING
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code, CLOSE_WORDS[code])

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        # One timer a heartbeat: one a wait would cost more than the frame that ends it.
        timer = loop.call_later(self._heartbeat_s, self._ring)
        try:
            with suppress(WebSocketDisconnect):
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    while (frame := self._subscription.take()) is not None:
                        await self._websocket.send_text(frame)
                    if self._subscription.closing is not None:
                        return
                    if self._beat_is_due:
                        self._beat_is_due = False
                        await self._beat()
                        timer = loop.call_later(self._heartbeat_s, self._ring)
        finally:
            timer.cancel()

    def _ring(self) -> None:
        """Time for a heartbeat."""
        self._beat_is_due = True
        self._wake.set()

    async def _beat(self) -> None:
        if self._principal is None:
            return
        with suppress(Unavailable):
            key_hash = self._principal.key_hash
            if key_hash is not None and await self._parts.auth.by_hash(key_hash) is None:
                self.receive(Ended(CloseCode.REVOKED))
        self.receive(Beat(self._parts.feed.window.head(self._partition)))

    async def _read(self) -> None:
        with suppress(WebSocketDisconnect):
            try:
                async with asyncio.timeout(self._parts.settings.socket_auth_seconds):
                    await self._take_message()
            except TimeoutError:
                if self._subscription.phase is Phase.AWAITING_AUTH:
                    self.receive(Ended(CloseCode.AUTH_LATE))
            while self._subscription.closing is None:
                await self._take_message()
        if self._subscription.closing is not None:
            await asyncio.Event().wait()  # until the writer has said good-bye, or its time is over

    async def _take_message(self) -> None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text")
        frame = read_client_frame(text) if text is not None else BadFrame("binary messages are not understood")
        await self._answer(frame)

    async def _answer(self, frame: ClientFrame | BadFrame) -> None:
        match frame:
            case BadFrame(reason):
                self.receive(Mistake("bad_message", reason))
            case AuthFrame(token=token):
                await self._authenticate(token)
            case SubscribeFrame(position=position, job_id=job_id):
                await self._subscribe(position, job_id)
            case PingFrame():
                self.receive(Pinged())
            case PongFrame():
                pass  # the transport's own pings find dead peers; this one is for clients that count

    async def _authenticate(self, token: str | None) -> None:
        auth = self._parts.auth
        try:
            principal = await (auth.by_secret(token) if token is not None else auth.of_handshake(self._websocket))
        except Unavailable:
            self.receive(Ended(CloseCode.NOT_READY))
            return
        if principal is None:
            self.receive(Ended(CloseCode.UNAUTHORIZED))
            return
        if self._principal is None:
            if not self._sockets.admit(principal.user_id):
                self.receive(Ended(CloseCode.TOO_MANY))
                return
            self._principal = principal
        elif self._principal.user_id == principal.user_id:
            self._principal = principal
        self.receive(Granted(principal.user_id, int(self._heartbeat_s * 1000)))

    async def _subscribe(self, position: str | None, job_id: str | None) -> None:
        if self._principal is None:
            self.receive(Asked(job_id))  # which ends it: auth comes first
            return
        if self._allowance.take("", self._parts.now()):
            self.receive(Ended(CloseCode.BUSY))
            return
        feed, user_id = self._parts.feed, self._principal.user_id
        try:
            self._partition = feed.partition_of(user_id)
            self.receive(Asked(job_id))
            feed.hub.watch(user_id, self)
            caught_up = await catch_up(self._parts, user_id, self._partition, position, job_id)
        except Unavailable:
            caught_up = None
        self.receive(caught_up or Ended(CloseCode.NOT_READY))
        for progress in feed.hub.newest(user_id):
            self.receive(progress)
