"""Allowances: a sliding window by example, and against the plain definition."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.allowance import Allowance


def test_so_often_in_so_long_and_then_how_long_to_wait() -> None:
    allowance = Allowance(2, 1_000)
    assert [allowance.take("ada", now) for now in (0, 400, 500, 999)] == [0, 0, 500, 1]
    assert allowance.take("bob", 500) == 0
    assert [allowance.take("ada", now) for now in (1_000, 1_001, 1_400)] == [0, 399, 0]


def test_only_so_many_keys_are_remembered() -> None:
    allowance = Allowance(1, 1_000, keys_max=2)
    assert [allowance.take(key, 0) for key in ("a", "b", "b", "c", "a")] == [0, 0, 1_000, 0, 0]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 5), st.integers(1, 40))
def test_never_more_than_the_limit_in_any_window(steps: list[int], limit: int, window: int) -> None:
    allowance, now, taken = Allowance(limit, window), 0, list[int]()
    for step in steps:
        now += step
        recent = sum(1 for at in taken if at > now - window)
        wait = allowance.take("ada", now)
        assert (wait == 0) == (recent < limit)
        if wait == 0:
            taken.append(now)
        else:
            assert sum(1 for at in taken if at > now + wait - window) < limit
