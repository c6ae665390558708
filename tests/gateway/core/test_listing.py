"""The list's query: instants in both forms, pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.listing import LIMIT_DEFAULT, VISIBLE, BadQuery, Form, Listing, listing, place, read_instant
from schemas.instants import to_iso
from schemas.lifecycle import State
from tests.gateway.world import job


def test_nothing_asked_is_all_that_may_be_seen() -> None:
    wanted = listing({})
    assert isinstance(wanted, Listing)
    assert (wanted.updated_since, wanted.before, wanted.limit, wanted.form) == (None, None, None, None)
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


@pytest.mark.parametrize(
    ("words", "states"),
    [
        ("queued", [State.QUEUED]),
        ("failed", [State.FAILED, State.CANCELLED, State.TIMED_OUT]),
        ("cancelled", [State.CANCELLED]),
        ("Timed_Out, completed", [State.COMPLETED, State.TIMED_OUT]),
        ("queued,processing,completed,failed", list(VISIBLE)),
        ("", list(VISIBLE)),
    ],
)
def test_a_status_is_openvs_word_or_a_state(words: str, states: list[State]) -> None:
    wanted = listing({"status": words})
    assert isinstance(wanted, Listing)
    assert list(wanted.states) == states


@pytest.mark.parametrize("words", ["deleted", "rejected", "queued,,", ",".join(["queued"] * 50)])
def test_what_is_hidden_can_not_be_asked_for_by_status(words: str) -> None:
    assert isinstance(listing({"status": words}), BadQuery)


def test_an_empty_instant_is_none_and_a_cursor_alone_asks_for_a_page() -> None:
    wanted = listing({"updatedSince": "", "before": "1.00000000-0000-4000-8000-000000000001", "format": "object"})
    assert isinstance(wanted, Listing)
    assert (wanted.updated_since, wanted.limit, wanted.form) == (None, LIMIT_DEFAULT, Form.OBJECT)
    tombstones = listing({"deleted": "true", "status": "queued"})
    assert isinstance(tombstones, Listing)
    assert tombstones.states == (State.QUEUED, State.DELETED)


def test_a_place_reads_back() -> None:
    made = job("00000000-0000-4000-8000-000000000001", at=1_234)
    wanted = listing({"before": place(made), "limit": "7"})
    assert isinstance(wanted, Listing)
    assert (wanted.before, wanted.limit) == ((1_234, made.job_id), 7)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "²"},
        {"limit": " 5"},
        {"before": "1.x"},
        {"before": "²." + "0" * 36},
        {"status": "late"},
        {"status": ","},
        {"format": "xml"},
    ],
)
def test_queries_that_are_none(query: dict[str, str]) -> None:
    assert isinstance(listing(query), BadQuery)
