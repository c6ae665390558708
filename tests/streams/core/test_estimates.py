"""Sizes, shapes and moving averages."""

import pytest

from schemas.requests import GenerationRequest
from streams.core.estimates import SHAPES_KEPT, expected_ms, learned, shape_of, work_of


def test_work_is_counted_in_default_requests() -> None:
    assert work_of(GenerationRequest(prompt="p")) == 1.0
    assert work_of(GenerationRequest(prompt="p", steps=20)) == pytest.approx(0.5)
    assert work_of(GenerationRequest(prompt="", input="{}")) == 1.0


def test_shapes_gather_what_takes_about_as_long() -> None:
    usual = shape_of(GenerationRequest(prompt="p"))
    assert shape_of(GenerationRequest(prompt="other", seed=1, cfg=2)) == usual
    assert shape_of(GenerationRequest(prompt="p", steps=41)) == usual
    assert shape_of(GenerationRequest(prompt="p", steps=65)) != usual
    assert shape_of(GenerationRequest(prompt="", input_key="k")) == shape_of(GenerationRequest(prompt="", input="1"))


def test_nothing_is_expected_before_something_finished() -> None:
    assert expected_ms({}, "0") is None


def test_the_newest_jobs_weigh_most_and_other_shapes_stand_in() -> None:
    durations = learned(learned({}, "0", 1_000), "0", 2_000)
    assert expected_ms(durations, "0") == pytest.approx(1_300)
    assert expected_ms(learned(durations, "8", 3_300), "4") == pytest.approx(2_300)


def test_the_shapes_that_finished_last_are_kept() -> None:
    durations: dict[str, float] = {}
    for n in range(SHAPES_KEPT + 3):
        durations = learned(durations, str(n), 1)
        durations = learned(durations, "0", 1)
    assert len(durations) == SHAPES_KEPT
    assert "0" in durations
    assert "1" not in durations
