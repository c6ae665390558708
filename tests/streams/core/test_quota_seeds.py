"""OpenV's own rules of the quota, told as it decides them, and the ledger held against them.

What it does: ``checkQuotaAllowance`` in its ``lib/user.ts``, and the resets of its ``lib/monthly-limit.ts``, which
happen when a user is looked at. Lengths are counted in frames here, so that nothing is rounded.
"""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from schemas.accounts import Overrides
from schemas.commands import AskUsage
from schemas.events import Outcome
from schemas.failures import FailureCode
from streams.core.policy import Policy
from streams.core.quota import exceeds, fitting_frames
from tests.streams.core.ledger_documents import USER, Documents, submit

STEPS = list(range(7, 128, 6))
LEFT = [Fraction(quarters, 4) for quarters in range(-8, 4 * 134)]  # frames
HUNDREDTHS = [Fraction(24 * left, 100) for left in range(-50, 650)]  # OpenV keeps usage in hundredths of a second
MS = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def openv_allows(frames: int, left: Fraction) -> tuple[bool, int | None]:
    """Whether OpenV allows this length, and what it suggests instead."""
    if left <= 0:
        return False, None
    if left < STEPS[0]:
        return (True, None) if frames == STEPS[0] else (False, STEPS[0])
    fits = max(step for step in STEPS if step <= left)
    past = min((step for step in STEPS if step > left), default=None)
    longer = min((step for step in STEPS if step > frames), default=None)
    allowed = frames <= fits or frames == past or (longer is not None and longer <= left)
    return allowed, None if allowed else fits


@pytest.mark.parametrize("frames", STEPS)
def test_every_length_is_allowed_or_denied_and_suggested_as_openv_does(frames: int) -> None:
    for left in (*LEFT, *HUNDREDTHS, Fraction(60 * 24), Fraction(600 * 24)):
        allowed, suggested = openv_allows(frames, left)
        assert exceeds(float(left) / 24, frames / 24) is not allowed, left
        assert allowed or fitting_frames(float(left) / 24) == suggested, left


def test_what_is_compared_holds_every_kind_of_answer() -> None:
    answers = {openv_allows(frames, left) for left in LEFT for frames in STEPS}
    assert answers == {(True, None), (False, None), *((False, step) for step in STEPS[:-2])}


def test_between_two_steps_what_is_shorter_than_an_allowed_length_is_allowed() -> None:
    """The one difference: OpenV denies 34 frames where 35 are left, and allows 37."""
    differs = set()
    between = sorted(set(range(7, 128)) - set(STEPS))
    for left in LEFT[::2]:
        longest = max((step for step in STEPS if openv_allows(step, left)[0]), default=0)
        for frames in between:
            theirs, _ = openv_allows(frames, left)
            ours = not exceeds(float(left) / 24, frames / 24)
            assert ours is (theirs or frames < longest), (frames, left)
            if ours is not theirs:
                differs.add((frames, left))
    assert (34, Fraction(35)) in differs
    assert all(math.floor((left - 1) / 6) == (frames - 1) // 6 for frames, left in differs), "within one step only"


@pytest.mark.parametrize("used", [(), (31, 31, 37), (127,) * 7])
def test_the_ledger_decides_so(used: tuple[int, ...]) -> None:
    """The whole way: a submission, decided on what earlier ones left."""
    documents = Documents(Policy(max_active=99, rate_limit=99, monthly_limit_seconds=1e6))
    for number, frames in enumerate(used):
        assert documents.ask(submit(f"used-{number}", frames=frames)).outcome is Outcome.ADMITTED
    for left in LEFT[::3]:
        limit = Overrides(monthly_limit_seconds=float(left + sum(used)) / 24)
        documents.account = replace(documents.account, overrides=limit)
        for frames in STEPS[::2]:
            answer = documents.decision(submit("next", frames=frames)).answer
            assert answer is not None
            assert answer.remaining is not None
            allowed, suggested = openv_allows(frames, left)
            assert (answer.outcome is Outcome.ADMITTED) is allowed, (frames, left)
            if not allowed:
                assert answer.code is FailureCode.QUOTA_EXCEEDED
                assert answer.remaining.suggested_frames == suggested


# ---- periods


@dataclass
class OpenV:
    """A user's row: frames used, and when they were last set to nothing. It begins when the user does."""

    reset_at: datetime
    window: tuple[datetime, datetime] | None
    used: int = 0

    def look(self, now: datetime) -> None:
        """What happens before anything is told or decided."""
        begun, month = self.reset_at, (self.reset_at.year, self.reset_at.month) != (now.year, now.month)
        start, end = self.window or (None, None)
        if start is None or end is None or end <= start or now < start:
            due = month
        elif now <= end:
            due = begun < start
        else:
            due = begun <= end or month
        if due:
            self.used, self.reset_at = 0, now


DAY_MS = 86_400_000
YEARS = st.integers(0, 180 * DAY_MS).map(lambda passed: datetime(2027, 11, 1, tzinfo=UTC) + passed * MS)
NEAR = st.sampled_from([timedelta(), MS, -MS])
FIRSTS = [(2027, 12, 1), (2028, 1, 1), (2028, 2, 29), (2028, 3, 1), (2028, 4, 1)]
EDGES = st.sampled_from([datetime(*first, tzinfo=UTC) for first in FIRSTS])


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[datetime, datetime] | None, list[datetime]]:
    """A window (right, wrong or none), and when its user makes videos, often just where a period begins or ends."""
    window = draw(st.none() | st.tuples(YEARS | EDGES, YEARS | EDGES))
    edges = EDGES if window is None else EDGES | st.sampled_from(window)
    moments = YEARS | st.builds(lambda edge, near: edge + near, edges, NEAR)
    return window, sorted(draw(st.lists(moments, min_size=2, max_size=12)))


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // MS


JUST = datetime(2028, 2, 10, tzinfo=UTC), datetime(2028, 3, 10, tzinfo=UTC)


@example(history=(JUST, [JUST[0] - MS, JUST[0], JUST[1], JUST[1] + MS]))
@example(history=((JUST[1], JUST[0]), [JUST[0], JUST[1]]))
@given(history=histories())
def test_usage_is_set_to_nothing_when_openv_sets_it(
    history: tuple[tuple[datetime, datetime] | None, list[datetime]],
) -> None:
    window, moments = history
    limit = None if window is None else (ms(window[0]), ms(window[1]))
    documents = Documents(Policy(max_active=99, rate_limit=99, limit_window=limit))
    theirs = OpenV(moments[0], window)
    for number, now in enumerate(moments):
        theirs.look(now)
        assert documents.ask(submit(f"job-{number}"), now=ms(now)).outcome is Outcome.ADMITTED
        theirs.used += 31
        told = documents.ask(AskUsage(command_id="q", user_id=USER), now=ms(now)).remaining
        assert told is not None
        assert told.used_seconds == round(theirs.used / 24, 2)
        assert told.period_start <= ms(now) < (told.period_end or 0)
