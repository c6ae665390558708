"""All live connections of this process, sockets and event streams alike: how many, whose, from where, and their end."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

import structlog
from starlette.requests import HTTPConnection

from gateway.core.addresses import place_of
from gateway.core.allowance import Allowance
from gateway.core.inputs import Ended, Input
from gateway.core.origins import may_act
from gateway.errors import Problem, Refused
from gateway.live.wheel import Wheel
from gateway.live.wire import CLOSE_S
from gateway.metrics import KINDS
from gateway.parts import Parts
from schemas.api.live import CloseCode

MINUTE_MS = 60_000
ORIGIN_WORDS = "Pages of this origin may not open sockets here; the operator names those that may."
logger = structlog.get_logger()


class Member(Protocol):
    """What the registry needs of a connection."""

    place: str
    kind: str

    def receive(self, happened: Input) -> None: ...

    def flush(self) -> None: ...


class Sockets:
    """One a process."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tally = parts.metrics.tally
        self.open: set[Member] = set()
        self._of_kind: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        parts.metrics.watch_open(lambda: dict(self._of_kind))
        self.leaving = False
        self._of_user: dict[str, int] = {}
        self._at_place: dict[str, int] = {}
        self._handshakes = Allowance(parts.settings.handshakes_per_address, MINUTE_MS)
        self._to_flush: list[Member] = []
        self._beside: set[asyncio.Task[None]] = set()
        self._none_left = asyncio.Event()
        self.wheel = Wheel(self.clock)

    @staticmethod
    def clock() -> float:
        """Seconds on the loop's clock."""
        return asyncio.get_running_loop().time()

    @property
    def full(self) -> bool:
        """Whether this process takes no more, for now or because it stops."""
        return self.leaving or len(self.open) >= self.parts.settings.sockets_max

    def knock(self, handshake: HTTPConnection) -> str:
        """The place that a handshake comes from. Raises ``Refused`` if it may not come in from there."""
        settings = self.parts.settings
        origin = handshake.headers.get("origin")
        allowed = (settings.origin, *settings.allowed_origins)
        host, scheme = handshake.headers.get("host"), handshake.scope["scheme"]
        if origin is not None and not may_act(origin, scheme=scheme, host=host, allowed=allowed):
            raise Refused(Problem.FORBIDDEN_ORIGIN, words=ORIGIN_WORDS)
        place = place_of(handshake.client.host if handshake.client is not None else None)
        wait_ms = self._handshakes.take(place, self.parts.now())
        if wait_ms:
            raise Refused(Problem.SOCKETS, retry_after=1 + wait_ms // 1000)
        if not self.has_room_at(place):
            raise Refused(Problem.SOCKETS)
        return place

    def has_room_at(self, place: str) -> bool:
        """Whether one more from there would be taken."""
        return self._at_place.get(place, 0) < self.parts.settings.sockets_per_address

    def join(self, member: Member) -> None:
        """Count a connection, whoever it is of, until ``forget``."""
        self.open.add(member)
        self.tally.opened[member.kind] += 1
        self._of_kind[member.kind] += 1
        self._at_place[member.place] = self._at_place.get(member.place, 0) + 1
        if self.leaving:
            member.receive(Ended(CloseCode.RESTARTING))

    def forget(self, member: Member, code: CloseCode | None = None) -> None:
        """It is gone; ``code``: why we closed it. No error if that was known."""
        if member not in self.open:
            return
        self.open.discard(member)
        self._of_kind[member.kind] -= 1
        self.tally.closed["lost" if code is None else str(int(code))] += 1
        count = self._at_place.pop(member.place, 0) - 1
        if count > 0:
            self._at_place[member.place] = count
        if not self.open:
            self._none_left.set()

    def admit(self, user_id: str) -> bool:
        """Count a connection of a user; False (and not counted) if the user has too many here."""
        if not self.has_room_for(user_id):
            return False
        self._of_user[user_id] = self._of_user.get(user_id, 0) + 1
        return True

    def has_room_for(self, user_id: str) -> bool:
        """Whether one more of this user would be admitted."""
        return self._of_user.get(user_id, 0) < self.parts.settings.sockets_per_user

    def release(self, user_id: str) -> None:
        """A connection that was admitted has ended."""
        count = self._of_user.pop(user_id, 0) - 1
        if count > 0:
            self._of_user[user_id] = count

    def flush_soon(self, member: Member) -> None:
        """Let it write at the end of this turn of the loop, so that what comes together is written together."""
        self._to_flush.append(member)
        if len(self._to_flush) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it, beside everything else."""
        task = asyncio.create_task(work, name="sockets.beside")
        self._beside.add(task)
        task.add_done_callback(self._done_beside)

    async def close_all(self, code: CloseCode) -> None:
        """Tell every connection to close and wait until all are gone; takes no new ones."""
        self.leaving = True
        self._none_left.clear()
        for member in list(self.open):
            member.receive(Ended(code))
        if self.open:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * CLOSE_S):
                    await self._none_left.wait()
        self.wheel.stop()
        for task in self._beside:
            task.cancel()

    def _done_beside(self, task: "asyncio.Task[None]") -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("beside_failed", error=type(error).__name__, exc_info=error)

    def _flush(self) -> None:
        waiting, self._to_flush = self._to_flush, []
        for member in waiting:
            member.flush()
