"""Workers that take several jobs at a time: what their next polls say anew, and orders that come between two polls."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.fair_queue import FairQueue
from gateway.core.slots import Seat
from gateway.workers import orders, pod
from repo.clock import now_ms
from schemas.dispatch import WorkerState
from schemas.lifecycle import State
from tests.gateway.workers.pool import Pool, external_job
from tests.gateway.world import until

READY, AWAY = WorkerState.READY, WorkerState.DEFUNCT


def seats(pool: Pool) -> list[Seat]:
    known = pool.world.parts.workers.room.pods._seating.pods.get(("echo", pool.pod))
    return sorted(known.seats.values()) if known is not None else []


@pytest.fixture
def at_leisure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of a slow machine are no pauses of the worker."""
    monkeypatch.setattr(pod, "KEPT_S", 60.0)
    monkeypatch.setattr(pod, "AT_ONCE_S", 60.0)


@pytest.mark.usefixtures("at_leisure")
async def test_slots_that_were_given_nothing_do_not_say_again_what_they_ask(pool: Pool) -> None:
    poll = pool.take(batch=16)
    beats = await pool.ready(16)
    for number in range(4):
        await pool.order(beats[number], external_job(f"j-{number}"))
        await poll
        poll = pool.take(batch=15 - number)
    await until(lambda: len(pool.beats(READY)) == 20)  # one slot of each poll is heard of
    assert {beat.poll_id for beat in pool.beats(READY)[16:]} <= {beat.poll_id for beat in beats}
    await pool.order(beats[15], external_job("j-last"))
    assert [one["id"] for one in (await poll).json()] == ["j-last"]
    assert not pool.declined()


@pytest.mark.usefixtures("at_leisure")
async def test_a_slot_that_had_a_job_asks_with_another_poll_id(pool: Pool) -> None:
    poll = pool.take(batch=1)
    (first,) = await pool.ready()
    await pool.order(first, external_job())
    await poll
    await pool.done("j-1", {"output": 1})
    poll = pool.take(batch=1)
    second = (await pool.ready(2))[-1]
    assert (second.worker_id == first.worker_id, second.poll_id == first.poll_id) == (True, False)
    poll.cancel()


async def test_after_a_pause_all_say_it_again_for_the_worker_may_have_asked_elsewhere(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod, "KEPT_S", 60.0)
    monkeypatch.setattr(pod, "AT_ONCE_S", -1.0)
    poll = pool.take(batch=3)
    beats = await pool.ready(3)
    await pool.order(beats[0], external_job())
    await poll
    poll = pool.take(batch=2)
    await pool.ready(5)
    poll.cancel()


@pytest.mark.usefixtures("at_leisure")
async def test_an_order_to_a_slot_that_the_poll_did_not_take_goes_into_its_answer(pool: Pool) -> None:
    """The SDK counts jobs that have just come twice, and asks for fewer than it has places for."""
    poll = pool.take(batch=3)
    beats = await pool.ready(3)
    await pool.order(beats[0], external_job("j-0"))
    await poll
    poll = pool.take(batch=1)
    await until(lambda: Seat.WAITING in seats(pool))
    await pool.order(beats[2], external_job("j-2"))
    assert [one["id"] for one in (await poll).json()] == ["j-2"]
    assert not pool.declined()


@pytest.mark.usefixtures("at_leisure")
async def test_an_order_that_comes_while_its_poll_is_being_answered_is_the_next_ones(pool: Pool) -> None:
    append_all, answering, free = pool.world.log.append_all, asyncio.Event(), asyncio.Event()

    async def held(messages):  # type: ignore[no-untyped-def]
        if any(b"attempt.started" in dict(one.headers)["ce_type"] for one in messages):
            answering.set()
            await free.wait()
        return await append_all(messages)

    pool.world.log.append_all = held  # type: ignore[method-assign]
    poll = pool.take(batch=2)
    beats = await pool.ready(2)
    await pool.order(beats[0], external_job("j-0"))
    await answering.wait()
    await pool.order(beats[1], external_job("j-1"))
    await until(lambda: Seat.HELD in seats(pool))
    free.set()
    assert [one["id"] for one in (await poll).json()] == ["j-0"]
    assert [one["id"] for one in (await pool.take(batch=1)).json()] == ["j-1"]
    assert not pool.declined()


async def test_slots_that_a_smaller_poll_leaves_are_given_up_while_it_waits(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = pool.take(batch=3)
    beats = await pool.ready(3)
    await pool.order(beats[0], external_job("j-0"))
    await poll
    poll = pool.take(batch=1)
    await until(lambda: [beat.worker_id for beat in pool.beats(AWAY)] == [beats[2].worker_id])
    assert not poll.done()
    poll.cancel()


async def test_the_slot_of_the_attempt_before_is_free_when_the_same_worker_has_the_next(pool: Pool) -> None:
    made = external_job()
    poll = pool.take(batch=2)
    beats = await pool.ready(2)
    await pool.order(beats[0], made)
    await poll
    poll = pool.take(batch=1)
    await pool.ready(3)
    await pool.order(beats[1], replace(made, attempt=2))
    assert (await poll).status_code == 200
    assert seats(pool) == [Seat.RUNNING]


@pytest.mark.parametrize("why", ["forgotten", "overdue"])
async def test_a_slot_whose_jobs_end_nobody_tells_is_free_in_the_end(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(orders, "LOOK_S", 0.05)
    if why == "overdue":
        monkeypatch.setattr(orders, "OVERDUE_S", -600.0)
    order = await pool.taken(external_job())
    room = pool.world.parts.workers.room
    if why == "forgotten":
        room.handed.drop("echo", "pod-1", order.job_id)
    await until(lambda: not len(room.pods))


async def test_an_order_older_than_the_poll_here_may_have_been_handed_out_there(pool: Pool) -> None:
    """This gateway reads it late: its worker took it elsewhere, and then came here for one more."""
    poll = pool.take()
    (beat,) = await pool.ready()
    elsewhere = replace(beat, worker_id=f"sdk:echo:pod-1:{'9' * 12}:0", session="9" * 12)
    await pool.order(elsewhere, external_job("j-old"), assigned_at=1)
    await pool.order(elsewhere, external_job("j-new"), assigned_at=now_ms() + 3_600_000)
    await until(pool.declined)
    assert [one.job_id for one in pool.declined()] == ["j-new"]
    poll.cancel()


async def test_words_that_were_too_many_to_wait_are_said_again(pool: Pool) -> None:
    room = pool.world.parts.workers.room
    room.outbox._words = FairQueue(2)
    poll = pool.take(batch=2)
    beats = await pool.ready(2)
    for number in range(5):
        room.outbox.say(replace(beats[0], sequence=beats[0].sequence + 100 + number))
    await until(lambda: {beat.worker_id for beat in pool.beats(READY)[4:]} == {beat.worker_id for beat in beats})
    poll.cancel()


async def test_a_job_that_ended_leaves_its_slot_to_the_next_poll(pool: Pool) -> None:
    made = external_job()
    order = await pool.taken(made)
    over = replace(made, version=2, state=State.CANCELLED, worker_id=order.worker_id)
    await pool.world.ledger.announce(over)
    await until(lambda: not seats(pool))


@pytest.mark.usefixtures("at_leisure")
async def test_who_counts_itself_full_comes_back_later_and_is_given_nothing_new_until_then(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "JOIN_S", 2.0)
    poll = pool.take(batch=3)
    beats = await pool.ready(3)
    await asyncio.gather(*(pool.order(beat, external_job(beat.worker_id[-1])) for beat in beats[:2]))
    assert len((await poll).json()) == 2
    await until(lambda: [beat.worker_id for beat in pool.beats(AWAY)] == [beats[2].worker_id])
    again = pool.take(batch=1)
    asks = (await pool.ready(4))[-1]
    assert asks.worker_id == beats[2].worker_id
    assert asks.poll_id != beats[2].poll_id
    again.cancel()
