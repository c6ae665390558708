"""What workers are told, by example: to stop what the document does not say, and to drain."""

import pytest

from schemas.dispatch import DrainSession, StopAttempt, WorkerState
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.pool_state import Seen
from tests.streams.core.pool_steps import T0, Pool, after, job_of, looks, offers, orders


def test_a_drained_worker_is_told_and_gets_nothing() -> None:
    pool = Pool()
    pool.beat()
    assert orders(pool.drain(now=True)) == [DrainSession(worker_id="w1", session="s1", now=True)]
    assert offers(pool.load(job_of("a"))) == []
    assert offers(pool.beat()) == []
    assert offers(pool.beat(session="s2")) == [("a", "w1")]  # only that session was meant


def test_the_order_to_drain_is_repeated_until_a_beat_shows_it() -> None:
    pool = Pool()
    pool.beat()
    pool.drain()
    pool.ticks(5)
    assert orders(pool.beat()) == [DrainSession(worker_id="w1", session="s1", now=False)]
    pool.ticks(5)
    assert orders(pool.beat(state=WorkerState.DRAINING)) == []


def test_a_drain_of_nobody_changes_nothing() -> None:
    pool = Pool()
    assert pool.drain("nobody") == ()
    pool.beat()
    pool.gone()
    assert pool.drain() == ()


def test_a_cancelled_job_is_stopped_at_once_even_if_its_worker_was_not_heard_yet() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    pool.beat()
    effects = pool.move(after(job, state=State.CANCELLED))
    assert [type(order) for order in orders(effects)] == [StopAttempt]
    assert (orders(effects)[0].session, orders(effects)[0].attempt) == ("s1", 1)


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_a_worker_whose_own_report_ended_the_job_needs_no_stop(state: State) -> None:
    pool = Pool()
    job = after(job_of("a"), state=State.PROCESSING, worker_id="w1")
    pool.load(job)
    pool.busy("w1", "a")
    assert pool.move(after(job, state=state)) == ()


def test_a_late_success_stops_whoever_was_handed_the_newer_attempt() -> None:
    pool = Pool()
    job = job_of("a", attempt=2)
    pool.load(job)
    pool.beat("w1")
    pool.busy("w1", "a", 2)
    assert [o.worker_id for o in orders(pool.move(after(job, state=State.COMPLETED, worker_id="w0")))] == ["w1"]


def test_the_same_stop_is_ordered_at_most_once_a_second() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    pool.move(after(job, state=State.CANCELLED))
    ordered = 0
    for _ in range(30):
        ordered += len(orders(pool.busy("w1", "a")))
        pool.at += 100
    assert ordered == 3


@pytest.mark.parametrize(
    "document",
    [
        job_of("a", attempt=2, version=5),
        job_of("a", state=State.PROCESSING, worker_id="w2", started_at=T0, version=5),
        job_of("a", state=State.CANCELLED, version=5),
        job_of("a", state=State.COMPLETED, worker_id="w2", version=5),
        None,
    ],
)
def test_a_worker_that_runs_what_the_document_does_not_say_is_stopped(document: Job | None) -> None:
    pool = Pool()
    assert looks(pool.busy("w1", "a")) == ["a"]
    assert len(orders(pool.feed(Seen("a", document)))) == 1


def test_an_unknown_job_in_a_beat_is_asked_for_at_most_once_a_second() -> None:
    pool = Pool()
    asked = []
    for _ in range(30):
        asked += looks(pool.busy("w1", "a"))
        pool.at += 100
    assert asked == ["a"] * 3


def test_two_workers_on_one_attempt_until_the_document_says_whose_it_is() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    pool.beat("w1")
    pool.busy("w1", "a")
    assert pool.busy("w2", "a") == ()
    effects = pool.move(after(job, state=State.PROCESSING, worker_id="w2"))
    assert [order.worker_id for order in orders(effects)] == ["w1"]
    lease = pool.state.jobs["a"].lease
    assert lease is not None
    assert lease.worker_id == "w2"


def test_a_late_success_of_the_worker_that_was_offered_the_newer_attempt_stops_that() -> None:
    pool = Pool()
    job = job_of("a", attempt=2)
    pool.load(job)
    pool.beat("w1")
    effects = pool.move(after(job, state=State.COMPLETED, worker_id="w1"))
    assert [(order.worker_id, order.attempt) for order in orders(effects)] == [("w1", 2)]


def test_reminders_to_drain_are_spaced() -> None:
    pool = Pool()
    pool.beat()
    pool.drain()
    pool.ticks(2)
    assert orders(pool.beat()) == []
