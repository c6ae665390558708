"""Bells: which id was said of whose submission, and that a ring is heard once."""

from inference_worker.remote.calls import Bell, Calls
from schemas.dispatch import RemoteMoved


def call(remote_id: str | None, signed_attempt: int | None, job_id: str = "j") -> RemoteMoved:
    return RemoteMoved(
        worker_id="w.1",
        session="x",
        job_id=job_id,
        attempt=2,
        call_id="c",
        remote_id=remote_id,
        signed_attempt=signed_attempt,
    )


def test_an_id_is_good_for_the_attempt_that_was_signed_alone() -> None:
    calls = Calls()
    with calls.bell("j") as bell:
        calls.moved(call("dead-e1", 1))
        calls.moved(call("unsigned-e1", None))
        assert (bell.remote_id(1), bell.remote_id(2)) == ("dead-e1", None)
        calls.moved(call("there-e1", 2))
        calls.moved(call(None, 2))
        calls.moved(call("late-e1", 1))
        calls.moved(call("foreign-e1", 2, "another job"))
        assert bell.remote_id(2) == "there-e1"


async def test_what_is_forgotten_is_not_said_again_but_the_ring_is_heard() -> None:
    bell = Bell()
    bell.ring("there-e1", 1)
    bell.forget()
    assert bell.remote_id(1) is None
    assert await bell.wait(60)
    assert not await bell.wait(0)


def test_nobody_rings_after_the_job_is_left() -> None:
    calls = Calls()
    with calls.bell("j") as bell, calls.bell("j") as another:
        calls.moved(call("there-e1", 2))
        assert bell.remote_id(2) == another.remote_id(2) == "there-e1"
    calls.moved(call("late-e1", 2))
    assert bell.remote_id(2) == "there-e1"
