"""The slots of SDK workers: the whole table, and which ones a poll takes."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.slots import AFTER, NUMBERS, OPEN, Say, Seat, Sign, numbers_for

EVERY = [(seat, sign) for seat, sign in product(Seat, Sign) if sign in AFTER[seat]]


def test_the_table_has_a_row_for_every_seat_and_every_seat_can_be_reached_and_left() -> None:
    assert set(AFTER) == set(Seat)
    reached, left = {Seat.FREE}, [Seat.FREE]
    while left:
        for after, _ in AFTER[left.pop()].values():
            if after not in reached:
                reached.add(after)
                left.append(after)
    assert reached == set(Seat)
    for seat in set(Seat) - {Seat.FREE}:
        assert any(after is not seat for after, _ in AFTER[seat].values()), seat


@pytest.mark.parametrize("seat", list(Seat))
def test_an_order_is_kept_or_declined_and_never_passed_over(seat: Seat) -> None:
    after, says = AFTER[seat][Sign.ORDER]
    assert (Say.DECLINED in says) != (after in {Seat.ORDERED, Seat.HELD} and after is not seat)


@pytest.mark.parametrize(("seat", "sign"), EVERY)
def test_what_the_scheduler_hears_is_what_is_so(seat: Seat, sign: Sign) -> None:
    after, says = AFTER[seat][sign]
    if Say.READY in says:
        assert after is Seat.WAITING
    if Say.AWAY in says:
        assert after is Seat.FREE
    if seat in {Seat.WAITING, Seat.KEPT} and after is Seat.FREE:
        assert Say.AWAY in says, "else it would be given jobs that nobody takes"
    if seat in {Seat.ORDERED, Seat.HELD} and after is Seat.FREE:
        assert Say.DECLINED in says, "else its job would wait for a lease to run out"


def test_only_what_was_given_runs() -> None:
    assert [seat for seat, sign in EVERY if AFTER[seat][sign][0] is Seat.RUNNING and seat is not Seat.RUNNING] == [
        Seat.ORDERED
    ]
    assert [sign for sign in AFTER[Seat.RUNNING] if AFTER[Seat.RUNNING][sign][0] is not Seat.RUNNING] == [Sign.ENDED]


@given(st.dictionaries(st.integers(0, 40), st.sampled_from(Seat)), st.integers(1, 30))
def test_a_poll_takes_so_many_slots_and_none_in_which_something_goes_on(seats: dict[int, Seat], wanted: int) -> None:
    found = numbers_for(seats, wanted)
    assert len(found) == len(set(found)) == wanted
    assert all(seats.get(number, Seat.FREE) in OPEN for number in found)
    held = {number for number, seat in seats.items() if seat is Seat.HELD}
    assert held <= set(found) or set(found) <= held, "a job that waits comes first"


def test_numbers_are_four_digits_and_the_lowest_come_first() -> None:
    assert numbers_for({0: Seat.RUNNING, 1: Seat.KEPT}, 3) == [1, 2, 3]
    assert numbers_for(dict.fromkeys(range(NUMBERS), Seat.RUNNING), 1) == []
