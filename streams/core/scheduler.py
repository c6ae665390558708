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
from functools import partial
from heapq import nsmallest
from types import MappingProxyType
from typing import Any

from schemas.dispatch import AssignmentDeclined, DrainWorker, JobMoved, Tick, WorkerBeat, WorkerGone, WorkerKind
from schemas.instants import Instant
from streams.core.documents import on_loaded, on_moved, on_seen
from streams.core.draft import Draft
from streams.core.effects import Offer, SchedulerEffect
from streams.core.fairness import in_order, remembered
from streams.core.leases import grant, watch
from streams.core.numbers import show_pool
from streams.core.places import is_heard, is_waiting, running_by_user, show
from streams.core.pool_state import EAR_STEP_MS, Entry, Lease, Loaded, Phase, PoolState, Seen, Worker
from streams.core.workers import on_beat, on_declined, on_drain, on_gone

PoolEvent = JobMoved | WorkerBeat | WorkerGone | AssignmentDeclined | DrainWorker | Tick | Seen | Loaded

# A slot is one of thousands, and has little to be remembered for: that what it said before its end is not heard again.
WORKER_KEPT_MS: Mapping[WorkerKind, int] = MappingProxyType({WorkerKind.NATIVE: 5 * 60_000, WorkerKind.SDK: 60_000})
# Whoever missed the last beat or two may be gone: others come first.
LATE_MS: Mapping[WorkerKind, int] = MappingProxyType({WorkerKind.NATIVE: 10_000, WorkerKind.SDK: 20_000})
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
    show_pool(draft)


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
    """Hand the next jobs in line to the workers that ask: those that ignored no offer, then who was heard of late, then
    who asked first. A step mostly ends at one of the first two looks: thousands may wait, of the one kind or the other.
    """
    if not any(worker.asking for worker in draft.workers.values()):
        return
    waiting = [entry for entry in draft.jobs.values() if entry.lease is None and is_waiting(entry, draft.now)]
    asking = _free_workers(draft) if waiting else []
    if not asking:
        return
    line = in_order(waiting, running_by_user(draft), draft.shares, draft.now)
    served = nsmallest(len(waiting), asking, key=partial(_turn, draft.ear))
    for worker, entry in zip(served, line, strict=False):
        grant(draft, entry, worker, Phase.OFFERED)
        draft.effects.append(Offer(worker.worker_id, worker.session, entry.job_id, entry.attempt, worker.poll_id))


def _turn(ear: int, worker: Worker) -> tuple[int, bool, Instant, str]:
    return worker.ignored, ear - worker.heard >= LATE_MS[worker.kind], worker.asking_since, worker.worker_id


def _free_workers(draft: Draft) -> list[Worker]:
    """Workers that ask, are heard, and have no offer to answer. One that says READY has ended what it ran before."""
    offered = {
        entry.lease.worker_id
        for entry in draft.jobs.values()
        if entry.lease and entry.lease.phase is Phase.OFFERED and not _is_behind(draft, entry, entry.lease)
    }
    return [
        worker
        for worker in draft.workers.values()
        if worker.asking and worker.worker_id not in offered and is_heard(worker, draft.ear)
    ]


def _is_behind(draft: Draft, entry: Entry, lease: Lease) -> bool:
    """Whether an offer's slot has gone on: its poll was answered, says the document, and now it asks with another.

    A short job ends before any ping names it, and before the ledger's word of its end is here.
    """
    worker = draft.workers.get(lease.worker_id)
    if worker is None or lease.kind is not WorkerKind.SDK:
        return False
    return entry.worker_id == lease.worker_id and worker.poll_id != lease.poll_id


def _forget(draft: Draft) -> None:
    """Workers long silent, jobs long ended, shares long decayed."""
    old = [w.worker_id for w in draft.workers.values() if draft.ear - w.heard >= WORKER_KEPT_MS[w.kind]]
    if old:
        draft.forget_workers(old)
    if draft.ended:
        over = [key for key, ended in draft.ended.items() if draft.now - ended.at >= ENDED_KEPT_MS]
        over = list(draft.ended)[: max(len(over), len(draft.ended) - ENDED_KEPT)]
        if over:
            gone = set(over)
            draft.ended = {key: ended for key, ended in draft.ended.items() if key not in gone}
    if draft.ticks % 60 == 0:
        draft.shares = remembered(draft.shares, draft.now)
