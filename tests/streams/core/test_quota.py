"""Periods, usage and what is left."""

from dataclasses import replace
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from schemas.instants import from_datetime, to_datetime
from schemas.jobs import Charge, ChargeState
from schemas.lifecycle import State
from streams.core.effects import UserView
from streams.core.ledger import new_account
from streams.core.policy import Policy
from streams.core.quota import exceeds, fitting_frames, month_of, period_of, remaining
from tests.streams.core.ledger_documents import NOON, USER, Documents, submit


def at(year: int, month: int, day: int = 1, hour: int = 0, minute: int = 0, second: int = 0, ms: int = 0) -> int:
    return from_datetime(datetime(year, month, day, hour, minute, second, ms * 1000, tzinfo=UTC))


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (at(2026, 3, 10, 12), at(2026, 3), at(2026, 4)),
        (at(2026, 1, 31, 23, 59, 59, 999), at(2026, 1), at(2026, 2)),
        (at(2026, 2), at(2026, 2), at(2026, 3)),
        (at(2028, 2, 29, 12), at(2028, 2), at(2028, 3)),
        (at(2026, 12, 31, 23, 59, 59, 999), at(2026, 12), at(2027, 1)),
        (0, 0, at(1970, 2)),
    ],
)
def test_months_are_those_of_utc(now: int, start: int, end: int) -> None:
    assert month_of(now) == period_of(Policy(), now) == (start, end)


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (at(2026, 1, 31), at(2026, 1), at(2026, 2)),
        (at(2026, 2, 9), at(2026, 2), at(2026, 2, 10)),
        (at(2026, 2, 9, 23, 59, 59, 999), at(2026, 2), at(2026, 2, 10)),
        (at(2026, 2, 10), at(2026, 2, 10), at(2026, 4, 20) + 1),
        (at(2026, 3), at(2026, 2, 10), at(2026, 4, 20) + 1),
        (at(2026, 4, 20), at(2026, 2, 10), at(2026, 4, 20) + 1),
        (at(2026, 4, 20) + 1, at(2026, 4, 20) + 1, at(2026, 5)),
        (at(2026, 5), at(2026, 5), at(2026, 6)),
    ],
)
def test_a_window_begins_anew_on_entry_and_after_its_end(now: int, start: int, end: int) -> None:
    policy = Policy(limit_window=(at(2026, 2, 10), at(2026, 4, 20)))
    assert period_of(policy, now) == (start, end)


@pytest.mark.parametrize("window", [(5_000, 5_000), (5_000, 4_000)])
def test_a_window_that_ends_before_it_begins_is_none(window: tuple[int, int]) -> None:
    assert period_of(Policy(limit_window=window), NOON) == month_of(NOON)


INSTANTS = st.integers(at(2026, 1), at(2029, 1))
WINDOWS = st.none() | st.tuples(INSTANTS, INSTANTS)


@given(now=INSTANTS, later=INSTANTS, window=WINDOWS)
def test_periods_cover_time_without_gap_or_overlap(now: int, later: int, window: tuple[int, int] | None) -> None:
    policy = Policy(limit_window=window)
    start, end = period_of(policy, now)
    assert start <= now < end
    assert period_of(policy, start) == period_of(policy, end - 1) == (start, end)
    assert period_of(policy, end)[0] == end
    now, later = sorted((now, later))
    assert (
        period_of(policy, now) == period_of(policy, later) or period_of(policy, later)[0] >= period_of(policy, now)[1]
    )
    moment = to_datetime(start)
    months_first = (moment.day, moment.hour, moment.minute, moment.second, moment.microsecond) == (1, 0, 0, 0, 0)
    begin, last = policy.window() or (0, 0)
    assert months_first or start in (begin, last + 1)


@pytest.mark.parametrize(
    ("left", "frames"),
    [
        (-1.0, None),
        (0.0, None),
        (0.01, 7),
        (0.29, 7),
        (7 / 24, 7),
        (0.54, 7),
        (13 / 24, 13),
        (1.46, 31),
        (5.29, 121),
        (127 / 24, 127),
        (99, 127),
    ],
)
def test_the_longest_length_that_fits(left: float, frames: int | None) -> None:
    assert fitting_frames(left) == frames


@example(left=0.0, frames=6)
@example(left=-0.125, frames=1)
@example(left=1e12, frames=200)
@given(left=st.floats(-10, 10), frames=st.integers(1, 200))
def test_what_is_allowed_grows_with_what_is_left_and_what_is_suggested_is_allowed(left: float, frames: int) -> None:
    if not exceeds(left, frames / 24):
        assert left > 0
        assert not exceeds(left + 0.1, frames / 24)
        assert not exceeds(left, (frames - 1) / 24)
        assert frames / 24 < max(left + 6 / 24, 7 / 24) + 1e-6, "a step too long at most"
    fits = fitting_frames(left)
    assert (fits is None) == exceeds(left, 7 / 24)
    assert fits is None or not exceeds(left, fits / 24)


@pytest.mark.parametrize("left", [6.0, 10.0])
def test_videos_longer_than_openvs_go_on_in_its_steps(left: float) -> None:
    assert not exceeds(left, left)
    past = next(frames for frames in range(7, 400, 6) if frames / 24 > left)
    assert not exceeds(left, past / 24)
    assert exceeds(left, (past + 1) / 24)


def charge(seconds: float, reserved_at: int, state: ChargeState = ChargeState.CAPTURED) -> Charge:
    return Charge(state=state, seconds=seconds, reserved_at=reserved_at)


def test_a_charge_belongs_to_the_period_of_its_reservation() -> None:
    documents = Documents()
    documents.do(submit("j1"), now=at(2026, 1, 31, 23, 59, 59, 999))
    documents.do(submit("j2"), now=at(2026, 2))
    view = documents.view(submit("j9"), at(2026, 2))
    left = remaining(view, Policy(), at(2026, 2, 2))
    assert (left.used_seconds, left.active) == (1.29, 2), "an active job counts as active whenever it was admitted"
    assert (left.period_start, left.period_end) == (at(2026, 2), at(2026, 3))


@given(st.lists(st.floats(0, 6), max_size=40), st.floats(0, 700))
def test_usage_is_shown_to_two_decimals_and_adds_up(seconds: list[float], limit: float) -> None:
    documents = Documents()
    documents.do(submit())
    job = documents.job()
    jobs = {
        str(n): replace(job, job_id=str(n), state=State.COMPLETED, charge=charge(s, NOON))
        for n, s in enumerate(seconds)
    }
    left = remaining(UserView(new_account(USER), jobs), Policy(monthly_limit_seconds=limit), NOON)
    assert left.used_seconds == pytest.approx(sum(seconds), abs=0.0051)
    assert round(left.used_seconds, 2) == left.used_seconds
    assert left.remaining_seconds == max(0.0, round(limit - left.used_seconds, 2))
    mirrored = UserView(new_account(USER), dict(reversed(jobs.items())))
    assert remaining(mirrored, Policy(monthly_limit_seconds=limit), NOON) == left, "whatever the order of documents"


def test_what_was_refunded_or_refused_does_not_count() -> None:
    documents = Documents()
    documents.do(submit())
    job = documents.job()
    for state, used in ((ChargeState.NONE, 0.0), (ChargeState.REFUNDED, 0.0), (ChargeState.RESERVED, 2.0)):
        jobs = {"j1": replace(job, charge=charge(2.0, NOON, state))}
        assert remaining(UserView(new_account(USER), jobs), Policy(), NOON).used_seconds == used
