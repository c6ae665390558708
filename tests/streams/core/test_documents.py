"""Documents: versions decide, in whatever order news, answers and rebuilds arrive."""

from itertools import permutations

from schemas.lifecycle import State
from streams.core.effects import Offer
from streams.core.pool_state import Loaded, Seen
from streams.core.scheduler import PoolEvent
from tests.streams.core.pool_steps import T0, Pool, after, job_of, looks, moved, offers, orders


def test_news_of_an_unknown_active_job_asks_for_the_document() -> None:
    pool = Pool()
    assert looks(pool.move(job_of("a"))) == ["a"]
    assert looks(pool.move(job_of("b", state=State.PROCESSING, worker_id="w1"))) == ["b"]
    assert looks(pool.move(job_of("c", state=State.COMPLETED))) == []


def test_a_known_jobs_next_attempt_needs_no_reading_but_its_next_run_does() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    second = after(job, attempt=2, due_at=T0 + 5)
    assert looks(pool.move(second)) == []
    assert pool.state.jobs["a"].due_at == T0 + 5
    assert looks(pool.move(after(second, run=2, attempt=3))) == ["a"]


def test_any_order_of_the_same_news_ends_in_the_newest() -> None:
    first = job_of("a")
    started = after(first, state=State.PROCESSING, worker_id="w1", started_at=T0)
    retried = after(started, state=State.QUEUED, attempt=2, worker_id=None, started_at=None)
    ended = after(retried, state=State.CANCELLED)
    events: list[PoolEvent] = [Seen("a", first), moved(started), Loaded((retried,)), moved(ended)]
    for order in permutations(events):
        pool = Pool()
        for event in order:
            pool.feed(event)
        assert "a" not in pool.state.jobs
        assert pool.state.ended["a"].version == ended.version


def test_a_manual_retry_brings_an_ended_job_back() -> None:
    pool = Pool()
    job = job_of("a")
    failed = after(job, state=State.FAILED)
    pool.load(job)
    pool.move(failed)
    again = after(failed, state=State.QUEUED, run=2, attempt=2)
    assert looks(pool.move(again)) == ["a"]
    pool.see(again)
    assert offers(pool.beat()) == [("a", "w1")]
    assert "a" not in pool.state.ended


def test_a_job_missing_from_a_rebuild_is_asked_for_not_dropped() -> None:
    """It may have been queued after MongoDB was read: its own document tells."""
    pool = Pool()
    gone, fresh = job_of("gone"), job_of("fresh")
    pool.load(gone, fresh)
    assert looks(pool.load()) == ["gone", "fresh"]
    pool.see(after(gone, state=State.COMPLETED))
    pool.see(fresh)
    assert list(pool.state.jobs) == ["fresh"]


def test_a_rebuild_that_is_older_than_the_news_changes_nothing() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    pool.move(after(job, state=State.CANCELLED))
    pool.load(job)
    assert dict(pool.state.jobs) == {}


def test_an_offer_that_no_longer_fits_frees_the_worker_for_another_job() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job, job_of("b", created_at=T0 + 1))
    assert offers(pool.beat()) == [("a", "w1")]
    assert offers(pool.see(after(job, state=State.CANCELLED))) == [("b", "w1")]


def test_an_offer_whose_document_is_a_newer_attempt_is_made_anew() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    pool.beat()
    pool.see(after(job, attempt=2))
    assert [(effect.job_id, effect.attempt) for effect in pool.effects if isinstance(effect, Offer)] == [("a", 2)]


def test_a_document_that_is_nowhere_is_dropped_and_may_come_back() -> None:
    pool = Pool()
    pool.load(job_of("a"))
    pool.feed(Seen("a", None))
    assert dict(pool.state.jobs) == {}
    pool.see(job_of("a"))
    assert list(pool.state.jobs) == ["a"]


def test_jobs_of_another_pool_are_not_ours() -> None:
    pool = Pool()
    other = job_of("a", pool="other")
    pool.load(other)
    pool.see(other)
    assert dict(pool.state.jobs) == {}
    assert len(orders(pool.busy("w1", "a"))) == 1


def test_a_job_started_elsewhere_takes_its_lease_along() -> None:
    pool = Pool()
    job = job_of("a")
    pool.load(job, job_of("b", created_at=T0 + 1))
    pool.beat("w1")
    effects = pool.move(after(job, state=State.PROCESSING, worker_id="w2"))
    assert [order.worker_id for order in orders(effects)] == ["w1"]
    assert offers(effects) == [("b", "w1")]


def test_old_news_changes_nothing_and_asks_for_nothing() -> None:
    pool = Pool()
    first = job_of("a")
    started = after(first, state=State.PROCESSING, worker_id="w1", started_at=T0)
    ended = after(started, state=State.CANCELLED)
    pool.load(started)
    before = pool.state
    assert (pool.move(first), pool.state) == ((), before)
    pool.move(ended)
    before = pool.state
    assert (pool.move(started), pool.state) == ((), before)


def test_an_attempt_starts_when_it_was_first_seen_to_run() -> None:
    """The ledger may be minutes behind the worker's beats: the execution timeout counts from the beats."""
    pool = Pool()
    job = job_of("a")
    pool.load(job)
    pool.busy("w1", "a")
    pool.at += 90_000
    pool.move(after(job, state=State.PROCESSING, worker_id="w1"))
    assert pool.state.jobs["a"].started_at == T0
