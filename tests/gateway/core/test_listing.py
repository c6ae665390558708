"""The list's query: instants in both forms, pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.listing import LIMIT_DEFAULT, BadQuery, Listing, listing, place, read_instant
from schemas.instants import to_iso
from schemas.lifecycle import State
from tests.gateway.world import job


def test_nothing_asked_is_the_first_page_of_what_may_be_seen() -> None:
    wanted = listing({})
    assert isinstance(wanted, Listing)
    assert (wanted.updated_since, wanted.before, wanted.limit) == (None, None, LIMIT_DEFAULT)
    assert set(State) - set(wanted.states) == {State.REJECTED, State.DELETED}


@given(st.integers(0, 253_402_300_799_999))
def test_both_forms_of_an_instant_are_the_same(at: int) -> None:
    assert read_instant(str(at)) == read_instant(to_iso(at)) == at


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_none(text: str) -> None:
    found = read_instant(text)
    assert found is None or isinstance(found, int)


@pytest.mark.parametrize("text", ["٣", "1e3", "now", "2026-13-01", "9999-12-31T23:59:59-23:59x", " "])
def test_text_that_is_no_instant(text: str) -> None:
    assert read_instant(text) is None


def test_a_place_reads_back() -> None:
    made = job("00000000-0000-4000-8000-000000000001", at=1_234)
    wanted = listing({"before": place(made), "limit": "7"})
    assert isinstance(wanted, Listing)
    assert (wanted.before, wanted.limit) == ((1_234, made.job_id), 7)


@pytest.mark.parametrize(
    "query",
    [{"limit": "²"}, {"limit": " 5"}, {"before": "1.x"}, {"before": "²." + "0" * 36}, {"status": "queued"}],
)
def test_queries_that_are_none(query: dict[str, str]) -> None:
    assert isinstance(listing(query), BadQuery)
