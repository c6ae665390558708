"""The request: OpenV's limits, Mochi's arithmetic, numbers that can be stored."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import ValidationError

from schemas.requests import LIMITS, GenerationRequest, whole_frames, whole_pixels
from schemas.shape import from_plain


def test_defaults_are_openvs() -> None:
    request = GenerationRequest(prompt="a corgi")
    for name, bounds in LIMITS.items():
        assert getattr(request, name) == bounds.default
        assert bounds.least <= bounds.default <= bounds.most
    assert request.seconds == 31 / 24


@given(st.integers(7, 127), st.integers(384, 848))
def test_lengths_and_sizes_are_the_nearest_below(frames: int, pixels: int) -> None:
    assert whole_frames(frames) % 6 == 1
    assert 0 <= frames - whole_frames(frames) < 6
    assert whole_pixels(pixels) % 16 == 0
    assert 0 <= pixels - whole_pixels(pixels) < 16


@pytest.mark.parametrize(
    "spoilt", [{"fps": 0}, {"fps": -24}, {"numFrames": -1}, {"seed": 2**63}, {"cfg": "NaN"}, {"steps": 10**30}]
)
def test_numbers_that_no_decision_could_bear_are_refused_when_read(spoilt: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        from_plain(GenerationRequest, {"prompt": "a corgi", **spoilt})
