"""Restart delays."""

from hypothesis import given
from hypothesis import strategies as st

from operations.stack.delays import HEALTHY_AFTER_MS, LONGEST_DELAY_MS, Restarts


def test_delays_double_from_half_a_second_to_thirty_seconds() -> None:
    restarts, delays = Restarts(), []
    for _ in range(9):
        restarts, delay = restarts.after_death(healthy_ms=0)
        delays.append(delay)
    assert delays == [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]


def test_a_healthy_minute_starts_the_delays_anew() -> None:
    restarts, delay = Restarts(deaths=6).after_death(healthy_ms=HEALTHY_AFTER_MS)
    assert delay == 500
    assert restarts.after_death(healthy_ms=0)[1] == 1000


def test_less_than_a_healthy_minute_does_not() -> None:
    assert Restarts(deaths=3).after_death(healthy_ms=HEALTHY_AFTER_MS - 1) == (Restarts(deaths=4), 4000)


@given(deaths=st.integers(0, 10**9), healthy_ms=st.integers(0, 10**12))
def test_every_delay_is_bounded(deaths: int, healthy_ms: int) -> None:
    assert 500 <= Restarts(deaths).after_death(healthy_ms)[1] <= LONGEST_DELAY_MS
