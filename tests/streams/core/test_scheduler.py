"""The scheduler by example, one test a sentence of the design: which worker is handed which job. Its leases, offers and
orders are in files of their own beside this one."""

import pytest

from schemas.dispatch import WorkerKind, WorkerState
from schemas.lifecycle import State
from streams.core.effects import Offer
from streams.core.scheduler import ENDED_KEPT, ENDED_KEPT_MS, WORKER_KEPT_MS
from tests.streams.core.pool_steps import T0, Pool, after, job_of, looks, offers


def test_a_ready_worker_is_handed_exactly_one_job() -> None:
    pool = Pool()
    pool.load(job_of("a"), job_of("b"))
    assert offers(pool.beat()) == [("a", "w1")]
    assert offers(pool.beat()) == []  # says so again before it read the offer
    assert offers(pool.tick()) == []


def test_the_offer_names_session_attempt_and_poll() -> None:
    pool = Pool()
    pool.load(job_of("a", attempt=3))
    effects = pool.beat(kind=WorkerKind.SDK, session="s9", poll_id="p7")
    assert effects == (Offer(worker_id="w1", session="s9", job_id="a", attempt=3, poll_id="p7"),)


def test_a_job_that_comes_meets_a_worker_that_waits() -> None:
    pool = Pool()
    pool.beat()
    job = job_of("a")
    assert looks(pool.move(job)) == ["a"]
    assert offers(pool.see(job)) == [("a", "w1")]


def test_no_head_of_line_blocking_a_long_job_holds_nobody_back() -> None:
    pool = Pool()
    pool.load(job_of("long", created_at=T0 - 1), job_of("b"), job_of("c"))
    pool.beat("w1")
    pool.busy("w1", "long")
    assert offers(pool.beat("w2")) == [("b", "w2")]
    assert offers(pool.beat("w3")) == [("c", "w3")]


def test_the_worker_that_asked_first_is_served_first() -> None:
    pool = Pool()
    pool.beat("w2")
    pool.at += 1
    pool.beat("w1")
    pool.at += 1
    pool.beat("w2")  # asking again does not lose its turn
    assert offers(pool.load(job_of("a"))) == [("a", "w2")]


def test_priority_then_the_user_served_least_then_age() -> None:
    pool = Pool()
    pool.load(
        job_of("old", "ann", created_at=T0 - 9),
        job_of("older", "ann", created_at=T0 - 10),
        job_of("bob", "bob", created_at=T0),
        job_of("first", "ann", priority=1),
    )
    given = [offers(pool.beat(f"w{n}"))[0][0] for n in range(4)]
    assert given == ["first", "bob", "older", "old"]


def test_a_retry_waits_for_its_due_time() -> None:
    pool = Pool()
    pool.load(job_of("a", attempt=2, due_at=T0 + 2_500))
    assert offers(pool.beat()) == []
    assert offers(pool.ticks(2)) == []
    assert offers(pool.tick()) == [("a", "w1")]


def test_a_decline_that_is_read_twice_takes_nothing_from_a_later_offer() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat(sequence=1)
    pool.decline("w1", "a", sequence=2)
    assert offers(pool.beat(sequence=3)) == [("a", "w1")]
    assert pool.decline("w1", "a", sequence=2) == ()
    assert pool.state.jobs["a"].lease is not None


@pytest.mark.parametrize("state", [s for s in WorkerState if s is not WorkerState.READY])
def test_only_ready_workers_get_jobs(state: WorkerState) -> None:
    pool = Pool()
    pool.load(job_of("a"))
    assert offers(pool.beat(state=state)) == []
    assert offers(pool.tick()) == []


def test_a_worker_that_was_not_heard_of_for_a_lease_gets_nothing() -> None:
    pool = Pool()
    pool.tick()
    pool.beat()
    pool.ticks(20)
    assert offers(pool.load(job_of("a"))) == []
    assert offers(pool.beat()) == [("a", "w1")]


def test_time_does_not_go_back() -> None:
    pool = Pool()
    pool.load(job_of("a", due_at=T0 + 500))
    pool.tick()
    pool.at = T0 - 10_000
    assert offers(pool.beat()) == [("a", "w1")]
    assert pool.state.now == T0 + 1_000


def test_silent_workers_and_ended_jobs_are_forgotten() -> None:
    pool = Pool()
    pool.tick()
    pool.beat()
    for n in range(ENDED_KEPT + 10):
        pool.move(job_of(f"j{n}", state=State.CANCELLED))
    pool.tick()
    assert len(pool.state.ended) == ENDED_KEPT
    assert "j0" not in pool.state.ended
    pool.ticks(max(*WORKER_KEPT_MS.values(), ENDED_KEPT_MS) // 1_000)
    assert (dict(pool.state.workers), dict(pool.state.ended)) == ({}, {})


def test_a_step_changes_nothing_in_the_state_it_was_given() -> None:
    pool = Pool()
    pool.load(job_of("a"), job_of("b"))
    before = pool.state
    copy = (dict(before.jobs), dict(before.workers), dict(before.shares))
    pool.beat()
    pool.move(after(job_of("b"), state=State.CANCELLED))
    assert (dict(before.jobs), dict(before.workers), dict(before.shares)) == copy
