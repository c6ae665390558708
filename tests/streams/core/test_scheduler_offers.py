"""Offers that came to nothing, by example: not taken, declined, or their worker has left."""

import pytest

from schemas.dispatch import WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.lifecycle import State
from tests.streams.core.pool_steps import T0, Pool, after, job_of, offers, tells


def _ping(job_id: str, sequence: int) -> WorkerBeat:
    return WorkerBeat(
        pool="mochi",
        worker_id="w1",
        session="s1",
        sequence=sequence,
        state=WorkerState.BUSY,
        kind=WorkerKind.SDK,
        job_id=job_id,
    )


def test_an_offer_that_a_living_worker_never_takes_is_handed_back_at_no_cost() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"), job_of("b", created_at=T0 + 1))
    pool.beat()
    effects = []
    for _ in range(3):
        effects += pool.ticks(5)
        effects += pool.beat()
    assert tells(effects) == [("handed_back", "a", 1)]
    assert offers(effects) == [("b", "w1")]  # the worker is of use again


def test_a_worker_that_let_an_offer_pass_comes_after_all_others_until_it_runs_something() -> None:
    pool = Pool()
    pool.tick()
    job = job_of("a")
    pool.load(job)
    assert offers(pool.beat("idler")) == [("a", "idler")]
    pool.at += 1
    pool.beat("w1")  # asks later than the idler, which has asked all along
    for _ in range(9):
        pool.tick()
        pool.beat("idler")
        pool.beat("w1")
    assert tells(pool.tick()) == [("handed_back", "a", 1)]
    again = after(job, attempt=2)
    assert offers(pool.move(again)) == [("a", "w1")]
    pool.busy("w1", "a", 2)

    assert offers(pool.see(job_of("b"))) == [("b", "idler")]  # alone, it is asked again
    pool.busy("idler", "b")
    pool.move(after(job_of("b"), state=State.COMPLETED, worker_id="idler"))
    pool.beat("idler")
    pool.at += 1
    pool.move(after(again, state=State.COMPLETED, worker_id="w1"))
    pool.beat("w1")
    assert offers(pool.see(job_of("c"))) == [("c", "idler")]  # it has worked: who asked first is served first


def test_an_sdk_poll_unseen_in_pings_for_thirty_seconds_is_handed_back() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat(kind=WorkerKind.SDK, poll_id="p1")
    for _ in range(2):
        assert tells(pool.ticks(10)) == []
        pool.beat(kind=WorkerKind.SDK, poll_id="p1")
    assert tells(pool.ticks(10)) == [("handed_back", "a", 1)]


def test_an_sdk_poll_that_the_ledger_calls_started_is_handed_back_all_the_same() -> None:
    """The gateway reports the start when it hands the job to the poll; only pings show that the worker has it."""
    pool = Pool()
    pool.tick()
    job = job_of("a")
    pool.load(job)
    pool.beat(kind=WorkerKind.SDK, poll_id="p1")
    pool.move(after(job, state=State.PROCESSING, worker_id="w1"))
    assert tells(pool.ticks(29)) == []
    assert tells(pool.tick()) == [("handed_back", "a", 1)]


def test_an_sdk_ping_names_the_job_alone() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a", attempt=2))
    pool.beat(kind=WorkerKind.SDK, poll_id="p1")
    sequence = 2
    for _ in range(6):
        sequence += 1
        pool.feed(_ping("a", sequence))
        assert tells(pool.ticks(10)) == []


def test_a_declined_job_goes_to_another_worker_and_the_decliner_must_ask_again() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat("w1")
    assert pool.decline("w1", "a") == ()
    assert offers(pool.tick()) == []
    assert offers(pool.beat("w2")) == [("a", "w2")]
    assert offers(pool.beat("w1")) == []
    assert pool.state.jobs["a"].attempt == 1


def test_a_decline_is_read_after_a_later_ready() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat(sequence=1)
    pool.beat(sequence=3)
    assert offers(pool.decline("w1", "a", sequence=2)) == [("a", "w1")]


def test_a_worker_that_leaves_with_a_job_has_lost_it() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    assert tells(pool.gone()) == [("lost", "a", 1)]


def test_a_worker_that_leaves_before_it_took_its_offer_hands_it_back() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat()
    assert tells(pool.gone()) == [("handed_back", "a", 1)]


@pytest.mark.parametrize("known", [True, False])
def test_late_beats_of_a_worker_that_left_ask_for_nothing(known: bool) -> None:
    pool = Pool()
    pool.load(job_of("a"))
    if known:
        pool.beat(state=WorkerState.STARTING)
    pool.gone()
    assert offers(pool.beat(sequence=1)) == []
    assert offers(pool.beat(session="s2")) == [("a", "w1")]


def test_beats_of_a_worker_that_left_ask_for_nothing_however_late() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat(state=WorkerState.STARTING, sequence=1)
    pool.feed(WorkerGone(pool="mochi", worker_id="w1", session="s1", sequence=3))
    pool.ticks(30)
    assert offers(pool.beat(sequence=2)) == []
