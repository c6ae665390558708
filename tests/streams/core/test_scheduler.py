"""The scheduler by example: one test a sentence of the design."""

import pytest

from schemas.dispatch import DrainSession, StopAttempt, WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.effects import Offer
from streams.core.pool_state import Seen
from streams.core.scheduler import ENDED_KEPT, ENDED_KEPT_MS, WORKER_KEPT_MS
from tests.streams.core.pool_steps import T0, Pool, after, job_of, looks, offers, orders, tells


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


def test_a_decline_that_is_read_twice_takes_nothing_from_a_later_offer() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat(sequence=1)
    pool.decline("w1", "a", sequence=2)
    assert offers(pool.beat(sequence=3)) == [("a", "w1")]
    assert pool.decline("w1", "a", sequence=2) == ()
    assert pool.state.jobs["a"].lease is not None


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
