"""Start order."""

import pytest

from operations.stack.order import start_waves


def test_what_is_independent_starts_together_and_the_rest_after_what_it_needs() -> None:
    needs = {"worker": ["gateway"], "gateway": ["kafka", "mongo"], "kafka": [], "s3": [], "mongo": []}
    assert start_waves(needs) == [["kafka", "s3", "mongo"], ["gateway"], ["worker"]]


def test_an_unknown_need_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown parts are needed: kafka"):
        start_waves({"gateway": ["kafka"]})


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="circle: a, b"):
        start_waves({"a": ["b"], "b": ["a"], "c": []})
