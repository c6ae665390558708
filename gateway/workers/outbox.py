"""What the gateway says for SDK workers to the scheduler and to watchers: by one task, in batches, endpoints by turns.

What is said of an endpoint keeps its order. To the scheduler it is said no faster than all slots of an endpoint need:
who polls and goes away again and again makes nobody else wait, here or there. Nothing is kept for later: whatever is
lost with an outage is said again, or made good by a lease that runs out.
"""

import asyncio
from collections.abc import Callable

import structlog

from gateway.core.fair_queue import FairQueue, Pace
from gateway.workers.pod import BEAT_S
from repo.ports import EventLog, Unavailable
from schemas.codec import Encoded, encode
from schemas.dispatch import AssignmentDeclined, WorkerBeat, WorkerGone
from schemas.progress import WorkerUpdate
from schemas.slots import slot_of

SOURCE = "/openv/gateway"
BATCH = 500
UPDATES_MAX = 1_000  # of one endpoint, that wait: what is newer says more
WORDS_OF_SLOT = 2  # in the time of a beat: a beat, and what becomes of it
SLOTS_MIN = 256  # however few an endpoint may have: a worker that comes and goes at once needs its words
STEP_S = 0.05
RETRY_S = 1.0
FAREWELL_S = 0.7  # of the second that an orderly end has
Said = WorkerBeat | WorkerGone | AssignmentDeclined | WorkerUpdate
logger = structlog.get_logger()


class Outbox:
    """One a process. ``lost`` is told of which endpoint something was not said; None: of any.

    ``slots_max``: how many slots an endpoint has at most.
    """

    def __init__(
        self, log: EventLog, now: Callable[[], int], lost: Callable[[str | None], None], slots_max: int
    ) -> None:
        slots = max(slots_max, SLOTS_MIN)
        self._log = log
        self._now = now
        self._lost = lost
        self._words_max = 2 * WORDS_OF_SLOT * slots
        self._words: FairQueue[Encoded] = FairQueue(self._words_max, Pace(slots, WORDS_OF_SLOT * slots / BEAT_S))
        self._updates: FairQueue[Encoded] = FairQueue(UPDATES_MAX)
        self._some = asyncio.Event()

    def say(self, message: Said) -> None:
        """Append it soon, after all that were said of its endpoint before. Where too many wait, the oldest is lost."""
        slot = slot_of(message.worker_id)
        queue = self._updates if isinstance(message, WorkerUpdate) else self._words
        queue.put(slot.endpoint_id if slot else "", encode(message, source=SOURCE, at=self._now()))
        self._some.set()

    def is_behind(self, endpoint_id: str) -> bool:
        """Whether so much waits to be said of this endpoint that its workers should not ask for more."""
        return 2 * self._words.waiting(endpoint_id) >= self._words_max

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self._send(hurry=False)
                self._say_again()
                await self._more()
            except Unavailable as error:
                logger.warning("worker_words_lost", server=error.server, reason=error.reason)
                await self._begin_again()
            except Exception:  # workers that nobody speaks for any more would wait for ever: say so and go on
                logger.exception("worker_words_failed")
                await self._begin_again()

    async def flush(self) -> None:
        """What waits, as far as there is time for it: the process ends."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._send(hurry=True)
        except (Unavailable, TimeoutError):
            logger.warning("worker_words_lost", server="kafka", reason="the process ends")

    async def _send(self, *, hurry: bool) -> None:
        """All that may be said now; ``hurry``: all."""
        while True:
            now = None if hurry else _time()
            batches = [batch for queue in (self._words, self._updates) if (batch := queue.take(BATCH, now))]
            if not batches:
                return
            for batch in batches:
                await self._log.append_all(batch)

    async def _more(self) -> None:
        """Until there is something to say."""
        self._some.clear()
        if len(self._updates):
            return
        soon = self._words.next_in(_time())
        if soon != 0:
            try:
                async with asyncio.timeout(None if soon is None else max(soon, STEP_S)):
                    await self._some.wait()
            except TimeoutError:
                pass

    def _say_again(self) -> None:
        """Of endpoints that said too much at once: what is so now."""
        for endpoint_id in self._updates.healed():
            logger.warning("worker_updates_lost", reason="too many waited", endpoint=endpoint_id)
        for endpoint_id in self._words.healed():
            logger.warning("worker_words_lost", server="kafka", reason="too many waited", endpoint=endpoint_id)
            self._lost(endpoint_id)

    async def _begin_again(self) -> None:
        self._words.clear()
        self._updates.clear()
        await asyncio.sleep(RETRY_S)
        self._lost(None)


def _time() -> float:
    return asyncio.get_running_loop().time()
