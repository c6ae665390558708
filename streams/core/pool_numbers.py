"""What operators watch of one pool: how much waits and for how long, what runs, what its workers do."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.dispatch import WorkerState
from schemas.instants import Instant
from schemas.lifecycle import State
from streams.core.places import is_heard
from streams.core.pool_state import LIVE, Entry, PoolState, Worker

SILENT = "silent"  # known, and not heard of for as long as a lease lasts
DRAINED = "drained"  # by an operator; it takes no more
WORKER_STATES = (*map(str, WorkerState), SILENT, DRAINED)


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """Jobs that may be handed out now (``due``), those whose time has not come (``later``), those that a worker has.

    ``oldest_ms``: for how long the longest due one may be handed out. ``workers`` by ``WORKER_STATES``; each slot of an
    external worker counts.
    """

    due: int
    later: int
    running: int
    oldest_ms: int
    workers: Mapping[str, int]


def pool_numbers(state: PoolState, now: Instant) -> PoolNumbers:
    """As the pool is; ``now`` on the clock of its records (ms)."""
    due = later = running = 0
    oldest = now
    for entry in state.jobs.values():
        if entry.state is State.PROCESSING or _is_handed_out(entry):
            running += 1
        elif entry.due_at > now:
            later += 1
        else:
            due += 1
            oldest = min(oldest, entry.due_at)
    workers = Counter(_does(worker, state.ear) for worker in state.workers.values())
    return PoolNumbers(due, later, running, now - oldest, {name: workers[name] for name in WORKER_STATES})


def _is_handed_out(entry: Entry) -> bool:
    return entry.lease is not None and entry.lease.phase in LIVE


def _does(worker: Worker, ear: int) -> str:
    if not is_heard(worker, ear):
        return SILENT
    return str(worker.state) if worker.drain is None else DRAINED
