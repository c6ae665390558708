"""Places in the queue and estimated waits, for those who watch: at most once a second, the first hundred, on change."""

from collections import Counter
from heapq import heapify, heapreplace
from itertools import islice

from schemas.dispatch import WorkerState
from schemas.endpoints import is_external_pool
from schemas.instants import Instant
from schemas.lifecycle import State
from schemas.progress import QueuePlace
from streams.core.draft import Draft
from streams.core.effects import ShowPlace
from streams.core.estimates import expected_ms
from streams.core.fairness import in_order
from streams.core.leases import SILENT_MS
from streams.core.pool_state import LIVE, Entry, Shown, Worker

SHOW_AGAIN_MS = 1_000
SHOWN_MOST = 100
STEADY_MS = 5_000
STEADY_PART = 0.1


def is_heard(worker: Worker, ear: int) -> bool:
    """Whether the worker gave a sign of life within the time of a lease."""
    return ear - worker.heard < SILENT_MS[worker.kind]


def is_waiting(entry: Entry, now: Instant) -> bool:
    """Whether the job may be handed out: queued, due, not expired, and nobody has it."""
    return entry.lease is None and entry.state is State.QUEUED and entry.due_at <= now < entry.expires_at


def running_by_user(draft: Draft) -> Counter[str]:
    """Live attempts by user."""
    return Counter(entry.user_id for entry in draft.jobs.values() if entry.lease and entry.lease.phase in LIVE)


def show(draft: Draft) -> None:
    """On a tick: tell the watchers of the first jobs in line where they stand, where that changed.

    What external workers run has no watchers.
    """
    if is_external_pool(draft.state.pool) or draft.now - draft.shown_at < SHOW_AGAIN_MS:
        return
    waiting = [entry for entry in draft.jobs.values() if is_waiting(entry, draft.now)]
    if not waiting and not draft.shown:
        return
    line = list(islice(in_order(waiting, running_by_user(draft), draft.shares, draft.now), SHOWN_MOST))
    shown: dict[str, Shown] = {}
    for place, (entry, wait) in enumerate(zip(line, _waits(draft, line), strict=True), start=1):
        before = draft.shown.get(entry.job_id)
        fresh = Shown(place, None if wait is None else draft.now + wait)
        if before is not None and _same(before, fresh, draft.now):
            shown[entry.job_id] = before
            continue
        shown[entry.job_id] = fresh
        draft.effects.append(ShowPlace(_message(draft, entry, place, wait)))
    draft.show(shown)


def _message(draft: Draft, entry: Entry, place: int, wait: int | None) -> QueuePlace:
    """``sequence`` is the time, so that it grows across restarts of the scheduler too."""
    return QueuePlace(
        user_id=entry.user_id,
        job_id=entry.job_id,
        sequence=draft.now,
        attempt=entry.attempt,
        place=place,
        eta_ms=wait,
    )


def _same(before: Shown, fresh: Shown, now: Instant) -> bool:
    """The same place, and about the same promised start: a wait that merely runs down is no news."""
    if before.place != fresh.place or (before.start_at is None) != (fresh.start_at is None):
        return False
    if before.start_at is None or fresh.start_at is None:
        return True
    return abs(before.start_at - fresh.start_at) <= max(STEADY_MS, STEADY_PART * (fresh.start_at - now))


def _waits(draft: Draft, line: list[Entry]) -> list[int | None]:
    """How long until each starts, in ms, if jobs take what their shapes took; None where nothing is known."""
    free = _free_in(draft)
    heapify(free)
    waits: list[int | None] = []
    for entry in line:
        took = expected_ms(draft.durations, entry.shape)
        if not free or took is None:
            return waits + [None] * (len(line) - len(waits))
        waits.append(round(free[0]))
        heapreplace(free, free[0] + took)
    return waits


def _free_in(draft: Draft) -> list[float]:
    """In how many ms each working worker is free; empty where a running job's length can't be told."""
    busy: dict[str, float] = {}
    for entry in draft.jobs.values():
        if entry.lease is None or entry.lease.phase not in LIVE:
            continue
        took = expected_ms(draft.durations, entry.shape)
        if took is None:
            return []
        busy[entry.lease.worker_id] = max(0.0, took - (draft.now - (entry.started_at or draft.now)))
    working = (WorkerState.READY, WorkerState.BUSY)
    return [
        busy.get(worker.worker_id, 0.0)
        for worker in draft.workers.values()
        if worker.state in working and worker.drain is None and is_heard(worker, draft.ear)
    ]
