"""Which worker runs what, when. One pool's writer; ``step`` is all of it.

Workers pull: one that says READY is handed exactly one job. What a message does is in its own room (``documents``,
``workers``, ``leases`` on ticks); after every message whoever waits is matched, so no worker idles while a job that it
can run is due. The state is soft (``pool_state``): nothing is lost with it, and a fresh one that is fed ``Loaded`` and
the workers' next beats goes on where the old one stopped.

For the shell: feed ``Loaded`` before anything else after an assignment, and every 60 s; ``Tick`` to every pool about
once a second, one outstanding (listening time depends on that); perform effects in order; an ``Offer`` fits if the
document is queued, of this attempt, and due at the ``now`` of this step, else feed ``Seen``.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from schemas.dispatch import AssignmentDeclined, DrainWorker, JobMoved, Tick, WorkerBeat, WorkerGone
from schemas.instants import Instant
from streams.core.documents import on_loaded, on_moved, on_seen
from streams.core.draft import Draft
from streams.core.effects import Offer, SchedulerEffect
from streams.core.fairness import in_order, remembered
from streams.core.leases import grant, watch
from streams.core.places import is_heard, is_waiting, running_by_user, show
from streams.core.pool_state import EAR_STEP_MS, Loaded, Phase, PoolState, Seen, Worker
from streams.core.workers import on_beat, on_declined, on_drain, on_gone

PoolEvent = JobMoved | WorkerBeat | WorkerGone | AssignmentDeclined | DrainWorker | Tick | Seen | Loaded

WORKER_KEPT_MS = 5 * 60_000
ENDED_KEPT_MS = 10 * 60_000
ENDED_KEPT = 4_096


def step(state: PoolState, event: PoolEvent, now: Instant) -> tuple[PoolState, tuple[SchedulerEffect, ...]]:
    """The pool after the event, and what is to be done, in order. ``now`` is the record's time; it never goes back."""
    draft = Draft(state, now)
    _ON[type(event)](draft, event)
    _match(draft)
    return draft.frozen(), tuple(draft.effects)


def _on_tick(draft: Draft, _: Tick) -> None:
    if draft.ticked_at is not None:
        draft.ear += min(draft.now - draft.ticked_at, EAR_STEP_MS)
    draft.ticked_at = draft.now
    draft.ticks += 1
    watch(draft)
    _forget(draft)
    show(draft)


_ON: Mapping[type, Callable[[Draft, Any], None]] = MappingProxyType(
    {
        JobMoved: on_moved,
        Seen: on_seen,
        Loaded: on_loaded,
        WorkerBeat: on_beat,
        WorkerGone: on_gone,
        AssignmentDeclined: on_declined,
        DrainWorker: on_drain,
        Tick: _on_tick,
    }
)


def _match(draft: Draft) -> None:
    """Hand the next jobs in line to the workers that ask: those that ignored no offer, then who asked first."""
    asking = _free_workers(draft)
    if not asking:
        return
    waiting = [entry for entry in draft.jobs.values() if is_waiting(entry, draft.now)]
    if not waiting:
        return
    line = in_order(waiting, running_by_user(draft), draft.shares, draft.now)
    for worker, entry in zip(asking, line, strict=False):
        grant(draft, entry, worker, Phase.OFFERED)
        draft.effects.append(Offer(worker.worker_id, worker.session, entry.job_id, entry.attempt, worker.poll_id))


def _free_workers(draft: Draft) -> list[Worker]:
    """Workers that ask, are heard, and have no offer to answer. One that says READY has ended what it ran before."""
    asking = [worker for worker in draft.workers.values() if worker.asking and is_heard(worker, draft.ear)]
    if not asking:
        return []
    offered = {
        entry.lease.worker_id for entry in draft.jobs.values() if entry.lease and entry.lease.phase is Phase.OFFERED
    }
    free = [worker for worker in asking if worker.worker_id not in offered]
    return sorted(free, key=lambda worker: (worker.ignored, worker.asking_since, worker.worker_id))


def _forget(draft: Draft) -> None:
    """Workers long silent, jobs long ended, shares long decayed."""
    old = [worker.worker_id for worker in draft.workers.values() if draft.ear - worker.heard >= WORKER_KEPT_MS]
    if old:
        draft.workers = {key: worker for key, worker in draft.workers.items() if key not in old}
    if draft.ended:
        over = [key for key, ended in draft.ended.items() if draft.now - ended.at >= ENDED_KEPT_MS]
        over = list(draft.ended)[: max(len(over), len(draft.ended) - ENDED_KEPT)]
        if over:
            gone = set(over)
            draft.ended = {key: ended for key, ended in draft.ended.items() if key not in gone}
    if draft.ticks % 60 == 0:
        draft.shares = remembered(draft.shares, draft.now)
