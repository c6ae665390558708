"""The room of SDK workers: what it is made of, what it hears from Kafka, and how it begins and ends.

It tails ``openv.assignments`` from its end: orders to a slot of this gateway answer its polls, orders to any slot say
which attempt a worker has. Events of jobs (the feed hears them) say which hand-outs are over.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

import orjson
import structlog

from gateway.core.handouts import HandOut, HandOuts, is_over
from gateway.core.poll_places import PollPlaces
from gateway.core.stops import Stops
from gateway.core.window import Happened
from gateway.live.wheel import Wheel
from gateway.workers.outbox import Outbox
from gateway.workers.pods import Pods
from gateway.workers.polls import End, Poll
from gateway.workers.throttle import Throttle
from repo.ports import EventLog, Unavailable
from schemas.codec import Record, decode
from schemas.dispatch import RunAttempt, StopAttempt
from schemas.lifecycle import ACTIVE, State
from schemas.slots import Slot, slot_of
from schemas.topics import ASSIGNMENTS

RETRY_S = 1.0
SDK = b"sdk:"
logger = structlog.get_logger()


class Room:
    """One a process; ``run`` it as a task. ``gateway`` is new at each start."""

    def __init__(self, log: EventLog, now: Callable[[], int], *, poll_s: float, polls_max: int, slots_max: int) -> None:
        self.gateway = secrets.token_hex(6)
        self.poll_s = poll_s
        self.now = now
        self.log = log
        self.wheel = Wheel(lambda: asyncio.get_running_loop().time())
        self.handed = HandOuts()
        self.stops = Stops()
        self.outbox = Outbox(log, now, self._say_again, slots_max)
        self.pods = Pods(
            self.gateway,
            self.outbox,
            self.handed,
            self.wheel,
            now,
            poll_s=poll_s,
            polls_max=polls_max,
            slots_max=slots_max,
        )
        self.orders = self.pods.orders
        self.updates = Throttle(self.outbox, self.wheel, now)
        self.stop_places = PollPlaces(polls_max)
        self._stop_polls: dict[tuple[str, str], Poll] = {}
        self._positions: dict[int, int] | None = None

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.outbox.run(), name="workers.outbox")
            group.create_task(self._keep_on(), name="workers.assignments")

    async def leave(self) -> None:
        """The process ends: polls are answered, waiting slots say good-bye; what runs is pinged at another gateway."""
        self.pods.leave()
        for poll in self._stop_polls.values():
            poll.wake(End.OVER)
        await self.outbox.flush()

    def stop_poll(self, pod: tuple[str, str]) -> Poll:
        """A worker asks what it must stop. One poll a worker: an older one is over."""
        older = self._stop_polls.pop(pod, None)
        if older is not None:
            older.wake(End.REPLACED)
        poll = Poll(asyncio.get_running_loop().time() + self.poll_s)
        self.stop_places.take(pod[0])
        self._stop_polls[pod] = poll
        self.wheel.set(poll, poll.ends_at)
        if self.pods.leaving:
            poll.wake(End.OVER)
        return poll

    def stop_polled(self, pod: tuple[str, str], poll: Poll) -> None:
        """The poll is over."""
        self.stop_places.leave(pod[0])
        if self._stop_polls.get(pod) is poll:
            del self._stop_polls[pod]

    @property
    def stop_polls(self) -> int:
        """How many wait."""
        return len(self._stop_polls)

    def stop(self, pod: tuple[str, str], job_id: str) -> None:
        """The worker must stop this job, wherever it asks."""
        self.stops.add(pod, job_id, self.now())
        if (poll := self._stop_polls.get(pod)) is not None:
            poll.wake(End.FOUND)

    def ended(self, pod: tuple[str, str], handed: HandOut) -> None:
        """The worker is done with it: its slot is free."""
        self.updates.drop(handed.job_id)
        self.stops.drop(pod, handed.job_id)
        if (slot := slot_of(handed.worker_id)) is not None:
            self.orders.ended(handed, slot)

    def progressed(self, message: object) -> None:
        """See ``gateway.live.feed.Listener``: nothing of that concerns a slot."""

    def missed(self) -> None:
        """See ``gateway.live.feed.Listener``: the scheduler stops what should not run."""

    def happened(self, event: Happened, state: State) -> None:
        """See ``gateway.live.feed.Listener``. Slots whose attempt the document leaves behind are free."""
        job_id = event.job_id
        if job_id not in self.handed:
            return
        document = orjson.loads(event.value)
        attempt, worker_id = int(document.get("attempt", 0)), document.get("workerId")
        if state not in ACTIVE:
            self.updates.drop(job_id)
        for handed in self.handed.of_job(job_id):
            handed.over = handed.over or is_over(handed, state, attempt, worker_id)
            slot = slot_of(handed.worker_id)
            if slot is not None and (handed.over or attempt > handed.attempt):
                self.orders.ended(handed, slot)

    def _say_again(self, endpoint_id: str | None) -> None:
        self.pods.again(endpoint_id)

    async def _keep_on(self) -> None:
        while True:
            try:
                await self._follow()
            except Unavailable as error:
                logger.warning("assignments_wait", server=error.server, reason=error.reason)
            except Exception:  # workers that hear nothing any more would wait for ever: say so and go on
                logger.exception("assignments_failed")
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        if self._positions is None:
            self._positions = await self.log.ends(ASSIGNMENTS.name)
        self.pods.open()
        tail = self.log.tail(ASSIGNMENTS.name, self._positions)
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            async for batch in batches:
                for record in batch:
                    self._positions[record.partition] = record.offset + 1
                    if record.key.startswith(SDK):
                        self._on_order(record)

    def _on_order(self, record: Record) -> None:
        """What can't be read is put to the dead letters by the janitor."""
        message = decode(record)
        if not isinstance(message, RunAttempt | StopAttempt):
            return
        slot = slot_of(message.worker_id)
        if slot is None or slot.gateway != message.session:
            return
        known = self.handed.find(slot.endpoint_id, slot.pod_id, message.job_id)
        if isinstance(message, RunAttempt):
            self._on_run(slot, message, known)
        elif known is None or known.attempt <= message.attempt:
            self.stop((slot.endpoint_id, slot.pod_id), message.job_id)

    def _on_run(self, slot: Slot, order: RunAttempt, known: HandOut | None) -> None:
        pod = (slot.endpoint_id, slot.pod_id)
        if known is not None and (known.attempt, known.worker_id) == (order.attempt, order.worker_id):
            return  # told again
        if known is not None and (had := slot_of(known.worker_id)) is not None:
            self.orders.ended(known, had)  # nothing else remembers the slot of the attempt before
        self.stops.drop(pod, order.job_id)
        self.handed.note(*pod, HandOut(order.user_id, order.job_id, order.worker_id, order.attempt))
        self.orders.ordered(slot, order)
