"""How fast a replay goes: at its rate, smoothly, and never far ahead of those who read what it writes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from operations.replay.readers import Readers
from repo.ports import Unavailable

PAUSES_A_SECOND = 50  # of a replay with a rate: what goes out at once delays whoever comes after it
MAKES_UP_S = 0.1  # of what could not be written in time
LOOKS_EVERY_S = 0.05
UP_EVERY_S = 1.0
UNDER_WAY = 4  # bundles
AT_A_TIME = 2_000  # records of a bundle


@dataclass(slots=True)
class Wishes:
    """How it is to go. ``rate``: records a second; ``canary``: stop after so many; ``stop``: set to pause it.

    ``came_back`` is counted up by whoever watches the dead letters; more than ``came_back_max`` stop it.
    """

    rate: float | None = None
    canary: int | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    came_back: int = 0
    came_back_max: int = 10


class Pace:
    """Of one execution. ``meanwhile`` is awaited while it waits, at least once a second."""

    def __init__(self, readers: Readers, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._readers = readers
        self._meanwhile = meanwhile
        self._next_at = 0.0

    def at_most(self, wishes: Wishes) -> int:
        """So many records in a bundle."""
        limit = self._readers.limit
        most = AT_A_TIME if limit is None else min(AT_A_TIME, limit // UNDER_WAY)
        return most if wishes.rate is None else min(most, max(1, int(wishes.rate / PAUSES_A_SECOND)))

    @property
    def stuck(self) -> str | None:
        """Why it makes no sense to go on, in words."""
        return self._readers.stand_still

    async def wait(self, wishes: Wishes, sent: int, ends: Mapping[tuple[str, int], int]) -> None:
        """Until more may be sent, or it is to stop. ``sent``: how many were just now; ``ends``: behind the last that is
        known to be written, by topic and partition."""
        if wishes.rate is not None:
            await self._until_due(wishes, sent / wishes.rate)
        while not wishes.stop.is_set() and self.stuck is None:
            with suppress(Unavailable):  # who waits for its lease waits for the same database, and says so
                if await self._readers.keep_up(ends):
                    return
            await self._meanwhile()
            await asyncio.sleep(LOOKS_EVERY_S)

    async def _until_due(self, wishes: Wishes, takes_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._next_at = max(self._next_at, loop.time() - MAKES_UP_S) + takes_s
        while (wait_s := self._next_at - loop.time()) > 0 and not wishes.stop.is_set():
            try:
                async with asyncio.timeout(min(wait_s, UP_EVERY_S)):
                    await wishes.stop.wait()
            except TimeoutError:
                await self._meanwhile()
