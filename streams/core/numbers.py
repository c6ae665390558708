"""How many workers a pool has, shown to whoever asks how it is: at once (within a tick) when that changes, and again
while there are workers or jobs, for gateways that have not heard it yet. Pods are counted, not their slots: a pod is
what its owner runs and pays for.
"""

from collections import Counter
from enum import IntEnum

from schemas.dispatch import WorkerKind, WorkerState
from schemas.lifecycle import State
from schemas.progress import PoolShown
from streams.core.draft import Draft
from streams.core.effects import ShowPool
from streams.core.places import is_heard
from streams.core.pool_state import LIVE, NOBODY, Numbers, Worker

SHOW_AGAIN_MS = 1_000
SHOW_ANYWAY_MS = 10_000


class Does(IntEnum):
    """What a worker does, in the order of what it says of its pod: one that runs a job and waits for another runs."""

    STARTS = 0
    DRAINS = 1
    WAITS = 2
    RUNS = 3


def show_pool(draft: Draft) -> None:
    """On a tick: the numbers, where they changed or were shown long ago."""
    numbers = numbers_of(draft)
    since = draft.now - draft.numbers_at
    due = since >= (SHOW_AGAIN_MS if numbers != draft.numbers else SHOW_ANYWAY_MS)
    if not due or (numbers == draft.numbers == NOBODY and not draft.jobs):
        return
    draft.numbers, draft.numbers_at = numbers, draft.now
    draft.effects.append(ShowPool(PoolShown(pool=draft.state.pool, **numbers._asdict(), shown_at=draft.now)))


def numbers_of(draft: Draft) -> Numbers:
    """The workers that are heard, by what they do; the slots of a pod are one worker."""
    having = {
        entry.lease.worker_id
        for entry in draft.jobs.values()
        if entry.state is State.PROCESSING and entry.lease and entry.lease.phase in LIVE
    }
    pods: dict[str, Does] = {}
    for worker in draft.workers.values():
        does = _does(worker, having) if is_heard(worker, draft.ear) else None
        if does is not None:
            pod = _pod_of(worker)
            pods[pod] = max(does, pods.get(pod, does))
    count = Counter(pods.values())
    return Numbers(count[Does.WAITS], count[Does.RUNS], count[Does.STARTS], count[Does.DRAINS])


def _does(worker: Worker, having: set[str]) -> Does | None:
    if worker.state is WorkerState.BUSY or worker.worker_id in having:
        return Does.RUNS
    if worker.drain is not None or worker.state is WorkerState.DRAINING:
        return Does.DRAINS
    match worker.state:
        case WorkerState.READY:
            return Does.WAITS
        case WorkerState.STARTING:
            return Does.STARTS
    return None


def _pod_of(worker: Worker) -> str:
    """A slot's id without its gateway and number (``schemas/slots.py``)."""
    return worker.worker_id.rsplit(":", 2)[0] if worker.kind is WorkerKind.SDK else worker.worker_id
