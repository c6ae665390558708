"""The workers of a pool, as they are shown."""

from typing import Any

import pytest

from schemas.dispatch import WorkerKind, WorkerState
from schemas.lifecycle import State
from schemas.progress import PoolShown
from schemas.slots import Slot
from streams.core.effects import ShowPool
from streams.core.pool_state import Numbers
from tests.streams.core.pool_steps import POOL, Pool, after, job_of

GATEWAY = "0123456789ab"


def shown(effects: Any) -> list[tuple[int, int, int, int]]:
    """(idle, running, starting, draining) of each time that it was shown."""
    told = [effect.message for effect in effects if isinstance(effect, ShowPool)]
    assert all(isinstance(one, PoolShown) and one.pool == POOL for one in told)
    return [(one.idle, one.running, one.starting, one.draining) for one in told]


def slot(pod: str, number: int = 1) -> str:
    return Slot("e1", pod, GATEWAY, number).worker_id


def ready(pool: Pool, worker_id: str) -> None:
    pool.beat(worker_id, session=GATEWAY, kind=WorkerKind.SDK, poll_id="p")


@pytest.mark.parametrize(
    ("state", "numbers"),
    [
        (WorkerState.READY, (1, 0, 0, 0)),
        (WorkerState.BUSY, (0, 1, 0, 0)),
        (WorkerState.STARTING, (0, 0, 1, 0)),
        (WorkerState.DRAINING, (0, 0, 0, 1)),
    ],
)
def test_each_state_of_a_worker_has_its_number(state: WorkerState, numbers: tuple[int, ...]) -> None:
    pool = Pool()
    pool.beat(state=state)
    assert shown(pool.tick()) == [numbers]


def test_a_worker_that_takes_no_jobs_for_good_is_none() -> None:
    pool = Pool()
    pool.beat(state=WorkerState.DEFUNCT)
    assert shown(pool.ticks(30)) == []


def test_a_worker_that_an_operator_drains_is_not_idle() -> None:
    pool = Pool()
    pool.beat()
    pool.drain()
    assert shown(pool.tick()) == [(0, 0, 0, 1)]


def test_pods_are_counted_and_one_that_runs_anything_runs() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    ready(pool, slot("pod"))
    pool.move(after(job_of("a"), state=State.PROCESSING, worker_id=slot("pod")))
    ready(pool, slot("pod", 2))
    ready(pool, slot("other", 1))
    ready(pool, slot("other", 2))
    pool.beat("gpu-1")
    assert shown(pool.tick()) == [(2, 1, 0, 0)]
    pool.move(after(job_of("a", version=2), state=State.COMPLETED, worker_id=slot("pod")))
    assert shown(pool.tick()) == [(3, 0, 0, 0)]


def test_a_job_that_was_only_offered_runs_nowhere_yet() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    ready(pool, slot("pod"))
    assert shown(pool.tick()) == [(1, 0, 0, 0)]


def test_changes_are_shown_once_a_second_at_most_and_else_every_ten() -> None:
    pool = Pool()
    pool.beat()
    assert shown(pool.tick()) == [(1, 0, 0, 0)]
    pool.busy("w1", "a")
    assert shown(pool.tick(400)) == []
    assert shown(pool.tick(600)) == [(0, 1, 0, 0)]
    again = []
    for _ in range(5):
        pool.busy("w1", "a")
        again += shown(pool.ticks(4))
    assert again == [(0, 1, 0, 0)] * 2


def test_when_the_last_worker_is_gone_that_is_shown_once() -> None:
    pool = Pool()
    pool.beat()
    pool.tick()
    pool.gone()
    assert shown(pool.ticks(60)) == [(0, 0, 0, 0)]


def test_a_silent_worker_is_none_and_a_pool_with_jobs_alone_is_shown() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a", due_at=pool.at + 3_600_000))
    assert shown(pool.tick()) == [(0, 0, 0, 0)]
    pool.beat()
    assert shown(pool.tick()) == [(1, 0, 0, 0)]
    assert shown(pool.ticks(19)) == [(1, 0, 0, 0), (0, 0, 0, 0)]
    assert shown(pool.ticks(20)) == [(0, 0, 0, 0)] * 2


def test_a_pool_of_which_nothing_is_known_is_not_shown() -> None:
    pool = Pool()
    assert shown(pool.ticks(60)) == []
    assert pool.state.numbers == Numbers()
