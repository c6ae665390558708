"""The working copy: what a step touches is copied once, what it repeats is bounded."""

from schemas.dispatch import WorkerState
from streams.core.draft import LOOK_AGAIN_MS, STOP_AGAIN_MS, Draft
from streams.core.effects import Look
from streams.core.pool_state import Ended, entry_of
from tests.streams.core.pool_steps import T0, Pool, job_of, orders


def _draft(at: int = T0) -> Draft:
    pool = Pool()
    pool.load(job_of("a"))
    pool.beat(state=WorkerState.STARTING)
    return Draft(pool.state, at)


def test_an_untouched_draft_shares_everything() -> None:
    draft = _draft()
    frozen = draft.frozen()
    assert frozen == draft.state
    assert frozen.jobs is draft.state.jobs
    assert frozen.workers is draft.state.workers


def test_writes_leave_the_state_before_alone_and_copy_once() -> None:
    draft = _draft()
    draft.put(entry_of(job_of("b")))
    copied = draft.jobs
    draft.put(entry_of(job_of("c")))
    assert draft.jobs is copied
    assert list(draft.jobs) == ["a", "b", "c"]
    assert list(draft.state.jobs) == ["a"]


def test_an_ended_job_is_known_by_its_version_until_it_is_revived() -> None:
    draft = _draft()
    draft.end("a", Ended(7, T0))
    assert (draft.version_of("a"), "a" in draft.jobs) == (7, False)
    draft.revive(entry_of(job_of("a", version=8)))
    assert (draft.version_of("a"), "a" in draft.ended) == (8, False)
    assert draft.version_of("nobody") == -1


def test_the_same_stop_is_spaced_another_one_is_not() -> None:
    draft = _draft()
    for _ in range(2):
        draft.stop("w1", "s1", "a", 1, "")
    draft.stop("w1", "s1", "b", 1, "")
    assert [order.job_id for order in orders(draft.effects)] == ["a", "b"]
    draft.now += STOP_AGAIN_MS
    draft.stop("w1", None, "b", 1, "")
    assert len(orders(draft.effects)) == 3


def test_a_stop_for_nobody_known_needs_a_session() -> None:
    draft = _draft()
    draft.stop("w9", None, "a", 1, "")
    assert draft.effects == []
    draft.stop("w9", "s1", "a", 1, "")
    assert len(orders(draft.effects)) == 1


def test_questions_of_one_worker_are_spaced() -> None:
    draft = _draft()
    draft.look_for(draft.workers["w1"], "x")
    draft.look_for(draft.workers["w1"], "x")
    assert draft.effects == [Look("x")]
    draft.now += LOOK_AGAIN_MS
    draft.look_for(draft.workers["w1"], "x")
    assert len(draft.effects) == 2
