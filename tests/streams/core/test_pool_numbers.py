"""What operators see of a pool."""

from dataclasses import replace

from schemas.dispatch import WorkerKind, WorkerState
from schemas.lifecycle import State
from streams.core.pool_numbers import SILENT, WORKER_STATES, pool_numbers
from streams.core.pool_state import Entry, Lease, Phase, PoolState, Worker, empty_pool, entry_of
from tests.repo.jobs import NOW, a_job

LEASE = Lease(1, "w1", "s", WorkerKind.NATIVE, Phase.OFFERED, renewed=0, sequence=1, tick=0)


def entry(**changes: object) -> Entry:
    return replace(entry_of(a_job("somebody")), **changes)  # type: ignore[arg-type]


def pool(*entries: Entry, workers: tuple[Worker, ...] = (), ear: int = 0) -> PoolState:
    jobs = {str(number): one for number, one in enumerate(entries)}
    return replace(empty_pool("mochi"), ear=ear, jobs=jobs, workers={one.worker_id: one for one in workers})


def worker(name: str, state: WorkerState, **changes: object) -> Worker:
    made = Worker(worker_id=name, session="s", sequence=1, kind=WorkerKind.NATIVE, state=state, heard=100_000, tick=0)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_jobs_by_what_keeps_them() -> None:
    found = pool_numbers(
        pool(
            entry(due_at=NOW - 5_000),
            entry(due_at=NOW - 9_000),
            entry(due_at=NOW + 1),
            entry(due_at=NOW - 60_000, lease=LEASE),
            entry(due_at=NOW - 90_000, state=State.PROCESSING),
        ),
        NOW,
    )
    assert (found.due, found.later, found.running, found.oldest_ms) == (2, 1, 2, 9_000)


def test_a_lost_lease_is_nobodys() -> None:
    lost = replace(LEASE, phase=Phase.LOST)
    assert pool_numbers(pool(entry(due_at=NOW - 5, lease=lost)), NOW).due == 1


def test_an_empty_pool_has_no_age() -> None:
    assert pool_numbers(empty_pool("mochi"), NOW).oldest_ms == 0


def test_workers_by_state_those_not_heard_and_those_sent_away() -> None:
    workers = (
        worker("a", WorkerState.READY),
        worker("b", WorkerState.BUSY, drain=False),
        worker("c", WorkerState.READY, heard=0),
    )
    found = pool_numbers(pool(workers=workers, ear=100_000), NOW).workers
    assert {state: count for state, count in found.items() if count} == {"ready": 1, "drained": 1, SILENT: 1}
    assert set(found) == set(WORKER_STATES), "one that falls to nothing is shown as nothing"
