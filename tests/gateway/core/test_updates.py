"""What a gateway keeps of serverless endpoints between two events: the newest, and bounded."""

from dataclasses import replace

import pytest

from gateway.core import updates as module
from gateway.core.updates import OVERHEAD, Updates
from gateway.core.window import Happened
from schemas.lifecycle import State
from schemas.progress import PoolShown, WorkerUpdate
from tests.gateway.world import job


def update(job_id: str = "j", value: str = "1", attempt: int = 1) -> WorkerUpdate:
    return WorkerUpdate(user_id="ada", job_id=job_id, sequence=1, attempt=attempt, worker_id="w", value=value)


def event(job_id: str = "j", *, again: bool = False, endpoint: str | None = "e") -> Happened:
    return Happened("t", job_id, 1, b"", external=True, endpoint=endpoint, again=again)


def test_the_newest_of_the_newest_attempt_counts() -> None:
    updates = Updates(10_000)
    for one in (update(value="1"), update(value="2"), update(value="3", attempt=2), update(value="4")):
        updates.updated(one)
    assert updates.of(replace(job("j"), attempt=2)) == "3"
    assert updates.of(job("j")) is None
    assert updates.of(replace(job("j", "ben"), attempt=2)) is None


def test_it_is_bounded_and_forgets_what_was_told_longest_ago() -> None:
    updates = Updates(3 * (OVERHEAD + 10))
    for job_id in ("a", "b", "c"):
        updates.updated(update(job_id, "x" * 10))
    updates.updated(update("a", "y" * 10))
    updates.updated(update("d", "x" * 10))
    assert [one for one in "abcd" if updates.of(job(one))] == ["a", "c", "d"]
    updates.updated(update("e", "é" * 10_000))  # larger than all there is room for
    assert [one for one in "abcde" if updates.of(job(one))] == []
    updates.updated(update("a"))
    assert updates.of(job("a")) == "1"


def test_a_job_that_is_queued_anew_or_ended_has_said_nothing() -> None:
    for state in State:
        updates = Updates(10_000)
        updates.updated(update())
        updates.moved(event(), state)
        assert (updates.of(job("j")) is not None) is (state is State.PROCESSING)


def test_jobs_that_are_tried_again_are_counted_until_they_end() -> None:
    updates = Updates(10_000)
    for job_id, endpoint in (("a", "e"), ("b", "e"), ("c", "other"), ("d", None)):
        updates.moved(event(job_id, again=True, endpoint=endpoint), State.QUEUED)
    updates.moved(event("x"), State.QUEUED)
    assert (updates.tried_again("e"), updates.tried_again("other")) == (2, 1)
    updates.moved(event("a", again=True), State.PROCESSING)
    updates.moved(event("b", again=True), State.FAILED)
    assert updates.tried_again("e") == 1
    updates.moved(event("a", again=True, endpoint="other"), State.QUEUED)
    assert (updates.tried_again("e"), updates.tried_again("other")) == (0, 2)
    assert set(updates._again_of) == {"other"}


def test_of_too_many_that_are_tried_again_the_oldest_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOBS_MAX", 2)
    updates = Updates(10_000)
    for job_id, endpoint in (("a", "e"), ("b", "f"), ("a", "e"), ("c", "f")):
        updates.moved(event(job_id, again=True, endpoint=endpoint), State.QUEUED)
    assert (updates.tried_again("e"), updates.tried_again("f")) == (1, 1)  # b was heard of longest ago


def test_pools_are_known_for_a_minute_and_never_go_back() -> None:
    updates = Updates(10_000)
    pool = PoolShown(pool="p", idle=1, running=0, starting=0, draining=0, shown_at=1_000)
    updates.shown(pool)
    updates.shown(replace(pool, idle=9, shown_at=999))
    assert updates.pool("p", 60_999) == pool
    assert updates.pool("p", 61_000) is None
    assert updates.pool("q", 1_000) is None
