"""Fraction, time left, and what is worth showing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from inference_worker.core.limits import Limits
from inference_worker.core.progress import ORDER, WEIGHTS, Track, advanced, previewed
from schemas.phases import Phase

LIMITS = Limits()


def test_the_weights_are_shares_of_all_phases_in_their_order() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert tuple(Phase) == ORDER


def test_a_whole_attempt_goes_from_nothing_to_one_without_falling() -> None:
    track = Track(began_at=0)
    fractions, now = [], 0
    for phase in Phase:
        for step in range(11):
            now += 1000
            track, _ = advanced(track, phase, step, 10, step * 1000, now, LIMITS)
            fractions.append(track.fraction)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert all(a <= b for a, b in pairwise(fractions))


@given(
    some.lists(
        some.tuples(
            some.sampled_from(Phase), some.integers(-2, 50), some.integers(-1, 40), some.integers(0, 10_000_000)
        )
    )
)
def test_nonsense_never_makes_it_fall_or_leave_its_range(messages: list[tuple[Phase, int, int, int]]) -> None:
    track, now, before = Track(began_at=0), 0, 0.0
    for phase, step, steps, phase_ms in messages:
        now += 7
        track, _ = advanced(track, phase, step, steps, phase_ms, now, LIMITS)
        assert before <= track.fraction <= 1
        assert track.eta_ms is None or track.eta_ms >= 0
        before = track.fraction


def test_the_time_left_is_this_attempts_own_pace_and_what_follows() -> None:
    track = Track(began_at=0)
    track, _ = advanced(track, Phase.ENCODE_PROMPT, 1, 1, 50, 50, LIMITS)
    assert track.eta_ms is None, "nothing is known before the first step"
    track, _ = advanced(track, Phase.DENOISE, 0, 11, 0, 100, LIMITS)
    assert track.eta_ms is None
    # The first step takes three seconds, the others one each: 3 + 10 in all.
    track, _ = advanced(track, Phase.DENOISE, 1, 11, 3_000, 3_100, LIMITS)
    track, _ = advanced(track, Phase.DENOISE, 6, 11, 8_000, 8_100, LIMITS)
    after = 13_000 / WEIGHTS[Phase.DENOISE] * sum(WEIGHTS[p] for p in (Phase.DECODE, Phase.ENCODE, Phase.UPLOAD))
    assert track.eta_ms == pytest.approx(5_000 + after, abs=2)
    track, _ = advanced(track, Phase.DECODE, 1, 4, 500, 14_000, LIMITS)
    encode_and_upload = 13_000 / WEIGHTS[Phase.DENOISE] * (WEIGHTS[Phase.ENCODE] + WEIGHTS[Phase.UPLOAD])
    assert track.eta_ms == pytest.approx(1_500 + encode_and_upload, abs=2)
    track, _ = advanced(track, Phase.UPLOAD, 3, 3, 100, 15_000, LIMITS)
    assert track.eta_ms == 0


def shown(steps: list[tuple[Phase, int, int]], every_ms: int) -> list[tuple[Phase, int]]:
    track, told = Track(began_at=0), []
    for number, (phase, step, of) in enumerate(steps):
        track, worth = advanced(track, phase, step, of, step * every_ms, number * every_ms, LIMITS)
        if worth:
            told.append((phase, step))
    return told


def test_fast_steps_are_thinned_but_new_phases_and_last_steps_always_show() -> None:
    steps = [(Phase.DENOISE, step, 100) for step in range(101)] + [(Phase.DECODE, step, 3) for step in range(4)]
    told = shown(steps, every_ms=10)
    assert told[0] == (Phase.DENOISE, 0)
    assert told[1] == (Phase.DENOISE, 25)
    assert told[-3:] == [(Phase.DENOISE, 100), (Phase.DECODE, 0), (Phase.DECODE, 3)]
    assert len(told) == 7


def test_a_last_step_that_is_repeated_shows_once() -> None:
    assert shown([(Phase.ENCODE, 7, 7)] * 20, every_ms=10) == [(Phase.ENCODE, 7)]


def test_slow_steps_all_show() -> None:
    assert len(shown([(Phase.DENOISE, step, 10) for step in range(11)], every_ms=300)) == 11


def test_one_preview_a_second() -> None:
    track, told = Track(began_at=0), []
    for now in range(0, 3000, 100):
        track, worth = previewed(track, now, LIMITS)
        told += [now] if worth else []
    assert told == [0, 1000, 2000]
