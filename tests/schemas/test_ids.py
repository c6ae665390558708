"""Ids: made the same each time, told apart, safe in keys and paths."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from schemas.ids import JobId, is_job_id, is_name, job_id_of_key, number_of, request_hash


@given(user=st.text(max_size=9), key=st.text(max_size=9), other=st.text(max_size=9))
def test_a_key_makes_one_job_id_a_user(user: str, key: str, other: str) -> None:
    made = job_id_of_key(user, key)
    assert made == job_id_of_key(user, key)
    assert is_job_id(made)
    assert TypeAdapter(JobId).validate_python(made) == made
    assert (job_id_of_key(user, other) == made) == (other == key)
    assert (job_id_of_key(other, key) == made) == (other == user)


def test_the_border_between_user_and_key_matters() -> None:
    assert job_id_of_key("a:b", "c") != job_id_of_key("a", "b:c")


@pytest.mark.parametrize("text", ["", "x", "A" * 36, "0AF76519-16CD-43DD-8448-EB211C80319C", "{0af76519}"])
def test_what_is_no_job_id(text: str) -> None:
    assert not is_job_id(text)


@pytest.mark.parametrize("text", ["", "a.b", "$a", "a/b", "-a", "a" * 129, "a b", "a\n"])
def test_what_may_not_name_a_member_of_a_document(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(JobId).validate_python(text)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        *((name, True) for name in ("user_2abc", "auth0|5f", "a@b.c", "w1:0")),
        *((name, False) for name in ("", "../x", "a..b", "a/b", ".a", "a b", "ü", "a" * 129, "a\n")),
    ],
)
def test_names(text: str, fine: bool) -> None:
    assert is_name(text) is fine


@given(st.uuids().map(str), st.integers(0, 4 * 10**12), st.integers(1, 10**9))
def test_numbers_grow_with_time_and_stay_exact_in_javascript(job_id: str, at: int, later: int) -> None:
    assert number_of(job_id, at) == number_of(job_id, at) < 2**53
    assert number_of(job_id, at + later) > number_of("another", at)


def test_a_request_hash_tells_requests_apart() -> None:
    assert request_hash(b"{}") == request_hash(b"{}") != request_hash(b"{ }")
    assert len(request_hash(b"")) == 32
