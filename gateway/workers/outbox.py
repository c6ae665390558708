"""What the gateway says for SDK workers to the scheduler and to watchers: in order, by one task, in batches.

Nothing here is kept for later: whatever is lost with an outage is said again, or made good by a lease that runs out.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from repo.ports import EventLog, Unavailable
from schemas.codec import Encoded, Message, encode

SOURCE = "/openv/gateway"
WAITING_MAX = 20_000
BATCH = 500
RETRY_S = 1.0
FAREWELL_S = 0.7  # of the second that an orderly end has
logger = structlog.get_logger()


class Outbox:
    """One a process. ``lost`` is told that something was not said."""

    def __init__(self, log: EventLog, now: Callable[[], int], lost: Callable[[], None]) -> None:
        self._log = log
        self._now = now
        self._lost = lost
        self._waiting: deque[Encoded] = deque(maxlen=WAITING_MAX)
        self._some = asyncio.Event()
        self._overflowed = False

    def say(self, message: Message) -> None:
        """Append it soon, after all that were said before. Where too many wait, the oldest is lost."""
        if len(self._waiting) == WAITING_MAX:
            self._overflowed = True
        self._waiting.append(encode(message, source=SOURCE, at=self._now()))
        self._some.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._some.wait()
            try:
                await self._send()
                if self._overflowed:
                    logger.warning("worker_words_lost", server="kafka", reason="too many waited")
                    await self._begin_again()
            except Unavailable as error:
                logger.warning("worker_words_lost", server=error.server, reason=error.reason)
                await self._begin_again()
            except Exception:  # workers that nobody speaks for any more would wait for ever: say so and go on
                logger.exception("worker_words_failed")
                await self._begin_again()

    async def _begin_again(self) -> None:
        self._waiting.clear()
        self._overflowed = False
        await asyncio.sleep(RETRY_S)
        self._lost()

    async def flush(self) -> None:
        """What waits, as far as there is time for it: the process ends."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._send()
        except (Unavailable, TimeoutError):
            logger.warning("worker_words_lost", server="kafka", reason="the process ends")

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            await self._log.append_all(batch)
        self._some.clear()
