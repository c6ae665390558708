"""The scheduler's shell: one soft state a pool, loaded at first touch, reconciled with MongoDB, moved by the core.

A state that is lost (a rebalance, a restart, a core that raised) is loaded again and completed by the next heartbeats.
"""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import structlog

from repo.core.documents import DamagedDocumentError
from repo.ports import EventLog, JobStore
from schemas.codec import Message, Record
from schemas.dispatch import AnyDispatch, JobMoved, Tick
from schemas.replays import replayed
from schemas.topics import DISPATCH
from streams.core.effects import SchedulerEffect
from streams.core.pool_state import Loaded, PoolState, Seen, empty_pool
from streams.core.scheduler import PoolEvent, step
from streams.deadletters import CannotProcess, describe, stack_of
from streams.patience import Patience
from streams.perform import SCHEDULER, announce, scheduled
from streams.tracing import Origins

log = structlog.get_logger()


@dataclass(slots=True)
class _Lane:
    """One partition's pools, of one assignment generation. ``reconciled``: at which record's time; None before."""

    partition: int
    generation: int
    states: dict[str, PoolState] = field(default_factory=dict)
    reconciled: int | None = None


class Pools:
    """Handles ``openv.dispatch``. ``reconcile_ms``: how often every pool is compared with its documents.

    Partitions are handled side by side, so each has its own states, and a message touches those of its own only.
    """

    def __init__(self, store: JobStore, event_log: EventLog, patience: Patience, *, reconcile_ms: int) -> None:
        self._store = store
        self._log = event_log
        self._patience = patience
        self._reconcile_ms = reconcile_ms
        self._lanes: dict[int, _Lane] = {}
        self._origins = Origins()

    def states_of(self, partitions: Container[int]) -> list[PoolState]:
        """The newest state of every pool of these partitions. Any thread may ask: no step changes one in place."""
        lanes = [lane for partition, lane in list(self._lanes.items()) if partition in partitions]
        return [state for lane in lanes for state in list(lane.states.values())]

    async def handle(self, message: Message, record: Record, generation: int) -> None:
        """See ``Handler.handle``. Waits for servers by itself: a step is taken once, its effects until they hold."""
        event = cast("AnyDispatch", message)
        if not isinstance(event, JobMoved) and replayed(record.headers) is not None:
            # What a worker or an operator said then is no news of now: a worker that is long gone would be given jobs,
            # one that is here would be drained. Jobs are looked at as their documents stand.
            return
        lane = self._lanes.get(record.partition)
        if lane is None or lane.generation != generation:
            lane = self._lanes[record.partition] = _Lane(record.partition, generation)
        self._origins.note(message)
        if isinstance(event, Tick):
            await self._tick(lane, event, record.timestamp)
            return
        if event.pool not in lane.states:
            lane.states[event.pool] = empty_pool(event.pool)
            await self._feed(lane, event.pool, await self._documents(event.pool), record.timestamp)
        await self._feed(lane, event.pool, event, record.timestamp)

    async def _tick(self, lane: _Lane, tick: Tick, now: int) -> None:
        if lane.reconciled is None or now - lane.reconciled >= self._reconcile_ms:
            lane.reconciled = now
            await self._reconcile(lane, now)
        for pool in list(lane.states):
            await self._feed_or_load_again(lane, pool, tick, now)

    async def _reconcile(self, lane: _Lane, now: int) -> None:
        """Know every pool of the partition that has work, and compare all known ones with their documents."""
        pools = await self._patience.until_done(self._store.active_pools)
        busy = {pool for pool in pools if self._partition_of(pool) == lane.partition}
        for pool, state in list(lane.states.items()):
            if pool not in busy and not state.jobs and not state.workers:
                del lane.states[pool]
        for pool in sorted(busy | lane.states.keys()):
            lane.states.setdefault(pool, empty_pool(pool))
            await self._feed_or_load_again(lane, pool, await self._documents(pool), now)

    async def _documents(self, pool: str) -> Loaded:
        try:
            return Loaded(tuple(await self._patience.until_done(lambda: self._store.active_jobs(pool))))
        except DamagedDocumentError as error:
            # The others are found one by one as their documents move; the next reconciliation tries again.
            log.error("pool can't be loaded: repair or delete the document", pool=pool, reason=str(error))
            return Loaded(())

    async def _feed(self, lane: _Lane, pool: str, event: PoolEvent, now: int) -> None:
        """One step, its effects, and the steps that the documents which it asked for bring about."""
        events = deque([event])
        while events:
            effects, at = _step(lane, pool, events.popleft(), now)
            events.extend(await self._patience.until_done(partial(self._carry_out, pool, effects, at)))

    async def _feed_or_load_again(self, lane: _Lane, pool: str, event: PoolEvent, now: int) -> None:
        """For events that carry nothing which would be lost: a state that the core can't move is loaded afresh."""
        try:
            await self._feed(lane, pool, event, now)
        except CannotProcess as failure:
            lane.reconciled = None
            log.error(
                "pool is loaded again", pool=pool, reason=failure.reason, stack=stack_of(failure.cause or failure)
            )

    async def _carry_out(self, pool: str, effects: tuple[SchedulerEffect, ...], at: int) -> list[Seen]:
        messages, answers = await scheduled(self._store, effects, pool, at)
        await announce(self._log, messages, source=SCHEDULER, at=at, origins=self._origins)
        return answers

    def _partition_of(self, pool: str) -> int:
        return self._log.partition_of(DISPATCH.name, pool.encode())


def _step(lane: _Lane, pool: str, event: PoolEvent, now: int) -> tuple[tuple[SchedulerEffect, ...], int]:
    """The effects, and the step's own time, which never goes back. A core that raises takes the state with it."""
    try:
        state, effects = step(lane.states[pool], event, now)
    except Exception as error:
        lane.states.pop(pool, None)
        raise CannotProcess(f"the scheduler could not take it in: {describe(error)}", error) from error
    lane.states[pool] = state
    return effects, state.now
