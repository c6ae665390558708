"""Chunks that wait: the newest in the document, those before them in bundles, none of them lost between the two."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.chunks import Full, appended, bundle_for, left_behind, taken
from schemas.chunks import CHUNKS_BYTES, CHUNKS_COUNT, TAIL_BYTES, TAIL_COUNT, Bundle, Chunks


def streamed(texts: Iterable[str], known: Chunks | None = None, attempt: int = 1) -> tuple[Chunks, dict[str, Bundle]]:
    """The document after these chunks, and the bundles that were made on the way."""
    bundles = {}
    for number, text in enumerate(texts):
        wanted = appended(known, "j", attempt, text, number, f"w{number}")
        made = bundle_for(known, wanted)
        if made is not None:
            assert made.bundle_id not in bundles
            bundles[made.bundle_id] = made
        known = wanted
    assert known is not None
    return known, bundles


def waiting(chunks: Chunks, bundles: dict[str, Bundle]) -> list[str]:
    return [*(text for one in chunks.bundle_ids for text in bundles[one].texts), *chunks.waiting]


@given(st.lists(st.integers(1, 2 * TAIL_BYTES), min_size=1, max_size=60))
def test_whatever_their_sizes_all_wait_in_order_and_the_document_stays_small(sizes: list[int]) -> None:
    texts = [str(number % 10) * size for number, size in enumerate(sizes)]
    chunks, bundles = streamed(texts)
    assert waiting(chunks, bundles) == texts
    assert (chunks.count, chunks.bytes) == (len(texts), sum(sizes))
    assert len(chunks.waiting) == 1 or sum(map(len, chunks.waiting)) <= TAIL_BYTES
    assert set(bundles) == set(chunks.bundle_ids)
    for before, after in zip(list(bundles.values()), list(bundles.values())[1:], strict=False):
        assert sum(map(len, (*before.texts, *after.texts))) > TAIL_BYTES, "two that would have been one"


def test_many_small_ones_are_bundled_by_their_number() -> None:
    chunks, bundles = streamed(["1"] * (2 * TAIL_COUNT + 1))
    assert [len(one.texts) for one in bundles.values()] == [TAIL_COUNT, TAIL_COUNT]
    assert chunks.waiting == ("1",)


def test_what_is_in_bundles_counts() -> None:
    almost = Chunks(job_id="j", attempt=1, version=9, delete_at=1, bundled=(3,), bundled_count=CHUNKS_COUNT - 1)
    assert appended(almost, "j", 1, "1", 1).count == CHUNKS_COUNT
    with pytest.raises(Full):
        appended(replace(almost, waiting=("1",)), "j", 1, "1", 1)
    almost = replace(almost, bundled_count=1, bundled_bytes=CHUNKS_BYTES - 2)
    assert appended(almost, "j", 1, "11", 1).bytes == CHUNKS_BYTES
    with pytest.raises(Full):
        appended(almost, "j", 1, "111", 1)


def test_two_who_move_the_same_chunks_make_the_same_bundle_and_a_later_document_other_ones() -> None:
    known, _ = streamed(["1" * TAIL_BYTES])
    one, other = (appended(known, "j", 1, text, 7, text) for text in ("a", "b"))
    assert bundle_for(known, one) == bundle_for(known, other) is not None
    again, _ = streamed(["2" * TAIL_BYTES])
    again = replace(again, origin="made after the first was deleted")
    made = bundle_for(again, appended(again, "j", 1, "a", 7, "a"))
    assert made is not None
    assert made.bundle_id not in one.bundle_ids


def test_who_takes_leaves_nothing_and_the_next_begins_anew() -> None:
    chunks, bundles = streamed(["1" * 9_000] * 5)
    emptied = taken(chunks, "taker")
    assert (emptied.count, emptied.bytes, emptied.taken, emptied.version) == (0, 0, 5, chunks.version + 1)
    assert left_behind(chunks, emptied) == chunks.bundle_ids == tuple(bundles)
    chunks, more = streamed(["2" * 9_000] * 3, emptied)
    assert waiting(chunks, more) == ["2" * 9_000] * 3
    assert not set(bundles) & set(more)


def test_a_newer_attempt_leaves_the_bundles_of_the_older_one_behind() -> None:
    chunks, bundles = streamed(["1" * 9_000] * 5)
    newer = appended(chunks, "j", 2, "x", 1, "w")
    assert bundle_for(chunks, newer) is None
    assert left_behind(chunks, newer) == tuple(bundles)
    assert (newer.waiting, newer.count, newer.bytes, newer.taken) == (("x",), 1, 1, 0)
    assert left_behind(chunks, appended(chunks, "j", 1, "x" * 9_000, 1, "w")) == ()
