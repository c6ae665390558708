"""What is too costly to read is known before it is read; what strings hold costs nothing."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json_cost
from gateway.core.json_cost import COST_MAX, LIST, MEMBER, VALUE, is_too_costly
from gateway.core.worker_words import BadWord, Result, read_chunk, read_result

TEXT = st.text(st.sampled_from('[]{}:,"\\ax\n'), max_size=12)
JSON = st.recursive(
    st.integers(0, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def cost_of(value: Any) -> int:
    """The same, of what was read."""
    if isinstance(value, dict):
        return LIST + MEMBER * len(value) + VALUE * max(0, len(value) - 1) + sum(map(cost_of, value.values()))
    if isinstance(value, list):
        return LIST + VALUE * max(0, len(value) - 1) + sum(map(cost_of, value))
    return 0


@given(JSON, st.integers(1, 9))
def test_it_costs_what_it_holds_wherever_it_is_cut(value: Any, cut: int) -> None:
    cost, text = cost_of(value), orjson.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_cost, "_SLICE", cut)
        for most in (cost - 1, cost):
            patch.setattr(json_cost, "COST_MAX", most)
            assert is_too_costly(text) is (cost > most)


@pytest.mark.parametrize("one", [b"[]", b"{}", b'{"a":1}', b"[1,2]"])
def test_lists_and_objects_cost_more_than_numbers(one: bytes) -> None:
    body = b'{"output":[%b]}' % b",".join([one] * (COST_MAX // 8))
    for read in (read_result, read_chunk):
        with pytest.raises(BadWord, match="too many"):
            read(body)


def test_what_no_parser_of_ours_reads_is_bounded_too() -> None:
    with pytest.raises(BadWord, match="too many"):
        read_result(b'{"output":[NaN' + b",[]" * (COST_MAX // 8) + b"]}")


def test_a_string_may_hold_as_much_json_as_it_likes() -> None:
    body = orjson.dumps({"output": '[{"a":1},' * (COST_MAX // 8)})
    assert isinstance(read_result(body), Result)
    numbers = b'{"output":[' + b"0," * (COST_MAX - 20) + b"0]}"
    assert isinstance(read_result(numbers), Result)
