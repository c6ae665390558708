"""The leased loop beside the notifier's agent: claims what is due, sends it, notes how that ended.

Any number of processes may run one. A claim is a compare-and-set that lasts for a lease: whoever dies in the middle of
a try is followed by another with the same ``webhook-id`` when the lease is over. Who comes next, and that slow
endpoints hold nobody else's places: ``streams/core/turns.py``.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar
from uuid import uuid4

import structlog

from repo.core.documents import DamagedDocumentError
from repo.deliveries import DeliveryStore
from repo.ports import Unavailable
from schemas.deliveries import MAIL, Delivery, DeliveryKind
from streams.core.deliveries import (
    WORDS_OVERDUE,
    Result,
    SendingPolicy,
    cancelled,
    claimed,
    hooks_after,
    overdue,
    tried,
)
from streams.core.turns import Places, Running, mails_free, places
from streams.deadletters import describe, stack_of
from streams.metrics import StreamsMetrics
from streams.patience import Patience
from streams.senders import Clock, Sender, Skip
from streams.tracing import delivering, told

T = TypeVar("T")
log = structlog.get_logger()

SWEEP_EVERY_MS = 3_600_000
COUNT_EVERY_MS = 15_000
DOUBTED_MAX = 1_000  # endpoints; the first ones doubted are forgotten first


class Couriers:
    """``senders`` by kind; a delivery of another kind is cancelled (mail was switched off since)."""

    def __init__(
        self,
        store: DeliveryStore,
        senders: Mapping[DeliveryKind, Sender],
        policy: SendingPolicy,
        patience: Patience,
        clock: Clock,
        chance: Callable[[], float] = random.random,
        metrics: StreamsMetrics | None = None,
    ) -> None:
        self._store = store
        self._senders = senders
        self._policy = policy
        self._patience = patience
        self._clock = clock
        self._chance = chance
        self._metrics = metrics or StreamsMetrics()
        self._name = uuid4().hex
        self._running: dict[asyncio.Task[None], Running] = {}
        self._doubted: OrderedDict[str, None] = OrderedDict()
        self._woken = asyncio.Event()
        self._stopping = False
        self._sweep_at = 0
        self._count_at = 0

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    async def run(self) -> None:
        """For ever; cancelled, it leaves what it was sending to the next one."""
        try:
            while True:
                self._woken.clear()
                if self._stopping or not await self._begin():
                    await self._rest()
                await self._sweep()
                await self._count()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def stop(self, within_s: float) -> None:
        """Begin no more; wait for the tries under way, but not longer than this."""
        self._stopping = True
        if self._running:
            await asyncio.wait(list(self._running), timeout=within_s)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._policy.look_ms / 1000):
                await self._woken.wait()

    async def _begin(self) -> bool:
        """Claim what is due, as far as there is room; whether there was something."""
        begun = await self._begin_mails()
        looked: Places | None = None
        for most in range(1, self._policy.per_user + 1):
            for _ in range(self._policy.at_once):  # one user's backlog may fill a page
                now = self._places(most)
                if now == looked or not await self._begin_webhooks(now, most):
                    break
                begun = True
            looked = now
        return begun

    async def _begin_mails(self) -> bool:
        free = mails_free(self._running.values(), self._policy)
        if free == 0 or self._stopping:
            return False
        due = await self._patience.until_done(lambda: self._store.due_to(MAIL, self._clock(), free))
        begun = False
        for delivery in due:
            if not self._stopping:
                begun = await self._claim(delivery) or begun
        return begun

    async def _begin_webhooks(self, now: Places, most: int) -> bool:
        """Of users who have fewer than ``most`` under way, as far as there are places; whether there was something."""
        if now.webhooks == 0 or self._stopping:
            return False
        due = await self._patience.until_done(
            lambda: self._store.due(self._clock(), now.webhooks, not_of=now.not_of, not_to=now.not_to)
        )
        begun = False
        for delivery in due:
            if not self._stopping and self._places(most).take(delivery.user_id, delivery.place):
                begun = await self._claim(delivery) or begun
        return begun

    def _places(self, most: int) -> Places:
        return places(self._running.values(), self._doubted, self._clock(), most, self._policy)

    async def _claim(self, delivery: Delivery) -> bool:
        if overdue(delivery, self._clock(), self._policy):
            await self._cancel(delivery, WORDS_OVERDUE)
            return True
        ours = claimed(delivery, self._name, self._clock(), self._policy)
        if ours is None:
            return False
        if not await self._patience.until_done(lambda: self._store.store_delivery(ours, delivery.version)):
            return False  # another courier was first, or it was cancelled
        task = asyncio.create_task(self._traced(ours), name=f"courier-{ours.delivery_id}")
        self._running[task] = Running(ours.user_id, ours.place, self._clock())
        task.add_done_callback(self._done)
        return True

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a delivery could not be carried out", cause=describe(error), stack=stack_of(error))
        self.wake()

    async def _traced(self, ours: Delivery) -> None:
        with delivering(ours):
            await self._deliver(ours)

    async def _deliver(self, ours: Delivery) -> None:
        sender = self._senders.get(ours.kind)
        prepared = Skip("It is not sent here.") if sender is None else await self._until_done(sender.prepare, ours)
        if isinstance(prepared, Skip):
            await self._cancel(ours, prepared.reason)
            return
        if self._clock() + self._policy.timeout_ms > (ours.next_at or 0):
            return  # a server was waited for: the lease is over before the try would be
        try:
            result = await prepared()
        except Exception as error:  # noqa: BLE001 -- a try that fails here as well is a try that failed
            log.error("a delivery could not be sent", cause=describe(error), stack=stack_of(error))
            result = Result(at=self._clock(), duration_ms=0, error="it could not be sent")
        await self._note(ours, result)

    async def _note(self, ours: Delivery, result: Result) -> None:
        self._doubt(ours, result)
        after = tried(ours, result, self._policy, self._chance())
        told(result, after)
        if not await self._until_done(lambda one: self._store.store_delivery(one, ours.version), after):
            return  # cancelled, redelivered or claimed by another meanwhile: theirs is what counts
        self._metrics.tried(ours.kind, result, after.state)
        log.info(
            "delivery tried",
            delivery=ours.delivery_id,
            endpoint=ours.endpoint_id,
            kind=ours.kind,
            tries=ours.tries,
            state=after.state,
            status=result.status,
            error=result.error,
        )
        if ours.kind is DeliveryKind.WEBHOOK:
            await self._until_done(lambda one: self._note_health(one, result), after)

    async def _note_health(self, after: Delivery, result: Result) -> None:
        """Until no other writer of the user's endpoints comes between."""
        while True:
            try:
                hooks = await self._store.hooks(after.user_id)
            except DamagedDocumentError:
                return
            changed = hooks_after(hooks, after, result, self._policy)
            if changed is None or await self._store.store_hooks(changed, hooks.version):
                return

    async def _cancel(self, ours: Delivery, reason: str) -> None:
        after = cancelled(ours, reason)
        if after is not None:
            await self._until_done(lambda one: self._store.store_delivery(one, ours.version), after)
            self._metrics.cancelled(ours.kind)

    async def _until_done(self, ask: Callable[[Delivery], Awaitable[T]], about: Delivery) -> T:
        return await self._patience.until_done(lambda: ask(about))

    def _doubt(self, ours: Delivery, result: Result) -> None:
        """What this process knows of the endpoint's last try. (Another learns it by a try of its own.)"""
        if ours.endpoint_id == MAIL or result.put_off:
            return
        self._doubted.pop(ours.place, None)
        if not result.succeeded:
            self._doubted[ours.place] = None
            if len(self._doubted) > DOUBTED_MAX:
                self._doubted.popitem(last=False)

    async def _count(self) -> None:
        """Show operators how much is due, now and then. Without an answer, it is shown again what was."""
        now = self._clock()
        if now < self._count_at:
            return
        self._count_at = now + COUNT_EVERY_MS
        with suppress(Unavailable):
            self._metrics.backlog(await self._store.backlog(now), now)

    async def _sweep(self) -> None:
        """What is too old to be kept goes, now and then; that it happens twice does no harm."""
        now = self._clock()
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_EVERY_MS
        swept = await self._patience.until_done(lambda: self._store.sweep(now))
        if swept:
            log.info("old deliveries deleted", count=swept)
