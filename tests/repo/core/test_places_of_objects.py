"""Keys say whose their objects are, and other keys say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.core.object_keys import INPUTS, KINDS, Place, file_key, input_key, place_of

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(names, st.uuids().map(str), st.integers(1, 99), names, names, st.sampled_from(sorted(KINDS)))
def test_a_key_of_ours_is_read_back(user: str, job: str, attempt: int, worker: str, session: str, kind: str) -> None:
    key = file_key(user, job, attempt, worker, session, kind)
    assert place_of(key) == Place(user, KINDS[kind][0], job, attempt)
    assert place_of(input_key(user, job)) == Place(user, INPUTS, job)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ann",
        "ann/videos/j1",
        "ann/videos/j1/one/w/s.mp4",
        "ann/videos/j1/1/w/s.jpg",
        "ann/videos/j1/1/w/s/t.mp4",
        "ann/other/j1/1/w/s.mp4",
        "ann/inputs/j1/request.txt",
        "ann/inputs//request.json",
        "/inputs/j1/request.json",
        "a b/inputs/j1/request.json",  # would have been quoted
        "_openv/doctor/0",
        "backup/2026/openv.tar",
    ],
)
def test_what_we_never_named_is_nobodys(key: str) -> None:
    assert place_of(key) is None
