"""Long polls. Each waits inside its own request: no task, no timer; one wheel asks them all when their time comes."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from starlette.types import Receive

from schemas.dispatch import RunAttempt


class End(Enum):
    """Why a poll was woken."""

    FOUND = auto()  # there is something to tell
    OVER = auto()  # its time is up, or the gateway ends
    REPLACED = auto()  # the same worker polls again


class Poll:
    """A poll that waits for its worker's client to go away, or to be woken. ``slot`` is the wheel's."""

    __slots__ = ("_waking", "end", "ends_at", "slot")

    def __init__(self, ends_at: float) -> None:
        self.slot: int | None = None
        self.ends_at = ends_at
        self.end: End | None = None
        self._waking: asyncio.Timeout | None = None

    async def wait(self, receive: Receive) -> End | None:
        """Why it was woken; None: the client has gone."""
        if self.end is None:
            try:
                # A timeout without a time: the one thing in asyncio that wakes a task out of somebody else's wait.
                async with asyncio.timeout(None) as self._waking:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    return None
            except TimeoutError:
                pass
            finally:
                self._waking = None
        return self.end

    def wake(self, end: End) -> None:
        """Once; what comes later changes nothing."""
        if self.end is None:
            self.end = end
            if self._waking is not None:
                self._waking.reschedule(asyncio.get_running_loop().time())

    def tick(self, now: float) -> float | None:
        """See ``Timed.tick``."""
        if self.end is not None:
            return None
        if now >= self.ends_at:
            self.wake(End.OVER)
            return None
        return self.ends_at


class JobPoll(Poll):
    """A worker waits for jobs in these slots, or for as many in others of its own. ``ready`` says READY again.

    ``began_at``: this gateway's clock, in ms.
    """

    __slots__ = ("_ready", "beat_at", "began_at", "numbers", "orders")

    def __init__(self, ends_at: float, began_at: int, numbers: list[int], ready: Callable[["JobPoll"], float]) -> None:
        super().__init__(ends_at)
        self.began_at = began_at
        self.numbers = numbers
        self.orders: list[RunAttempt] = []
        self.beat_at = ends_at
        self._ready = ready

    @property
    def has_room(self) -> bool:
        """Whether an order that comes now goes into its answer."""
        return self.end is None and len(self.orders) < len(self.numbers)

    def tick(self, now: float) -> float | None:
        """See ``Timed.tick``."""
        later = super().tick(now)
        if later is None:
            return None
        if now >= self.beat_at:
            self.beat_at = self._ready(self)
        return min(later, self.beat_at)
