"""The text of a job as its worker is given it: what was stored, unread, and what is added."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.job_texts import BadText, job_text

POLICY = {"executionTimeout": 600_000}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.none() | st.dictionaries(st.text(), st.text(), max_size=3), st.none() | st.text())
def test_it_is_json_with_all_that_was_given(value: object, s3: dict[str, str] | None, webhook: str | None) -> None:
    given_ = {"input": value} | ({} if s3 is None else {"s3Config": s3})
    text = job_text(orjson.dumps(given_), "j-1", 600_000, webhook)
    added = {"id": "j-1", "policy": POLICY} | ({} if webhook is None else {"webhook": webhook})
    assert orjson.loads(text) == orjson.loads(orjson.dumps(given_)) | added


@pytest.mark.parametrize(
    "value", [b"1e400", b'{"a":1,"a":2}', b"0.10", b"[ 1 ,2 ]", b"12345678901234567890123", b'"\\u00e9"']
)
def test_a_value_is_passed_on_as_it_was_stored(value: bytes) -> None:
    text = job_text(b'{"input":%b}' % value, "j-1", 600_000)
    assert text == b'{"input":%b,"id":"j-1","policy":{"executionTimeout":600000}}' % value


def test_nothing_that_a_client_gives_is_the_jobs_own_name() -> None:
    stored = orjson.dumps({"input": {"id": "other", "policy": None}, "s3Config": {"id": "other"}})
    for read in (orjson.loads, json.loads):
        told = read(job_text(stored, "j-1", 5))
        assert (told["id"], told["policy"]) == ("j-1", {"executionTimeout": 5})


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b'{"input":1', b'[{"input":1}]', b' {"input":1}', b"damaged"])
def test_what_was_never_stored_as_an_input_is_not_passed_on(text: bytes) -> None:
    with pytest.raises(BadText):
        job_text(text, "j-1", 5)
