"""When a connection must show something."""

import pytest

from gateway.core.patience import UNANSWERED_MAX, WARN_MS, Silence, warn_before


@pytest.mark.parametrize(
    ("life_ms", "before_ms"), [(3_600_000, WARN_MS), (60_000, 20_000), (59_999, 19_999), (3, 1), (0, 0), (-5, 0)]
)
def test_the_end_is_told_20_s_before_or_a_third_of_a_shorter_life(life_ms: int, before_ms: int) -> None:
    assert warn_before(life_ms) == before_ms


def test_a_client_that_never_answered_may_be_silent_for_ever() -> None:
    silence = Silence()
    silence.heard(pong=False)
    assert not any(silence.beat() for _ in range(100))


def test_one_that_answered_must_go_on() -> None:
    silence = Silence()
    silence.heard(pong=True)
    assert [silence.beat() for _ in range(UNANSWERED_MAX + 1)] == [False] * UNANSWERED_MAX + [True]


def test_any_message_is_a_sign_of_life() -> None:
    silence = Silence()
    silence.heard(pong=True)
    for _ in range(10):
        assert not any(silence.beat() for _ in range(UNANSWERED_MAX))
        silence.heard(pong=False)
