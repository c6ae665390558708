"""The scheduler's shell: one soft state a pool, loaded at first touch, reconciled with MongoDB, moved by the core.

A state that is lost (a rebalance, a restart, a core that raised) is loaded again and completed by the next heartbeats.
"""

from collections import deque
from typing import cast

import structlog

from repo.ports import EventLog, JobStore
from schemas.codec import Message, Record
from schemas.dispatch import AnyDispatch, Tick
from schemas.topics import DISPATCH
from streams.core.pool_state import Loaded, PoolState, empty_pool
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
            for pool in await self._patience.until_done(self._store.active_pools):
                if self._partition_of(pool) == record.partition:
                    self._states.setdefault(pool, empty_pool(pool))
            for pool in self._in(record.partition):
                await self._try_to_load(pool, now)
        for pool in self._in(record.partition):
            try:
                await self._feed(pool, tick, now)
            except CannotProcess as failure:
                # A tick carries nothing: there is nothing to put aside, and the pool is loaded again.
                self._complain(pool, failure)

    async def _try_to_load(self, pool: str, now: int) -> None:
        try:
            await self._load(pool, now)
        except CannotProcess as failure:
            self._complain(pool, failure)

    async def _known(self, pool: str, now: int) -> None:
        if pool not in self._states:
            await self._load(pool, now)

    async def _load(self, pool: str, now: int) -> None:
        self._states.setdefault(pool, empty_pool(pool))
        jobs = await self._patience.until_done(lambda: self._store.active_jobs(pool))
        await self._feed(pool, Loaded(tuple(jobs)), now)

    async def _feed(self, pool: str, event: PoolEvent, now: int) -> None:
        """One step, its effects, and the steps that the documents which it asked for bring about."""
        events = deque([event])
        while events:
            state = self._step(pool, events.popleft(), now)
            effects, at = state[1], state[0].now
            messages, answers = await self._patience.until_done(
                lambda effects=effects, at=at: scheduled(self._store, effects, pool, at)  # type: ignore[misc]
            )
            await self._patience.until_done(
                lambda messages=messages, at=at: announce(self._log, messages, source=SCHEDULER, at=at)  # type: ignore[misc]
            )
            events.extend(answers)

    def _step(self, pool: str, event: PoolEvent, now: int) -> tuple[PoolState, tuple[object, ...]]:
        try:
            self._states[pool], effects = step(self._states[pool], event, now)
        except Exception as error:
            self._states.pop(pool, None)
            raise CannotProcess(f"the scheduler could not take it in: {describe(error)}", error) from error
        return self._states[pool], effects

    def _in(self, partition: int) -> list[str]:
        return [pool for pool in self._states if self._partition_of(pool) == partition]

    def _partition_of(self, pool: str) -> int:
        return self._log.partition_of(DISPATCH.name, pool.encode())

    def _complain(self, pool: str, failure: CannotProcess) -> None:
        cause = failure.cause or failure
        log.error("pool loaded again", pool=pool, reason=failure.reason, stack=stack_of(cause))
