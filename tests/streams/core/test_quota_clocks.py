"""Usage over clocks: month ends, leap days, year ends, window edges to the millisecond; jobs that end in another period
than they began in; limits that change in between. The ledger is held against a book that knows nothing of its code."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Literal

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.accounts import Overrides
from schemas.commands import AnyCommand, AskUsage, SetOverrides
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState
from schemas.lifecycle import ACTIVE, State
from streams.core.folds import charges
from streams.core.policy import Policy
from tests.streams.core.ledger_documents import (
    USER,
    Documents,
    cancel,
    delete,
    expired,
    failed,
    handed_back,
    lost,
    retry,
    started,
    submit,
    succeeded,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
BEGIN = datetime(2027, 11, 20, tzinfo=UTC)
STEPS = range(7, 128, 6)
MONTHS = [datetime(year, month, 1, tzinfo=UTC) for year in range(2027, 2031) for month in range(1, 13)]
LEAP_DAY = datetime(2028, 2, 29, tzinfo=UTC)
HUNDREDTH = Fraction(1, 100)
Refunds = Literal["all", "used", "none"]
NEAR = st.sampled_from([-MS, timedelta(), MS])
WHICH = st.integers(0, 3)
REPORTS = st.sampled_from(["made", "made", "failed", "expired", "lost", "handed back", "started", "started"])


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // MS


@dataclass
class Entry:
    """One run of one job, in the book: what it counts, in frames, and since when."""

    job_id: str
    at: datetime
    frames: Fraction
    counts: bool = True
    active: bool = True
    began: datetime | None = None


@dataclass
class Book:
    """What a careful clerk would write down."""

    window: tuple[datetime, datetime] | None
    refunds: Refunds
    entries: list[Entry] = field(default_factory=list)

    def resets(self) -> Iterator[datetime]:
        """When usage begins anew."""
        if self.window is None or self.window[0] >= self.window[1]:
            yield from MONTHS
            return
        start, end = self.window
        yield from (month for month in MONTHS if not start < month <= end)
        yield start
        yield end + MS

    def used(self, now: datetime) -> Fraction:
        """Frames that count now: those since the last reset."""
        last = max(reset for reset in self.resets() if reset <= now)
        return sum((one.frames for one in self.entries if one.counts and last <= one.at), Fraction())

    def allows(self, frames: int, limit: Fraction, now: datetime) -> bool:
        """One step past what is left at most, and the shortest while anything is left."""
        left = limit - self.used(now)
        if left <= 0:
            return False
        return frames <= next(step for step in range(7, 20_000, 6) if step > left)

    def newest(self, job_id: str) -> Entry:
        return [one for one in self.entries if one.job_id == job_id][-1]

    def end(self, job_id: str, now: datetime, how: Literal["made", "given back", "stopped"]) -> None:
        """The run is over. Stopped by its user, the deployment says what is given back."""
        one = self.newest(job_id)
        one.active = False
        if how == "given back" or (how == "stopped" and self.refunds == "all"):
            one.counts = False
        elif how == "stopped" and self.refunds == "used":
            ran = Fraction((now - one.began) // MS * 24, 1000) if one.began else Fraction()
            one.frames = min(one.frames, ran)
            one.counts = one.frames > 0


class Clocks(RuleBasedStateMachine):
    """One user, over two years and a half."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.log: list[tuple[AnyCommand, int]] = []
        self.answers: list[CommandAnswered | None] = []

    @initialize(
        limit=st.sampled_from([62, 100, 400]),
        window=st.none()
        | st.sampled_from(
            [
                (datetime(2028, 1, 10, tzinfo=UTC), datetime(2028, 3, 20, tzinfo=UTC)),
                (datetime(2028, 2, 10, tzinfo=UTC), datetime(2028, 2, 20, 12, 30, tzinfo=UTC)),
                (datetime(2027, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), LEAP_DAY),
                (datetime(2028, 1, 1, tzinfo=UTC), datetime(2028, 2, 1, tzinfo=UTC)),
                (LEAP_DAY, BEGIN),  # wrong: the month holds
            ]
        ),
        refunds=st.sampled_from(["all", "used", "none"]),
    )
    def begin(self, limit: int, window: tuple[datetime, datetime] | None, refunds: Refunds) -> None:
        self.limit = Fraction(limit)
        self.book = Book(window, refunds)
        self.policy = Policy(
            monthly_limit_seconds=limit / 24,
            limit_window=None if window is None else (ms(window[0]), ms(window[1])),
            max_active=99,
            rate_limit=999,
            refund_on_cancel=refunds,
        )
        self.documents = Documents(self.policy)

    # ---- the clock

    @rule(near=NEAR, which=WHICH)
    def an_edge_comes(self, near: timedelta, which: int) -> None:
        """The next instants at which something begins or ends, a millisecond around each."""
        days = [*self.book.resets(), *(self.book.window or ()), LEAP_DAY, LEAP_DAY + timedelta(1)]
        coming = sorted({day + near for day in days if self.now < day + near < MONTHS[-2]})
        self.now = coming[min(which, len(coming) - 1)] if coming else self.now
        self.usage_is_what_the_book_says()  # here too: a life passes several edges between two looks of the machine

    @precondition(lambda self: self.book.window is not None and self.now < max(self.book.window) - MS)
    @rule(near=NEAR)
    def the_window_begins_or_ends(self, near: timedelta) -> None:
        """Among all those edges it would seldom be met to the millisecond."""
        self.now = min(edge + near for edge in self.book.window or () if self.now < edge + near)

    @rule(passed=st.sampled_from([MS, timedelta(seconds=1.5), timedelta(hours=7), timedelta(days=9)]))
    def time_passes(self, passed: timedelta) -> None:
        self.now = min(self.now + passed, MONTHS[-2])

    # ---- what is asked and reported

    def send(self, command: AnyCommand) -> CommandAnswered | None:
        self.log.append((command, ms(self.now)))
        self.answers.append(self.documents.do(command, now=ms(self.now)).answer)
        return self.answers[-1]

    def decided(self, command: AnyCommand, job_id: str, frames: int) -> None:
        """An admission: the book says which way, and why."""
        allowed = self.book.allows(frames, self.limit, self.now)
        answer = self.send(command)
        assert answer is not None
        if allowed:
            assert answer.outcome is Outcome.ADMITTED
            self.book.entries.append(Entry(job_id, self.now, Fraction(frames)))
        else:
            assert (answer.outcome, answer.code) == (Outcome.REFUSED, FailureCode.QUOTA_EXCEEDED)

    def one_in(self, data: st.DataObject, *states: State) -> str | None:
        found = sorted(job_id for job_id, job in self.documents.jobs.items() if job.state in states)
        return data.draw(st.sampled_from(found)) if found else None

    @rule(frames=st.sampled_from(STEPS) | st.sampled_from([7, 31]))
    def submits(self, frames: int) -> None:
        job_id = f"job-{len(self.log)}"
        self.decided(submit(job_id, frames=frames), job_id, frames)

    @rule(data=st.data())
    def asks_for_another_run(self, data: st.DataObject) -> None:
        job_id = self.one_in(data, State.FAILED, State.CANCELLED, State.TIMED_OUT)
        if job_id is None:
            return
        job = self.documents.job(job_id)
        if ms(self.now) <= max(job.finished_at or 0, job.refusal.refused_at if job.refusal else 0):
            return  # in the millisecond of the end or of the last refusal it can't be a new wish
        self.decided(retry(job_id, job.run, f"retry-{len(self.log)}"), job_id, job.request.num_frames)

    @rule(data=st.data(), how=REPORTS)
    def a_worker_reports(self, data: st.DataObject, how: str) -> None:
        job_id = self.one_in(data, *ACTIVE)
        if job_id is None:
            return
        job = self.documents.job(job_id)
        if job.state is State.QUEUED and how in ("lost", "handed back", "started"):
            self.send(started("w", job.attempt, job_id))
            self.book.newest(job_id).began = self.now
        if how == "made":
            self.send(succeeded("w", job.attempt, job_id))
            self.book.end(job_id, self.now, "made")
        elif how == "failed":
            self.send(failed("w", job.attempt, FailureCode.INVALID_INPUT, job_id=job_id))
            self.book.end(job_id, self.now, "given back")
        elif how == "expired":
            self.send(expired(FailureCode.TTL_EXPIRED, job.run, job.attempt, job_id))
            self.book.end(job_id, self.now, "given back")
        elif how in ("lost", "handed back"):
            self.send((lost if how == "lost" else handed_back)("w", job.attempt, job_id))
            self.book.newest(job_id).began = None
            if self.documents.job(job_id).state is State.FAILED:  # it was lost too often
                self.book.end(job_id, self.now, "given back")

    @rule(data=st.data(), deletes=st.booleans())
    def its_user_ends_it(self, data: st.DataObject, deletes: bool) -> None:
        job_id = self.one_in(data, *ACTIVE)
        if job_id is None or (not deletes and self.documents.job(job_id).charge.reserved_at == ms(self.now)):
            return
        job = self.documents.job(job_id)
        self.send(delete(job_id) if deletes else cancel(job_id, job.run, f"cancel-{len(self.log)}"))
        self.book.end(job_id, self.now, "stopped")

    @rule(data=st.data(), near=NEAR, which=WHICH, turns=st.integers(1, 3))
    def a_life(self, data: st.DataObject, near: timedelta, which: int, turns: int) -> None:
        """Asked for in one period, ended in another, asked for again in a third."""
        self.submits(data.draw(st.sampled_from([7, 13, 31])))
        for _ in range(turns):
            self.now = min(self.now + SECOND, MONTHS[-2])
            self.a_worker_reports(data, "started")
            self.an_edge_comes(near, which)
            if data.draw(st.booleans()):
                self.a_worker_reports(data, data.draw(REPORTS))
            else:
                self.its_user_ends_it(data, deletes=False)
            self.an_edge_comes(near, which)
            self.asks_for_another_run(data)

    @rule(data=st.data(), chance=st.integers(0, 3))
    def an_ended_one_is_deleted(self, data: st.DataObject, chance: int) -> None:
        job_id = self.one_in(data, State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT)
        if job_id is not None and chance == 3:
            self.send(delete(job_id))

    @rule(limit=st.none() | st.sampled_from([0, 5, 31, 62, 150]))
    def an_operator_overrides(self, limit: int | None) -> None:
        own = Overrides(monthly_limit_seconds=None if limit is None else limit / 24)
        issued = self.documents.account.overrides_issued_at + 1
        self.send(SetOverrides(command_id=f"o-{issued}", user_id=USER, overrides=own, issued_at=issued))
        self.limit = Fraction(self.policy.monthly_limit_seconds * 24 if limit is None else limit)

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def a_record_comes_again(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.log) - 1))
        command, at = self.log[number]
        before = dict(self.documents.jobs), self.documents.account
        self.documents.do(command, now=at)
        assert (dict(self.documents.jobs), self.documents.account) == before, "nothing counts twice"

    # ---- what holds

    @invariant()
    def usage_is_what_the_book_says(self) -> None:
        if not hasattr(self, "book"):
            return
        answer = self.documents.decision(AskUsage(command_id="q", user_id=USER), ms(self.now)).answer
        assert answer is not None
        left = answer.remaining
        assert left is not None
        exact = self.book.used(self.now) / 24
        assert abs(Fraction(left.used_seconds) - exact) <= HUNDREDTH / 2 + Fraction(1, 10**9)
        assert left.used_seconds >= 0
        assert left.limit_seconds == pytest.approx(float(self.limit / 24))
        assert left.remaining_seconds == max(0.0, round(left.limit_seconds - left.used_seconds, 2))
        if left.remaining_seconds:
            assert left.used_seconds + left.remaining_seconds == pytest.approx(left.limit_seconds, abs=0.0051)
        assert left.active == sum(one.active for one in self.book.entries)
        resets = sorted(self.book.resets())
        assert left.period_start == ms(max(reset for reset in resets if reset <= self.now))
        assert left.period_end == ms(min(reset for reset in resets if reset > self.now))

    @invariant()
    def every_charge_is_in_the_book_once(self) -> None:
        if not hasattr(self, "book"):
            return
        kept = [
            one
            for one in charges(self.documents.jobs.values())
            if one.state in (ChargeState.RESERVED, ChargeState.CAPTURED)
        ]
        book = [one for one in self.book.entries if one.counts]
        assert sorted(one.reserved_at for one in kept) == sorted(ms(one.at) for one in book)
        assert sum(one.state is ChargeState.RESERVED for one in kept) == sum(one.active for one in book)
        assert sum(one.seconds for one in kept) == pytest.approx(float(sum(one.frames for one in book) / 24))

    def teardown(self) -> None:
        """The log, read from its begin by a ledger that knows nothing: the same answers, the same documents."""
        if not self.log:
            return
        afresh = Documents(self.policy)
        for (command, at), answer in zip(self.log, self.answers, strict=True):
            assert afresh.do(command, now=at).answer == answer
        assert afresh.jobs == self.documents.jobs
        assert replace(afresh.account, version=0) == replace(self.documents.account, version=0)


Clocks.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestClocks = pytest.mark.timeout(300)(Clocks.TestCase)  # only a failure takes long: it is shrunk to its kernel
