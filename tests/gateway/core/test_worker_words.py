"""What workers post, read from whatever bytes: an answer, an update, a chunk, or words on why it is none."""

import json
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.chunks import Full, Stale, appended
from gateway.core.stops import JOBS_MAX, KEPT_MS, Stops
from gateway.core.worker_words import BadWord, Result, Update, looks_like_update, read_chunk, read_result
from schemas.chunks import CHUNKS_BYTES, CHUNKS_COUNT, Chunks

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (read_result, read_chunk):
        with suppress(BadWord):
            read(body)  # type: ignore[operator]


@given(JSON)
def test_whatever_python_writes_is_kept_as_json_that_can_be_read_again(value: object) -> None:
    written = json.dumps({"output": value}, ensure_ascii=True).encode()
    try:
        said = read_result(written)
        chunk = read_chunk(written)
    except BadWord:
        assert "\\ud" in written.decode(), "half a character is the only thing of Python's that is no JSON"
        return
    assert isinstance(said, Result)
    assert "output" in orjson.loads(said.text)
    assert chunk.isascii()
    json.loads(chunk)


def test_an_error_that_is_none_is_no_failure() -> None:
    for error in (None, "", {}, [], False):
        said = read_result(orjson.dumps({"output": 1, "error": error}))
        assert said == Result(b'{"output":1}', False)
    said = read_result(b'{"error": "x", "output": 1, "stopPod": true}')
    assert isinstance(said, Result)
    assert said.failed
    assert orjson.loads(said.text) == {"error": "x", "output": 1}


def test_an_update_is_told_from_an_answer() -> None:
    assert read_result(b'{"status": "IN_PROGRESS", "output": {"a": [1]}}') == Update('{"a":[1]}')
    assert read_result(b'{"status": "IN_PROGRESS"}') == Update("null")
    assert isinstance(read_result(b'{"status": "COMPLETED", "output": 1}'), Result)
    assert looks_like_update(b'{"status": "IN_PROGRESS", "output": "xxxx')
    assert looks_like_update(b'{"status":"IN_PROGRESS"')
    assert not looks_like_update(b'{"output": "' + b"x" * 100 + b'"status" "IN_PROGRESS"')


@pytest.mark.parametrize("body", [b'{"output": "\\ud800"}', b'{"output":' + b"[" * 300 + b"]" * 300 + b"}"])
def test_what_could_not_be_written_down_is_refused(body: bytes) -> None:
    with pytest.raises(BadWord):
        read_result(body)


def test_a_chunk_is_added_to_its_attempts_and_drops_those_of_older_ones() -> None:
    first = appended(None, "j", 1, "1", 10)
    second = appended(first, "j", 1, "2", 20)
    assert (second.waiting, second.version, second.delete_at) == (("1", "2"), 2, 20)
    newer = appended(second, "j", 2, "3", 30)
    assert (newer.waiting, newer.version, newer.attempt, newer.taken) == (("3",), 3, 2, 0)
    with pytest.raises(Stale):
        appended(newer, "j", 1, "4", 40)
    full = Chunks(job_id="j", attempt=1, version=1, delete_at=1, waiting=("x" * (CHUNKS_BYTES - 1),))
    assert appended(full, "j", 1, "y", 1).bytes == CHUNKS_BYTES
    with pytest.raises(Full):
        appended(full, "j", 1, "yy", 1)
    many = replace(full, waiting=("x",) * CHUNKS_COUNT)
    with pytest.raises(Full):
        appended(many, "j", 1, "y", 1)


def test_stops_are_kept_for_a_while_bounded_and_taken_once() -> None:
    stops, pod = Stops(), ("echo", "pod-1")
    stops.add(pod, "old", 0)
    stops.add(pod, "new", KEPT_MS)
    stops.add(pod, "gone", KEPT_MS)
    stops.drop(pod, "gone")
    stops.drop(("echo", "pod-2"), "gone")
    assert stops.take(pod, KEPT_MS) == ["new"]
    assert stops.take(pod, KEPT_MS) == []
    for number in range(2 * JOBS_MAX):
        stops.add(pod, str(number), 1)
    assert len(stops.take(pod, 1)) == JOBS_MAX
