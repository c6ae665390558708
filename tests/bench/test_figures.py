"""The arithmetic of the benchmarks."""

import pytest

from bench.figures import Aim, Figure, from_json, percentile, significant


def figure(
    *, ours: tuple[float, ...] = (2.0, 9.0, 4.0), baseline: tuple[float, ...] = (), aim: Aim | None = None
) -> Figure:
    return Figure("p50", "ms", ours, baseline, aim)


def test_a_ratio_is_taken_within_a_round() -> None:
    """The middle round was slow for both: its ratio does not stand out."""
    assert figure(baseline=(1.0, 5.0, 2.0)).ratios == (2.0, 1.8, 2.0)
    assert figure().ratios == ()


@pytest.mark.parametrize(
    ("aim", "stands"),
    [
        (None, ""),
        (Aim("ratio", "at most", 2.0), "met"),
        (Aim("ratio", "at most", 1.99), "not met"),
        (Aim("value", "at least", 4.0), "met"),
        (Aim("value", "at least", 4.1), "not met"),
        (Aim("value", "at most", 3.9), "not met"),
    ],
)
def test_the_median_over_the_rounds_meets_an_aim_or_not(aim: Aim | None, stands: str) -> None:
    assert figure(baseline=(1.0, 5.0, 2.0), aim=aim).stands == stands


@pytest.mark.parametrize(("ours", "baseline"), [((), ()), ((1.0, 2.0), (1.0,))])
def test_rounds_without_their_pair_are_no_figure(ours: tuple[float, ...], baseline: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rounds"):
        figure(ours=ours, baseline=baseline)


def test_a_figure_survives_being_kept() -> None:
    kept = figure(ours=(0.123456, 98_765.4), baseline=(1.0, 2.0), aim=Aim("ratio", "at most", 2.0))
    assert from_json(kept.to_json()) == figure(ours=(0.1235, 98_770.0), baseline=(1.0, 2.0), aim=kept.aim)
    assert from_json(figure().to_json()) == figure()


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_seen(share: float, value: int) -> None:
    assert percentile([*range(100, 0, -1)], share) == value


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        percentile(values, share)


def test_four_digits_count() -> None:
    assert [significant(value) for value in (0.0, 0.00012345, 12_345.6, -1.0)] == [0.0, 0.0001234, 12_350.0, -1.0]
