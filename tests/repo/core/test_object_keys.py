"""No two uploads share a key, and no key leaves its user's folder."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.core.object_keys import KINDS, attempt_prefixes, file_key, job_prefixes, session_keys, user_prefix

names = st.one_of(
    st.text(min_size=1, max_size=12),
    st.text(alphabet="./%-~ab1", min_size=1, max_size=8),
    st.sampled_from(["..", ".", "%2F", "a/b", "a%2Fb", "a", "A", "a-1", "1-a", "-", "ключ"]),
).filter(lambda name: not any(0xD800 <= ord(character) <= 0xDFFF for character in name))
job_ids = st.uuids().map(str)
Upload = tuple[str, str, int, str, str]
uploads = st.tuples(names, job_ids, st.integers(1, 12), names, names)


@given(uploads, uploads, st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)))
def test_different_uploads_never_share_a_key(one: Upload, other: Upload, kind: str, other_kind: str) -> None:
    if (*one, kind) != (*other, other_kind):
        assert file_key(*one, kind) != file_key(*other, other_kind)


@given(st.uuids().map(str), st.integers(1, 3), st.integers(1, 3), names, names)
def test_attempts_and_workers_of_one_job_never_share_a_key(
    job_id: str, attempt: int, other: int, worker: str, other_worker: str
) -> None:
    if (attempt, worker) != (other, other_worker):
        mine, theirs = (attempt_prefixes("u", job_id, *run) for run in ((attempt, worker), (other, other_worker)))
        assert not any(one.startswith(another) for one in mine for another in theirs)


@given(uploads, names)
def test_no_key_lies_in_another_users_folder(upload: Upload, other: str) -> None:
    for key in session_keys(*upload):
        assert key.startswith(user_prefix(upload[0]))
        if other != upload[0]:
            assert not key.startswith(user_prefix(other))


@given(uploads)
def test_a_jobs_prefixes_hold_its_files_and_no_other_jobs(upload: Upload) -> None:
    user_id, job_id, *_ = upload
    prefixes = job_prefixes(user_id, job_id)
    for key in session_keys(*upload):
        assert sum(key.startswith(prefix) for prefix in prefixes) == 1
        assert sum(key.startswith(prefix) for prefix in attempt_prefixes(*upload[:4])) == 1
    assert all(prefix.endswith(f"/{job_id}/") for prefix in prefixes)


@given(uploads)
def test_keys_are_six_parts_in_plain_ascii(upload: Upload) -> None:
    for key in session_keys(*upload):
        parts = key.split("/")
        assert len(parts) == 6
        assert set(key) <= set(string.ascii_letters + string.digits + "-._~%/")
        assert not {".", ".."} & set(parts)


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(KeyError):
        file_key("u", "j", 1, "w", "s", "trailer")
