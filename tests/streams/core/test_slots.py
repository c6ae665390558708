"""Slots of RunPod's workers: what their polls, their pings and the documents say, in whatever order it is heard."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from schemas.dispatch import AssignmentDeclined, WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.slots import Slot
from streams.core.effects import Offer
from streams.core.pool_state import Phase, Worker
from streams.core.scheduler import LATE_MS
from tests.streams.core.pool_steps import POOL, Pool, after, job_of, looks, offers, orders, tells

HERE, THERE = "0a0a0a0a0a0a", "0b0b0b0b0b0b"
SLOT = Slot("e1", "pod", HERE, 1).worker_id
SECOND = Slot("e1", "pod", HERE, 2).worker_id
MOVED = Slot("e1", "pod", THERE, 1).worker_id
CLOCK = 1_000_000


class Slots(Pool):
    """A pool whose workers are slots; sequences are times, of whichever gateway speaks."""

    def ready(self, worker_id: str = SLOT, poll: str = "p1", *, at: int | None = None) -> Any:
        return self.beat(
            worker_id,
            session=worker_id.split(":")[3],
            sequence=self.at + CLOCK if at is None else at,
            kind=WorkerKind.SDK,
            poll_id=poll,
        )

    def ping(self, job_id: str = "a", attempt: int | None = 1, worker_id: str = SLOT, *, ahead: int = 0) -> Any:
        return self.feed(
            WorkerBeat(
                pool=POOL,
                worker_id=worker_id,
                session=worker_id.split(":")[3],
                sequence=self.at + CLOCK + ahead,
                state=WorkerState.BUSY,
                kind=WorkerKind.SDK,
                job_id=job_id,
                attempt=attempt,
            )
        )

    def leaves(self, worker_id: str = SLOT, *, at: int | None = None) -> Any:
        sequence = self.at + CLOCK if at is None else at
        return self.feed(WorkerGone(pool=POOL, worker_id=worker_id, session=worker_id.split(":")[3], sequence=sequence))

    def declines(self, job_id: str, worker_id: str = SLOT) -> Any:
        return self.feed(
            AssignmentDeclined(
                pool=POOL,
                worker_id=worker_id,
                session=worker_id.split(":")[3],
                sequence=self.at + CLOCK,
                job_id=job_id,
                attempt=1,
            )
        )

    def phase(self, job_id: str = "a") -> Phase | None:
        lease = self.state.jobs[job_id].lease
        return lease.phase if lease else None

    def worker(self, worker_id: str = SLOT) -> Worker:
        return self.state.workers[worker_id]


def taken(job: Job, worker_id: str = SLOT) -> Job:
    """Its poll was answered with it, says the document."""
    return after(job, state=State.PROCESSING, worker_id=worker_id, started_at=job.due_at)


def offered() -> tuple[Slots, Job]:
    pool, job = Slots(), job_of("a")
    pool.tick()
    pool.load(job)
    assert offers(pool.ready()) == [("a", SLOT)]
    return pool, job


def test_a_document_that_says_started_is_no_word_of_the_worker() -> None:
    """The answer to its poll may have been lost on the way: unseen for half a minute, the job goes back unharmed."""
    pool, job = offered()
    pool.move(taken(job))
    assert pool.phase() is Phase.OFFERED
    assert tells(pool.ticks(29)) == []
    assert tells(pool.tick()) == [("handed_back", "a", 1)]


def test_once_named_and_then_silent_it_is_lost_after_three_quarters_of_a_minute() -> None:
    pool, job = offered()
    pool.move(taken(job))
    pool.ping()
    assert pool.phase() is Phase.RUNNING
    assert tells(pool.ticks(44)) == []
    assert tells(pool.tick()) == [("lost", "a", 1)]


def test_once_named_and_then_not_by_a_slot_that_asks_it_is_lost() -> None:
    pool, job = offered()
    pool.move(taken(job))
    pool.ping()
    told = []
    for n in range(3):
        told += tells(pool.ticks(10))
        pool.ready(poll=f"p{n + 2}")
    assert told == [("lost", "a", 1)]


def test_a_word_that_comes_late_gives_the_lease_back() -> None:
    pool, job = offered()
    pool.move(taken(job))
    assert tells(pool.ticks(30)) == [("handed_back", "a", 1)]
    pool.ping()
    assert pool.phase() is Phase.RUNNING
    assert tells(pool.ticks(44)) == []


@pytest.mark.parametrize("ahead", [-600_000, -1, 0, 1, 600_000])
def test_pings_count_by_whatever_clock_and_do_not_outrun_the_next_poll(ahead: int) -> None:
    pool, job = offered()
    pool.move(taken(job))
    for _ in range(8):
        pool.ping(ahead=ahead)
        assert tells(pool.ticks(10)) == []
    pool.move(after(taken(job), state=State.COMPLETED))
    pool.load(job_of("b"))
    assert offers(pool.ready(poll="p2")) == [("b", SLOT)]


def test_a_slot_says_ready_again_every_quarter_of_a_minute_and_is_handed_one_job() -> None:
    pool = Slots()
    pool.tick()
    for _ in range(8):
        assert offers(pool.ready()) == []
        pool.ticks(15)
    assert offers(pool.load(job_of("a"), job_of("b"))) == [("a", SLOT)]
    assert offers(pool.ready()) == []


def test_a_slot_that_was_not_heard_for_long_is_handed_nothing() -> None:
    pool = Slots()
    pool.tick()
    pool.ready()
    pool.ticks(45)
    assert offers(pool.load(job_of("a"))) == []


@pytest.mark.parametrize("named", [True, False])
def test_a_slot_whose_job_has_ended_is_free_for_its_next_poll_at_once(named: bool) -> None:
    """The report is in the log, but the ledger's word of it is not here yet."""
    pool, job = offered()
    pool.move(taken(job))
    if named:
        pool.ping()
    pool.load(taken(job), job_of("b"))
    pool.at += 3
    assert offers(pool.ready(poll="p2")) == [("b", SLOT)]
    assert orders(pool.move(after(taken(job), state=State.COMPLETED))) == []


def test_the_same_poll_said_again_is_no_free_slot() -> None:
    pool, job = offered()
    pool.move(taken(job))
    pool.load(taken(job), job_of("b"))
    pool.at += 3
    assert offers(pool.ready()) == []


def test_a_slot_that_took_its_job_asks_no_more_until_its_next_poll() -> None:
    """The job may be over before the worker comes back: nobody would be there to take another."""
    pool, job = offered()
    pool.load(job, job_of("b"))
    pool.move(taken(job))
    assert not pool.worker().asking
    assert offers(pool.move(after(taken(job), state=State.COMPLETED))) == []
    pool.at += 3
    assert offers(pool.ready(poll="p2")) == [("b", SLOT)]


def test_nor_does_one_whose_job_is_heard_of_at_its_end_only() -> None:
    pool, job = offered()
    pool.load(job, job_of("b"))
    assert offers(pool.see(after(taken(job), state=State.COMPLETED))) == []
    pool.at += 3
    assert offers(pool.ready(poll="p2")) == [("b", SLOT)]


def test_a_slot_whose_offer_did_not_fit_still_asks() -> None:
    pool, job = offered()
    pool.load(job, job_of("b"))
    assert offers(pool.see(after(job, state=State.CANCELLED))) == [("b", SLOT)]


def test_another_poll_while_the_document_still_waits_is_no_free_slot() -> None:
    """Its gateway declines the order that came too late for its poll."""
    pool, _ = offered()
    pool.load(job_of("a"), job_of("b"))
    pool.at += 3
    assert offers(pool.ready(poll="p2")) == []
    pool.at += 1
    assert offers(pool.declines("a")) == [("a", SLOT)], "it asks already, with its next poll"
    assert pool.effects[0] == Offer(SLOT, HERE, "a", 1, "p2")


def test_a_declined_poll_is_not_asked_again() -> None:
    pool, _ = offered()
    pool.at += 3
    assert offers(pool.declines("a")) == []
    assert pool.phase() is None
    assert not pool.worker().asking


def test_a_slot_that_left_comes_back_with_its_next_poll_and_what_it_said_before_is_not_heard() -> None:
    pool = Slots()
    pool.tick()
    pool.ready(at=10)
    pool.leaves(at=11)
    pool.load(job_of("a"))
    assert offers(pool.ready(at=10)) == []
    assert offers(pool.leaves(at=9)) == []
    assert offers(pool.ready(poll="p2", at=12)) == [("a", SLOT)]
    assert pool.leaves(at=11) == ()
    assert pool.phase() is Phase.OFFERED


@pytest.mark.parametrize(("named", "kind"), [(False, "handed_back"), (True, "lost")])
def test_a_slot_that_leaves_with_its_job(named: bool, kind: str) -> None:
    pool, job = offered()
    pool.move(taken(job))
    if named:
        pool.ping()
    pool.at += 1
    assert tells(pool.leaves()) == [(kind, "a", 1)]


def test_thousands_of_slots_that_left_are_forgotten_within_a_minute() -> None:
    pool = Slots()
    pool.tick()
    for n in range(1, 2_001):
        pool.ready(Slot("e1", f"pod{n}", HERE, 1).worker_id)
    pool.at += 1
    for n in range(1, 2_001):
        pool.leaves(Slot("e1", f"pod{n}", HERE, 1).worker_id)
    pool.leaves(Slot("e1", "never-heard-of", HERE, 1).worker_id)
    pool.ticks(60)
    assert dict(pool.state.workers) == {}


def test_a_pod_that_asks_through_another_gateway_asks_no_more_through_the_former() -> None:
    """That one was killed, and says nothing any more."""
    pool = Slots()
    pool.tick()
    pool.ready(SLOT)
    pool.ready(SECOND)
    other = Slot("e1", "pod2", HERE, 1).worker_id
    pool.ready(other)
    pool.at += 1
    pool.ready(MOVED)
    asking = {worker.worker_id for worker in pool.state.workers.values() if worker.asking}
    assert asking == {MOVED, other}


def test_who_was_heard_of_late_comes_before_who_asked_first() -> None:
    pool = Slots()
    pool.tick()
    dead, alive = (Slot("e1", name, HERE, 1).worker_id for name in ("dead", "alive"))
    pool.ready(dead)
    pool.at += 1
    pool.ready(alive)
    pool.ticks(LATE_MS[WorkerKind.SDK] // 1_000)
    pool.ready(alive)
    assert offers(pool.load(job_of("a"))) == [("a", alive)]


def test_an_offer_that_was_ignored_is_forgiven_by_work() -> None:
    pool, job = offered()
    pool.ticks(30)
    pool.move(again := after(job, attempt=2))
    assert pool.worker().ignored == 1
    pool.ready(poll="p2")
    pool.move(running := taken(again))
    pool.move(after(running, state=State.COMPLETED))
    assert pool.worker().ignored == 0


def test_a_ping_read_after_the_next_poll_changes_nothing_of_the_slot() -> None:
    pool, job = offered()
    pool.move(taken(job))
    pool.move(after(taken(job), state=State.COMPLETED))
    pool.at += 3
    pool.ready(poll="p2")
    before = pool.worker()
    assert pool.ping() == ()
    assert pool.worker() == before
    assert offers(pool.load(job_of("b"))) == [("b", SLOT)]


def test_a_ping_of_the_attempt_before_is_no_word_of_the_one_that_was_offered() -> None:
    pool, job = offered()
    assert offers(pool.move(after(job, attempt=2))) == [("a", SLOT)]
    pool.at += 2_000
    before = pool.worker()
    assert [order.attempt for order in orders(pool.ping(attempt=1))] == [1]
    assert replace(pool.worker(), stopped=before.stopped) == before
    assert pool.phase() is Phase.OFFERED


def test_a_ping_read_before_the_word_of_its_jobs_end_leaves_the_next_poll_asking() -> None:
    """It was said before the poll, by a gateway that was slower."""
    pool, job = offered()
    pool.move(taken(job))
    pool.ping()
    pool.at += 3
    pool.ready(poll="p2")
    pool.ping()
    assert pool.phase() is Phase.RUNNING
    assert offers(pool.load(taken(job), job_of("b"))) == [("b", SLOT)]


def test_a_pod_that_still_runs_what_was_cancelled_is_stopped() -> None:
    pool, job = offered()
    pool.move(taken(job))
    pool.ping()
    assert [order.job_id for order in orders(pool.move(after(taken(job), state=State.CANCELLED)))] == ["a"]
    pool.at += 2_000
    assert [(order.worker_id, order.session) for order in orders(pool.ping())] == [(SLOT, HERE)]


def test_after_a_rebuild_a_ping_is_enough_to_know_the_slot_again() -> None:
    running = taken(job_of("a"))
    pool = Slots()
    pool.tick()
    assert looks(pool.ping()) == ["a"]
    pool.see(running)
    pool.ping()
    assert pool.phase() is Phase.RUNNING
    assert pool.state.jobs["a"].lease is not None
    assert pool.state.jobs["a"].lease.session == HERE
    for _ in range(6):
        assert tells(pool.ticks(10)) == []
        pool.ping()


@pytest.mark.parametrize("attempt", [1, None])
def test_a_ping_may_name_the_attempt_or_the_job_alone(attempt: int | None) -> None:
    pool, job = offered()
    pool.move(taken(job))
    pool.ping(attempt=attempt)
    assert pool.phase() is Phase.RUNNING


def test_low_priority_waits_behind_everyone_else() -> None:
    pool = Slots()
    pool.load(job_of("low", "ann", priority=-1), job_of("usual", "bob"), job_of("other", "bob"))
    slots = [Slot("e1", f"pod{n}", HERE, 1).worker_id for n in range(3)]
    assert [offers(pool.ready(slot))[0][0] for slot in slots] == ["other", "usual", "low"]


STATES = ("unknown", "asks", "offered", "taken", "named", "left", "over")


def _prepared(state: str) -> Slots:
    pool, job = Slots(), job_of("a")
    pool.tick()
    if state == "unknown":
        pool.load(job)
        return pool
    if state != "asks":
        pool.load(job)
    pool.ready()
    if state in ("taken", "named", "over"):
        pool.move(taken(job))
    if state in ("named", "over"):
        pool.ping()
    if state == "left":
        pool.leaves(at=pool.at + CLOCK + 1)
    if state == "over":
        pool.move(after(taken(job), state=State.COMPLETED))
    return pool


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_slot_meets_every_event(state: str) -> None:
    """Nothing raises; a slot has one job of which the document does not yet say that it was taken, at most."""
    job = job_of("a")
    events: dict[str, Callable[[Slots], Any]] = {
        "ready": lambda p: p.ready(),
        "next poll": lambda p: p.ready(poll="p2"),
        "ping": lambda p: p.ping(),
        "ping of another attempt": lambda p: p.ping(attempt=2),
        "ping of another job": lambda p: p.ping("b"),
        "left": lambda p: p.leaves(),
        "declined": lambda p: p.declines("a"),
        "taken": lambda p: p.move(taken(job)),
        "ended": lambda p: p.move(replace(after(taken(job)), state=State.COMPLETED)),
        "cancelled": lambda p: p.move(replace(job, version=9, state=State.CANCELLED)),
        "next attempt": lambda p: p.move(replace(job, version=9, attempt=2)),
        "tick": lambda p: p.tick(),
        "another job": lambda p: p.load(job_of("b")),
    }
    for (name, event), (second, follow) in product(events.items(), events.items()):
        pool = _prepared(state)
        for one in (event, follow, event):
            pool.at += 5
            one(pool)
            held = [
                entry
                for entry in pool.state.jobs.values()
                if entry.state is State.QUEUED and entry.lease and entry.lease.phase is Phase.OFFERED
            ]
            assert len(held) <= 1, (name, second)
            for offer in (effect for effect in pool.effects if isinstance(effect, Offer)):
                assert pool.worker(offer.worker_id).state is WorkerState.READY, (name, second)
