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

from gateway.auth import Principal
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
    Resumed,
    Shown,
    Subscription,
)
from gateway.core.window import Cursor, Missing, Replay, read_cursor
from gateway.parts import Parts, parts_of
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
from schemas.documents import job_document
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State

from gateway.core.listing import VISIBLE

CATCH_UP_S = 5.0
CLOSE_S = 1.0
MINUTE_MS = 60_000
logger = structlog.get_logger()


class Sockets:
    """All sockets of this process: how many, whose, and closing them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.open: set["Socket"] = set()
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
        if closing:
            await asyncio.wait([asyncio.ensure_future(socket.gone.wait()) for socket in closing], timeout=CLOSE_S + 0.5)


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
        self._heartbeat_s = settings.socket_heartbeat_seconds
        self._allowance = Allowance(settings.socket_subscribes_per_minute, MINUTE_MS, keys_max=1)
        outbox = Outbox(settings.socket_queue_frames, settings.socket_queue_bytes)
        self._subscription = Subscription(outbox, settings.socket_queue_frames)
        self._principal: Principal | None = None
        self._partition = 0
        self.gone = asyncio.Event()

    def receive(self, happened: Input) -> None:
        """An input for the subscription, from the feed, the reader or the writer."""
        self._subscription.receive(happened)
        self._wake.set()

    async def run(self) -> None:
        """Until either side ends it."""
        await self._websocket.accept()
        reader = asyncio.create_task(self._read(), name="socket.read")
        writer = asyncio.create_task(self._write(), name="socket.write")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
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
        beat = asyncio.get_running_loop().time() + self._heartbeat_s
        with suppress(WebSocketDisconnect):
            while True:
                self._wake.clear()
                while (frame := self._subscription.take()) is not None:
                    await self._websocket.send_text(frame)
                if self._subscription.closing is not None:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(beat):
                        await self._wake.wait()
                if asyncio.get_running_loop().time() >= beat:
                    await self._beat()
                    beat = asyncio.get_running_loop().time() + self._heartbeat_s

    async def _beat(self) -> None:
        if self._principal is None:
            return
        with suppress(Unavailable):
            if await self._parts.auth.by_hash(self._principal.key_hash) is None:
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
            await asyncio.Event().wait()  # the writer says good-bye and ends both

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
        cursor = read_cursor(position) if position is not None else None
        try:
            self._partition = feed.partition_of(user_id)
            self.receive(Asked(job_id))
            feed.hub.watch(user_id, self)
            # A position ahead of this gateway was given by one that reads faster: a moment's wait, not a gap.
            if not await feed.reached(self._partition, self._offset_to_reach(cursor), CATCH_UP_S) and not feed.caught_up:
                self.receive(Ended(CloseCode.NOT_READY))
                return
            replay = self._replay(cursor)
            # From here to the end of a resume nothing is awaited: what comes later comes through the hub.
            self.receive(Resumed(replay) if replay is not None else await self._show(job_id))
        except Unavailable:
            self.receive(Ended(CloseCode.NOT_READY))
            return
        for progress in feed.hub.newest(user_id):
            self.receive(progress)

    def _offset_to_reach(self, cursor: Cursor | None) -> int:
        return cursor.offset if cursor is not None and cursor.partition == self._partition else -1

    def _replay(self, cursor: Cursor | None) -> Replay | None:
        """Everything after the cursor, if it can be shown whole and fits into the outbox; else None: a snapshot."""
        assert self._principal is not None
        if cursor is None:
            return None
        found = self._parts.feed.window.after(self._principal.user_id, self._partition, cursor)
        if isinstance(found, Missing):
            logger.info("position_not_resumable", reason=found.value)
            return None
        settings = self._parts.settings
        size = sum(entry.size for entry in found.entries)
        if len(found.entries) > settings.socket_queue_frames // 2 or size > settings.socket_queue_bytes // 2:
            return None
        return found

    async def _show(self, job_id: str | None) -> Shown:
        """The jobs as they are. The position is taken first, so that nothing falls between it and the reading."""
        assert self._principal is not None
        head = self._parts.feed.window.head(self._partition)
        jobs = await self._jobs(self._principal.user_id, job_id)
        documents = tuple(job_document(job) for job in jobs)
        return Shown(documents, {job.job_id: job.version for job in jobs}, head)

    async def _jobs(self, user_id: str, job_id: str | None) -> list[Job]:
        store, limit = self._parts.store, self._parts.settings.snapshot_jobs
        if job_id is not None:
            job = await store.job(job_id)
            return [job] if job is not None and job.user_id == user_id and job.state is not State.DELETED else []
        jobs = {job.job_id: job for job in await store.jobs_of(user_id, states=VISIBLE, limit=limit)}
        for job in await store.jobs_of(user_id, states=ACTIVE, limit=limit):
            jobs.setdefault(job.job_id, job)
        return sorted(jobs.values(), key=lambda job: (job.created_at, job.job_id), reverse=True)
