"""Leases and sessions, by example: who has lost a job, who keeps it, and what is known after a rebuild."""

import pytest

from schemas.dispatch import WorkerKind, WorkerState
from schemas.lifecycle import State
from tests.streams.core.pool_steps import T0, Pool, after, job_of, offers, orders, tells


def test_a_native_worker_silent_for_twenty_seconds_is_lost() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    assert tells(pool.ticks(19)) == []
    assert tells(pool.tick()) == [("lost", "a", 1)]


def test_an_sdk_worker_has_forty_five_seconds() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat(kind=WorkerKind.SDK)
    pool.busy("w1", "a", kind=WorkerKind.SDK)
    assert tells(pool.ticks(44)) == []
    assert tells(pool.tick()) == [("lost", "a", 1)]


def test_heartbeats_renew_the_lease() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat()
    for _ in range(20):
        pool.busy("w1", "a")
        assert tells(pool.ticks(5)) == []


def test_what_the_ledger_must_hear_is_repeated_until_the_document_moves() -> None:
    pool = Pool()
    pool.tick()
    job = job_of("a")
    pool.load(job)
    pool.beat()
    pool.busy("w1", "a")
    assert tells(pool.ticks(49)) == [("lost", "a", 1)] * 3  # at 20, 30 and 40 s
    pool.move(after(job, attempt=2, due_at=pool.at))
    assert tells(pool.ticks(60)) == []


def test_an_outage_is_not_taken_for_silence() -> None:
    """Nothing is read for an hour; then a tick, and behind it the beats that were sent meanwhile."""
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    assert tells(pool.tick(3_600_000 // 10)) == []
    pool.busy("w1", "a")
    assert tells(pool.ticks(15)) == []


def test_a_backlog_of_old_ready_beats_is_not_taken_for_a_refusal() -> None:
    """The worker said READY for minutes before the offer went out; those beats are read after it, without a tick."""
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat()
    for _ in range(60):
        pool.at += 5_000
        assert pool.beat() == ()
    pool.busy("w1", "a")
    assert tells(pool.ticks(15)) == []


def test_the_execution_timeout_bounds_a_lease_however_alive_the_worker_is() -> None:
    pool = Pool()
    pool.load(job_of("a", execution_timeout_ms=12_000))
    pool.beat()
    told = []
    for _ in range(3):
        pool.busy("w1", "a")
        told += pool.ticks(5)
    assert tells(told) == [("execution_timeout", "a", 1)]
    assert [(order.job_id, order.attempt) for order in orders(told)] == [("a", 1)]


def test_the_execution_timeout_counts_from_the_start_that_the_document_has() -> None:
    pool = Pool(at=T0 + 60_000)
    started = job_of("a", state=State.PROCESSING, worker_id="w1", started_at=T0, execution_timeout_ms=62_000)
    pool.load(started)
    pool.busy("w1", "a")
    assert tells(pool.tick()) == []
    assert tells(pool.tick()) == [("execution_timeout", "a", 1)]


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_a_job_that_outlives_its_ttl_is_told_every_ten_seconds(state: State) -> None:
    pool = Pool()
    pool.load(job_of("a", state=state, worker_id="w1" if state is State.PROCESSING else None, expires_at=T0 + 5_000))
    effects = pool.ticks(26)
    assert tells(effects) == [("ttl_expired", "a", 1)] * 3
    assert offers(pool.beat("w2")) == []  # it is not handed out any more


def test_a_new_session_of_a_worker_ends_the_old_lease_at_once() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    assert tells(pool.beat(state=WorkerState.STARTING, session="s2")) == [("lost", "a", 1)]


def test_a_new_session_that_still_runs_the_attempt_keeps_the_lease() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    assert pool.busy("w1", "a", session="s2") == ()
    lease = pool.state.jobs["a"].lease
    assert lease is not None
    assert lease.session == "s2"


def test_an_old_message_read_late_does_not_cost_the_worker() -> None:
    """A rebuilt scheduler does not know which sessions are over; the living one is heard again after a lease."""
    pool = Pool()
    pool.tick()
    pool.beat(session="s2")
    pool.beat(session="s1")
    for _ in range(4):
        pool.ticks(5)
        pool.beat(session="s2")
    assert offers(pool.load(job_of("a"))) == [("a", "w1")]
    assert pool.state.workers["w1"].session == "s2"


def test_a_former_session_is_not_heard_but_told_to_stop() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    pool.beat(state=WorkerState.STARTING, session="s2")
    effects = pool.busy("w1", "a")
    assert [(order.session, order.job_id) for order in orders(effects)] == [("s1", "a")]
    assert pool.state.workers["w1"].session == "s2"


def test_after_a_rebuild_leases_of_processing_jobs_start_from_now() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a", state=State.PROCESSING, worker_id="w1", started_at=T0 - 500_000))
    assert tells(pool.ticks(44)) == []  # the worker's kind is not known: the longer time
    assert tells(pool.tick()) == [("lost", "a", 1)]


def test_after_a_rebuild_a_beat_takes_its_job_over() -> None:
    pool = Pool()
    pool.load(job_of("a"), job_of("b"))
    pool.busy("w1", "a")
    assert offers(pool.beat("w2")) == [("b", "w2")]
    assert offers(pool.beat("w3")) == []


def test_after_a_rebuild_a_worker_that_does_not_run_its_job_has_lost_it() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a", state=State.PROCESSING, worker_id="w1", started_at=T0))
    told = []
    for _ in range(4):
        pool.beat("w1")
        told += pool.ticks(5)
    assert tells(told)[0] == ("lost", "a", 1)


def test_a_worker_that_says_ready_is_free_though_the_ledger_is_behind() -> None:
    pool = Pool()
    pool.load(job_of("a"), job_of("b", created_at=T0 + 1))
    pool.beat()
    pool.busy("w1", "a")
    assert offers(pool.beat()) == [("b", "w1")]


def test_a_worker_that_comes_back_before_the_document_moves_has_its_lease_again() -> None:
    pool = Pool()
    pool.tick()
    pool.load(job_of("a"))
    pool.beat()
    pool.busy("w1", "a")
    assert tells(pool.ticks(21)) == [("lost", "a", 1)]
    pool.busy("w1", "a")
    assert tells(pool.ticks(15)) == []


def test_an_old_message_of_a_former_session_asks_for_nothing_however_silent_its_successor() -> None:
    pool = Pool()
    pool.tick()
    pool.beat(sequence=5)
    pool.beat(session="s2")
    pool.load(job_of("a"))
    pool.move(after(job_of("a"), state=State.CANCELLED))
    pool.ticks(30)
    pool.see(job_of("b"))
    assert offers(pool.beat(sequence=5)) == []


def test_only_the_last_sessions_of_a_worker_are_remembered() -> None:
    pool = Pool()
    for n in range(50):
        pool.beat(session=f"s{n}")
    assert [name for name, _ in pool.state.workers["w1"].past] == [f"s{n}" for n in range(41, 49)]
