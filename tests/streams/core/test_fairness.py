"""Fair shares: by example, and as properties over drawn queues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dispatch import JobMoved
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from streams.core.fairness import HALF_LIFE_MS, SHARES_KEPT, charged, in_order, remembered, served
from streams.core.pool_state import Share, entry_of
from tests.streams.core.pool_steps import T0, Pool, after, job_of, moved, offers


def _line(jobs: list[Job], running: dict[str, int] | None = None, shares: dict[str, Share] | None = None) -> list[str]:
    return [e.job_id for e in in_order([entry_of(j) for j in jobs], running or {}, shares or {}, T0)]


def test_users_take_turns_whatever_the_order_of_arrival() -> None:
    jobs = [job_of(f"a{n}", "ann", created_at=T0 + n) for n in range(3)]
    jobs += [job_of(f"b{n}", "bob", created_at=T0 + 10 + n) for n in range(2)]
    assert _line(jobs) == ["a0", "b0", "a1", "b1", "a2"]


def test_running_attempts_count_before_past_ones() -> None:
    jobs = [job_of("a", "ann"), job_of("b", "bob")]
    shares = {"bob": Share(50.0, T0)}
    assert _line(jobs, {"ann": 1}, shares) == ["b", "a"]
    assert _line(jobs, {}, shares) == ["a", "b"]


def test_turns_hold_across_priority_classes() -> None:
    jobs = [job_of("a-first", "ann", priority=1), job_of("a", "ann", created_at=T0 - 1), job_of("b", "bob")]
    assert _line(jobs) == ["a-first", "b", "a"]


def test_work_is_forgotten_by_half() -> None:
    share = charged(None, 4.0, T0)
    assert served(share, T0 + HALF_LIFE_MS) == pytest.approx(2.0)
    assert charged(share, -4.0, T0).amount == 0.0
    assert served(share, T0 - 1) == 4.0


def test_shares_are_bounded_and_the_largest_stay() -> None:
    shares = {f"u{n}": Share(1.0 + n, T0) for n in range(SHARES_KEPT + 5)}
    kept = remembered(shares, T0)
    assert len(kept) == SHARES_KEPT
    assert "u4" not in kept
    assert "u5" in kept
    assert remembered(shares, T0 + 100 * HALF_LIFE_MS) == {}


@given(flood=st.integers(2, 40), served_before=st.integers(1, 20), late_ms=st.integers(0, 5_000))
def test_who_floods_the_queue_does_not_delay_another(flood: int, served_before: int, late_ms: int) -> None:
    """One worker, one user with many jobs: a second user's job is the very next one, however late it comes."""
    pool = Pool()
    pool.load(*[job_of(f"a{n:02}", "ann", created_at=T0 + n) for n in range(flood + served_before)])
    for _ in range(served_before):
        job_id = offers(pool.beat())[0][0]
        pool.busy("w1", job_id)
        pool.at += 1_000
        pool.feed(_completed(job_id))
    bob = job_of("b", "bob", created_at=pool.at + late_ms, due_at=pool.at)
    pool.see(bob)
    assert offers(pool.beat()) == [("b", "w1")]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.integers(0, 5)), max_size=30))
def test_every_job_is_in_line_once_and_priorities_never_mix(drawn: list[tuple[str, int, int]]) -> None:
    jobs = [job_of(f"j{n}", u, priority=p, created_at=T0 + age) for n, (u, p, age) in enumerate(drawn)]
    line = list(in_order([entry_of(job) for job in jobs], {}, {}, T0))
    assert sorted(e.job_id for e in line) == sorted(job.job_id for job in jobs)
    assert [e.priority for e in line] == sorted((job.priority for job in jobs), reverse=True)
    assert _line(jobs) == _line(list(reversed(jobs)))  # the order of arrival decides nothing


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_no_user_is_two_turns_ahead_of_one_who_waits(users: list[str]) -> None:
    line = list(in_order([entry_of(job_of(f"j{n:02}", user)) for n, user in enumerate(users)], {}, {}, T0))
    turns = dict.fromkeys(users, 0)
    left = {user: users.count(user) for user in users}
    for entry in line:
        turns[entry.user_id] += 1
        left[entry.user_id] -= 1
        assert all(turns[entry.user_id] - turns[user] <= 1 for user in left if left[user])


def test_small_requests_cost_small_shares() -> None:
    small = GenerationRequest(prompt="p", num_frames=7, steps=10)
    pool = Pool()
    pool.load(job_of("small", "ann", request=small), job_of("big", "bob"))
    pool.beat("w1")
    pool.beat("w2")
    assert pool.state.shares["ann"].amount < pool.state.shares["bob"].amount / 10


def _completed(job_id: str) -> JobMoved:
    return moved(after(job_of(job_id, "ann"), state=State.COMPLETED, worker_id="w1"))
