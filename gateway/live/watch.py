"""One live connection, whatever carries it: between its wire, the feed and the pure subscription.

It has no task of its own. The wire hands messages over, the feed inputs, the wheel moments; what has to wait for
somebody (who the caller is, what it missed) runs in a task for that long, and the client's later messages wait behind
it. Frames are written at the end of the loop's turn, those of one turn together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from typing import Any

import structlog
from starlette.requests import HTTPConnection

from gateway.core.inputs import Asked, Beat, Ended, Expiring, Granted, Input, Mistake, Pinged, Resumed, Shown
from gateway.core.outbox import Outbox
from gateway.core.patience import GRACE_MS, Silence, warn_before
from gateway.core.subscription import Phase, Subscription
from gateway.damaged import tell
from gateway.identity.principal import Principal
from gateway.live.catch_up import catch_up
from gateway.live.entry import who_shows, why_not
from gateway.live.sockets import Sockets
from gateway.live.wire import CLOSE_S, Wire
from repo.core.documents import DamagedDocumentError
from repo.ports import Unavailable
from schemas.api.live import (
    CLOSE_WORDS,
    AuthFrame,
    BadFrame,
    ClientFrame,
    CloseCode,
    PingFrame,
    PongFrame,
    Previews,
    SubscribeFrame,
    read_client_frame,
)

BURST_BYTES = 64 * 1024
MESSAGES_PER_MINUTE = 600
MESSAGES_OF_STRANGERS = 32  # a minute too, and more than anybody needs to say who it is
MINUTE_S = 60.0
logger = structlog.get_logger()


class Watch:
    """Tell it what happens; it is over when the wire is lost."""

    __slots__ = (
        "_beat_at", "_cut_at", "_doing", "_end_at", "_handshake", "_inbox", "_is_dirty", "_left", "_meters",
        "_partition", "_parts", "_principal", "_said_good_bye", "_silence", "_sockets", "_subscription", "_told_damage",
        "_warn_at", "_wire", "kind", "place", "slot",
    )  # fmt: skip

    def __init__(self, sockets: Sockets, wire: Wire, place: str, handshake: HTTPConnection | None) -> None:
        settings = sockets.parts.settings
        self._sockets = sockets
        self._parts = sockets.parts
        self._wire = wire
        self._handshake = handshake
        self._subscription = Subscription(
            Outbox(settings.socket_queue_frames, settings.socket_queue_bytes, sockets.tally),
            settings.socket_queue_frames,
        )
        self._silence = Silence()
        self._meters: dict[str, tuple[float, int]] = {}
        self._principal: Principal | None = None
        self._partition = -1
        self._doing: asyncio.Task[None] | None = None
        self._inbox: list[str | bytes] = []
        self._is_dirty = self._left = self._said_good_bye = self._told_damage = False
        now = self._sockets.clock()
        self._beat_at = now + settings.socket_heartbeat_seconds
        self._warn_at = self._cut_at = inf
        self._end_at = now + settings.socket_auth_seconds  # by then it must have authenticated
        self.place = place
        self.kind = "sse" if handshake is None else "ws"
        self.slot: int | None = None
        self._sockets.wheel.set(self, self._next_moment())

    def receive(self, happened: Input) -> None:
        """An input for the subscription, from the feed, the client or the wheel."""
        subscription = self._subscription
        subscription.receive(happened)
        if subscription.closing is not None:
            self._leave()
        if not self._is_dirty:
            self._is_dirty = True
            self._sockets.flush_soon(self)
        elif subscription.is_crowded:
            self.flush()  # much at once is not yet a slow client

    def flush(self) -> None:
        """Write what waits, as far as the wire takes it; then good-bye, if it is time for that."""
        self._is_dirty = False
        subscription, wire = self._subscription, self._wire
        if self._said_good_bye:
            return
        while not wire.paused:
            frames = subscription.take(BURST_BYTES)
            if frames:
                wire.write(frames)
                self._sockets.tally.frames += len(frames)
                self._sockets.tally.bytes += sum(map(len, frames))
            elif subscription.closing is None:
                return
            else:
                self._said_good_bye = True
                wire.close(subscription.closing, CLOSE_WORDS[subscription.closing])
                return

    def room(self) -> None:
        """The wire can take more."""
        if not self._is_dirty:
            self._is_dirty = True
            self._sockets.flush_soon(self)

    def lost(self) -> None:
        """The wire is gone, or as good as that."""
        self._said_good_bye = True
        code = self._subscription.closing
        self._subscription.receive(Ended(CloseCode.RESTARTING))
        self._leave()
        self._cut_at = inf
        self._sockets.forget(self, code)

    def counted(self) -> bool:
        """Something came of the client, whatever it is. False: that was too much, and no more may be looked at."""
        if not self._too_many("messages", MESSAGES_OF_STRANGERS if self._principal is None else MESSAGES_PER_MINUTE):
            return True
        self.receive(Ended(CloseCode.BUSY))
        self.flush()
        return False

    def hear(self, message: str | bytes) -> None:
        """A message of the client."""
        if self._left:
            return
        if self._doing is not None:
            self._inbox.append(message)
        else:
            self._answer(message)

    def pinged(self) -> None:
        """A ping of the protocol: a sign of life."""
        self._silence.heard(pong=False)

    def tick(self, now: float) -> float | None:
        """What is due by now: to cut, to end, to warn, a heartbeat."""
        if now >= self._cut_at:
            self._cut_at = inf
            self._wire.cut()
            self.lost()
        if self._left:
            return self._cut_at if self._cut_at < inf else None
        if now >= self._end_at:
            self.receive(Ended(self._why_late()))
            return self._cut_at
        if now >= self._warn_at:
            self._warn_at = inf
            self.receive(Expiring(max(0, int((self._end_at - now) * 1000) - GRACE_MS)))
        if now >= self._beat_at:
            self._beat_at = now + self._parts.settings.socket_heartbeat_seconds
            self._beat()
        return self._cut_at if self._left else self._next_moment()

    def come_in_by_ticket(self, ticket: str) -> None:
        """A ticket was in the address of the handshake."""
        self._do(self._authenticate(lambda: self._parts.auth.by_ticket(ticket)))

    def begin(self, principal: Principal, position: str | None, job_id: str | None, previews: Previews) -> None:
        """The caller is known and may watch; it asked for this with the first word."""
        self._let_in(principal)
        if not self._left:
            self._do(self._subscribe(position, job_id, previews))

    async def _subscribe(self, position: str | None, job_id: str | None, previews: Previews) -> None:
        """Begin, or begin anew, with what was missed or with the jobs as they are."""
        principal = self._principal
        if principal is None:
            self.receive(Asked(job_id))  # which ends it: auth comes first
            return
        if self._too_many("subscribes", self._parts.settings.socket_subscribes_per_minute):
            self.receive(Ended(CloseCode.BUSY))
            return
        feed, user_id = self._parts.feed, principal.user_id
        try:
            self._partition = feed.partition_of(user_id)
            self.receive(Asked(job_id, previews))
            caught_up = await catch_up(self._parts, user_id, self._partition, position, job_id)
        except Unavailable:
            caught_up = None
        self._sockets.tally.resumed += isinstance(caught_up, Resumed)
        self._sockets.tally.shown += isinstance(caught_up, Shown)
        self.receive(caught_up or Ended(CloseCode.NOT_READY))
        for progress in feed.hub.newest(user_id):
            self.receive(progress)

    def _answer(self, message: str | bytes) -> None:
        frame = _read(message)
        self._silence.heard(pong=isinstance(frame, PongFrame))
        match frame:
            case BadFrame(reason):
                self.receive(Mistake("bad_message", reason))
            case AuthFrame(token=token):
                self._do(self._authenticate(lambda: who_shows(self._parts.auth, token, self._handshake)))
            case SubscribeFrame(position=position, job_id=job_id, previews=previews):
                self._do(self._subscribe(position, job_id, previews))
            case PingFrame():
                self.receive(Pinged())
            case PongFrame():
                pass  # it was heard

    async def _authenticate(self, ask: Callable[[], Awaitable[Principal | None]]) -> None:
        """``ask`` is called here: work that is given up before its first step leaves no question unasked behind."""
        try:
            principal = await ask()
            if principal is not None:
                refusal = await why_not(self._parts, principal)
                if refusal is None:
                    self._let_in(principal)
                else:
                    self.receive(Ended(refusal))
            elif self._principal is None:
                self.receive(Ended(CloseCode.UNAUTHORIZED))
            else:  # what it showed before is good for as long as it is
                self.receive(Mistake("unauthorized", "This token is not valid (any more); send a later one."))
        except Unavailable:
            # Whoever is in already stays for as long as its credential is good, and may try again.
            if self._principal is None:
                self.receive(Ended(CloseCode.NOT_READY))
            else:
                self.receive(Mistake("unavailable", "The token can't be checked right now; send it again soon."))

    def _why_late(self) -> CloseCode:
        if self._subscription.phase is not Phase.AWAITING_AUTH:
            return CloseCode.EXPIRED
        return CloseCode.AUTH_LATE if self._doing is None else CloseCode.NOT_READY  # it is we who are late

    def _let_in(self, principal: Principal) -> None:
        if self._left:
            return
        if self._principal is None and not self._sockets.admit(principal.user_id):
            self.receive(Ended(CloseCode.TOO_MANY))
            return
        expires_in = None
        if principal.expires_at is not None:
            expires_in = max(0, principal.expires_at - self._parts.now())
        if self._principal is None or self._principal.user_id == principal.user_id:
            self._principal = principal
            self._handshake = None
            self._parts.feed.hub.watch(principal.user_id, self)
            now = self._sockets.clock()
            self._end_at = inf if expires_in is None else now + (expires_in + GRACE_MS) / 1000
            self._warn_at = inf if expires_in is None else now + (expires_in - warn_before(expires_in)) / 1000
            self._sockets.wheel.set(self, self._next_moment())
        heartbeat_ms = int(self._parts.settings.socket_heartbeat_seconds * 1000)
        self.receive(Granted(principal.user_id, heartbeat_ms, expires_in))

    def _beat(self) -> None:
        principal = self._principal
        if principal is None:
            return
        if self._silence.beat():
            self.receive(Ended(CloseCode.SILENT))
            return
        if principal.key_hash is not None:
            self._sockets.beside(self._check_key(principal.key_hash))
        self.receive(Beat(self._parts.feed.window.head(self._partition)))

    async def _check_key(self, key_hash: str) -> None:
        try:
            known = await self._parts.auth.by_hash(key_hash)
        except Unavailable:
            return  # asked again with the next heartbeat
        except DamagedDocumentError as error:  # so is this one
            if not self._told_damage:
                self._told_damage = True
                tell(error)
            return
        shown = self._principal
        if known is None and shown is not None and shown.key_hash == key_hash:  # else another was shown meanwhile
            has_expired = shown.expires_at is not None and shown.expires_at <= self._parts.now()
            if not has_expired:  # that ends by itself, as the client was told
                self.receive(Ended(CloseCode.REVOKED))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that waits for somebody; what the client says meanwhile is heard afterwards."""
        self._wire.hold(True)
        self._doing = asyncio.create_task(work, name="watch")
        self._doing.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._doing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
        while self._inbox and self._doing is None and not self._left:
            self._answer(self._inbox.pop(0))
        if self._doing is None and not self._left:
            self._wire.hold(False)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, DamagedDocumentError):  # it is as damaged when the client comes back
            tell(error)
            self.receive(Ended(CloseCode.DAMAGED))
        else:
            logger.error("watch_failed", error=type(error).__name__, exc_info=error)
            self.receive(Ended(CloseCode.RESTARTING))

    def _too_many(self, what: str, limit: int) -> bool:
        """Count one of these; whether there were more than so many in this minute of the connection."""
        now = self._sockets.clock()
        since, count = self._meters.get(what, (now, 0))
        if now - since >= MINUTE_S:
            since, count = now, 0
        self._meters[what] = (since, count + 1)
        return count >= limit

    def _next_moment(self) -> float:
        return min(self._beat_at, self._end_at, self._warn_at)

    def _leave(self) -> None:
        """It ends: nothing is for it any more, its place is another's, and its wire has so long to say so."""
        if self._left:
            return
        self._left = True
        self._inbox.clear()
        if self._doing is not None:
            self._doing.cancel()
        if self._principal is not None:
            self._parts.feed.hub.unwatch(self._principal.user_id, self)
            self._sockets.release(self._principal.user_id)
        self._cut_at = self._sockets.clock() + CLOSE_S
        self._sockets.wheel.set(self, self._cut_at)


def _read(message: str | bytes) -> ClientFrame | BadFrame:
    return read_client_frame(message) if isinstance(message, str) else BadFrame("binary messages are not understood")
