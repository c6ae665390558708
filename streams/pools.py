"""The scheduler's shell: one soft state a pool, loaded at first touch, reconciled with MongoDB, moved by the core.

A state that is lost (a rebalance, a restart, a core that raised) is loaded again and completed by the next heartbeats.
"""

from collections import deque
from functools import partial
from typing import cast

import structlog

from repo.core.documents import DamagedDocumentError
from repo.ports import EventLog, JobStore
from schemas.codec import Message, Record
from schemas.dispatch import AnyDispatch, Tick
from schemas.topics import DISPATCH
from streams.core.effects import SchedulerEffect
from streams.core.pool_state import Loaded, PoolState, Seen, empty_pool
from streams.core.scheduler import PoolEvent, step
from streams.deadletters import CannotProcess, describe, stack_of
from streams.patience import Patience
from streams.perform import SCHEDULER, announce, scheduled

log = structlog.get_logger()


class Pools:
    """Handles ``openv.dispatch``. ``reconcile_ms``: how often every pool is compared with its documents."""

    def __init__(self, store: JobStore, event_log: EventLog, patience: Patience, *, reconcile_ms: int) -> None:
        self._store = store
        self._log = event_log
        self._patience = patience
        self._reconcile_ms = reconcile_ms
        self._generation = -1
        self._states: dict[str, PoolState] = {}
        self._reconciled: dict[int, int] = {}  # by partition, at which record's time

    async def handle(self, message: Message, record: Record, generation: int) -> None:
        """See ``Handler.handle``. Waits for servers by itself: a step is taken once, its effects until they hold."""
        if generation != self._generation:
            self._generation = generation
            self._states.clear()
            self._reconciled.clear()
        event = cast("AnyDispatch", message)
        if isinstance(event, Tick):
            await self._tick(event, record)
            return
        await self._known(event.pool, record.timestamp)
        await self._feed(event.pool, event, record.timestamp)

    async def _tick(self, tick: Tick, record: Record) -> None:
        now = record.timestamp
        if now - self._reconciled.get(record.partition, -self._reconcile_ms) >= self._reconcile_ms:
            self._reconciled[record.partition] = now
            await self._reconcile(record.partition, now)
        for pool in self._in(record.partition):
            await self._feed_or_load_again(pool, tick, now)

    async def _reconcile(self, partition: int, now: int) -> None:
        """Know every pool of the partition that has work, and compare all known ones with their documents."""
        busy = {
            pool
            for pool in await self._patience.until_done(self._store.active_pools)
            if self._partition_of(pool) == partition
        }
        for pool in self._in(partition):
            if pool not in busy and not self._states[pool].jobs and not self._states[pool].workers:
                del self._states[pool]
        for pool in sorted(busy | set(self._in(partition))):
            self._states.setdefault(pool, empty_pool(pool))
            await self._feed_or_load_again(pool, await self._documents(pool), now)

    async def _known(self, pool: str, now: int) -> None:
        if pool not in self._states:
            self._states[pool] = empty_pool(pool)
            await self._feed(pool, await self._documents(pool), now)

    async def _documents(self, pool: str) -> Loaded:
        try:
            return Loaded(tuple(await self._patience.until_done(lambda: self._store.active_jobs(pool))))
        except DamagedDocumentError as error:
            # The others are found one by one as their documents move; the next reconciliation tries again.
            log.error("pool can't be loaded: repair or delete the document", pool=pool, reason=str(error))
            return Loaded(())

    async def _feed(self, pool: str, event: PoolEvent, now: int) -> None:
        """One step, its effects, and the steps that the documents which it asked for bring about."""
        events = deque([event])
        while events:
            effects, at = self._step(pool, events.popleft(), now)
            events.extend(await self._patience.until_done(partial(self._carry_out, pool, effects, at)))

    async def _feed_or_load_again(self, pool: str, event: PoolEvent, now: int) -> None:
        """For events that carry nothing which would be lost: a state that the core can't move is loaded afresh."""
        try:
            await self._feed(pool, event, now)
        except CannotProcess as failure:
            log.error(
                "pool is loaded again", pool=pool, reason=failure.reason, stack=stack_of(failure.cause or failure)
            )

    async def _carry_out(self, pool: str, effects: tuple[SchedulerEffect, ...], at: int) -> list[Seen]:
        messages, answers = await scheduled(self._store, effects, pool, at)
        await announce(self._log, messages, source=SCHEDULER, at=at)
        return answers

    def _step(self, pool: str, event: PoolEvent, now: int) -> tuple[tuple[SchedulerEffect, ...], int]:
        """The effects, and the step's own time, which never goes back."""
        try:
            state, effects = step(self._states[pool], event, now)
        except Exception as error:
            self._states.pop(pool, None)
            raise CannotProcess(f"the scheduler could not take it in: {describe(error)}", error) from error
        self._states[pool] = state
        return effects, state.now

    def _in(self, partition: int) -> list[str]:
        return [pool for pool in self._states if self._partition_of(pool) == partition]

    def _partition_of(self, pool: str) -> int:
        return self._log.partition_of(DISPATCH.name, pool.encode())
