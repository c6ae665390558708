"""The ledger under an adversary: commands told twice, late and in any order, two writers, crashes between two writes.

What must hold is ARCHITECTURE.md section 9, items 1 to 3 and 6. The shell's part is played by ``perform``: settle what
an earlier writer left, decide, compare-and-set, settle, and on a lost write decide again.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.accounts import Account, Overrides, Role
from schemas.commands import (
    AccountCommand,
    AnyCommand,
    AskUsage,
    CancelJob,
    DeleteJob,
    DeleteUser,
    GrantCredits,
    JobExpired,
    RedeemVoucher,
    SetBlocked,
    SetOverrides,
    SetRole,
    SubmitJob,
)
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FailureCode
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import ACTIVE, TRANSITIONS, State
from schemas.requests import FPS
from streams.core.apply import applied, unsettled
from streams.core.credits import balance
from streams.core.effects import Decision, WriteJob
from streams.core.folds import charges, counted
from streams.core.forgetting import is_renewed
from streams.core.policy import Policy
from streams.core.quota import LENGTHS, period_of
from streams.core.recorded import Recorded
from tests.streams.core.ledger_documents import (
    HOUR,
    NOON,
    SECOND,
    USER,
    Documents,
    cancel,
    delete,
    expired,
    failed,
    gone,
    handed_back,
    lost,
    retry,
    started,
    submit,
    succeeded,
)

DAY = 86_400_000
JOBS = ["j1", "j2", "j3", "j4"]
EDGES = {(before, after) for before, row in TRANSITIONS.items() for after in row.values()}
EDGES |= {(None, State.QUEUED), (None, State.REJECTED), (State.REJECTED, State.QUEUED)}
REFUSED_AGAIN = {(State.REJECTED, State.REJECTED)} | {
    (state, state) for state in (State.FAILED, State.CANCELLED, State.TIMED_OUT, State.DELETED)
}  # another refusal is written into the document, which else stays; or it is written again, to be kept for longer
SETTLED = {ChargeState.CAPTURED, ChargeState.REFUNDED}


@dataclass
class Watched(Documents):
    """Documents that refuse what may never be written."""

    writes: int = 0
    edges: set[tuple[State | None, State]] = field(default_factory=set)

    def store(self, job: Job) -> None:
        before = self.jobs.get(job.job_id)
        edge = (before.state if before else None, job.state)
        assert edge in EDGES | REFUSED_AGAIN, f"no such move: {edge}"
        if before:
            assert job.version == before.version + 1
            assert job.attempt >= before.attempt
            assert job.run >= before.run
            assert job.updated_at > before.updated_at
            if before.run == job.run and before.charge.state in SETTLED:
                assert job.charge == before.charge, "settled once, a run's charge stays as it is"
            if edge in REFUSED_AGAIN:
                assert job == replace(
                    before,
                    version=job.version,
                    updated_at=job.updated_at,
                    refusal=job.refusal,
                    failure=job.failure,
                    charge=job.charge,
                    created_at=job.created_at,
                    due_at=job.due_at,
                    expires_at=job.expires_at,
                    finished_at=job.finished_at,
                    asked_at=job.asked_at,
                )
        self.edges.add(edge)
        self.writes += 1
        super().store(job)


class Ledger(RuleBasedStateMachine):
    """Any log of commands over a few jobs of one user."""

    def __init__(self) -> None:
        super().__init__()
        self.documents = Watched()
        self.log: list[tuple[AnyCommand, int, Decision]] = []
        self.aside: list[tuple[AnyCommand, int]] = []  # undecided, by a mistake of ours
        self.redriven: list[tuple[AnyCommand, int, Recorded]] = []
        self.now = NOON
        self.discarded: set[tuple[str, int, str]] = set()
        self.refund = "all"

    @initialize(
        refund=st.sampled_from(["all", "used", "none"]),
        limit=st.sampled_from([600.0, 6.0, 3.0]),
        window=st.sampled_from([None, (NOON + 2 * DAY, NOON + 40 * DAY)]),
        max_active=st.integers(1, 3),
        price=st.sampled_from([0.0, 0.0, 0.0, 1.0]),
    )
    def begin(self, refund: Any, limit: float, window: tuple[int, int] | None, max_active: int, price: float) -> None:
        self.documents.policy = Policy(
            monthly_limit_seconds=limit,
            limit_window=window,
            max_active=max_active,
            refund_on_cancel=refund,
            credits_required=price > 0,
            credits_per_video=price,
            backoff_base_ms=1_000,
        )
        self.refund = refund

    # ---- what is sent

    def send(self, command: AnyCommand, *, crash: bool = False) -> None:
        self.now += 1
        decision = self.perform(command, self.now, crash=crash)
        self.log.append((command, self.now, decision))

    def wish(self, data: st.DataObject) -> AnyCommand:
        """What a client may ask for."""
        job_id = data.draw(st.sampled_from(JOBS))
        job = self.documents.jobs.get(job_id)
        run = job.run - data.draw(st.sampled_from([0, 0, 0, min(1, job.run - 1)])) if job else 1
        sent = len(self.log) + len(self.aside) + len(self.redriven)
        number, soon = f"c{sent}-{data.draw(st.integers(0, 9))}", self.now + 2 * SECOND
        frames = 31 if data.draw(st.integers(0, 9)) else 61
        kinds: list[AnyCommand] = [
            submit(job_id, frames=frames, command_id=number, append_by=soon),
            submit(job_id, frames=frames, command_id=number, append_by=soon),
            retry(job_id, run, number, soon),
            cancel(job_id, run, number),
            cancel(job_id, None, number),
            submit(job_id, frames=frames, command_id=number, append_by=self.now),
            delete(job_id) if data.draw(st.integers(0, 9)) == 7 else retry(job_id, run, number, soon),
            AskUsage(command_id=number, user_id=USER),
        ]
        return data.draw(st.sampled_from(kinds))

    def said(self, data: st.DataObject) -> AnyCommand:
        """What is said of attempts that were handed out, by workers that know of them or do not."""
        handed_out = sorted(j for j, job in self.documents.jobs.items() if job.state is not State.REJECTED)
        alive = [j for j in handed_out if self.documents.job(j).state in ACTIVE]
        job = self.documents.job(data.draw(st.sampled_from(alive or handed_out)))
        back = data.draw(st.sampled_from([0, 0, 0, 0, 1, 2]))
        attempt = max(1, job.attempt - back)
        knows = (job.previous_worker_id if back else job.worker_id) or "w1"
        worker = data.draw(st.sampled_from([knows, knows, knows, "w1", "w2", "w3"]))
        code = data.draw(st.sampled_from([FailureCode.WORKER_CRASHED, FailureCode.INVALID_INPUT]))
        timeout = data.draw(st.sampled_from([FailureCode.TTL_EXPIRED, FailureCode.EXECUTION_TIMEOUT]))
        kinds = [
            started(worker, attempt, job.job_id),
            started(worker, attempt, job.job_id),
            succeeded(worker, attempt, job.job_id),
            failed(worker, attempt, code, job_id=job.job_id),
            lost(worker, attempt, job.job_id),
            handed_back(worker, attempt, job.job_id),
            expired(timeout, job.run, attempt, job.job_id),
        ]
        return data.draw(st.sampled_from(kinds))

    def any_handed_out(self) -> bool:
        return any(job.state is not State.REJECTED for job in self.documents.jobs.values())

    @rule(data=st.data(), crash=st.booleans())
    def asks(self, data: st.DataObject, crash: bool) -> None:
        self.send(self.wish(data), crash=crash)

    @precondition(any_handed_out)
    @rule(data=st.data(), crash=st.booleans(), times=st.integers(1, 4))
    def reports(self, data: st.DataObject, crash: bool, times: int) -> None:
        for _ in range(times):
            self.send(self.said(data), crash=crash)

    @rule(data=st.data())
    def account(self, data: st.DataObject) -> None:
        number, issued = f"a{len(self.log)}", data.draw(st.integers(1, 40))
        kinds: list[AccountCommand] = [
            GrantCredits(command_id=number, user_id=USER, grant_id=f"g{issued}", credits=float(issued % 7 - 1)),
            SetBlocked(command_id=number, user_id=USER, blocked=issued % 9 == 0, issued_at=issued),
            SetRole(command_id=number, user_id=USER, role=Role.USER, issued_at=issued),
            SetOverrides(command_id=number, user_id=USER, overrides=Overrides(rate_limit=8), issued_at=issued),
            RedeemVoucher(
                command_id=number,
                user_id=USER,
                code=f"code-{issued % 3}",
                role=Role.USER,
                append_by=self.now + 2 * SECOND,
            ),
        ]
        self.send(data.draw(st.sampled_from(kinds)))

    @rule(issued=st.integers(1, 40), chance=st.integers(0, 20))
    def deletes_user(self, issued: int, chance: int) -> None:
        if chance == 13:
            self.send(DeleteUser(command_id=f"c{len(self.log)}", user_id=USER, issued_at=issued))

    # ---- what goes wrong

    @rule(ms=st.sampled_from([500, 5 * SECOND, 11 * SECOND, DAY, 25 * DAY]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def replayed(self, data: st.DataObject) -> None:
        """A record is delivered once more, however long ago it was: nothing changes."""
        command, at, _ = data.draw(st.sampled_from(self.log))
        self.unchanged(command, at)

    @rule(data=st.data())
    def is_set_aside(self, data: st.DataObject) -> None:
        """A command that no ledger can decide goes to the dead letters."""
        draw = self.said if self.any_handed_out() and data.draw(st.booleans()) else self.wish
        self.now += 1
        self.aside.append((draw(data), self.now))

    @precondition(lambda self: self.aside)
    @rule(crash=st.booleans())
    def is_redriven(self, crash: bool) -> None:
        """It is decided after all, in the order in which it was recorded; its guards know when that was."""
        command, at = self.aside.pop(0)
        self.now += 1
        recorded = Recorded(at, set_aside=True)
        self.perform(command, self.now, crash=crash, recorded=recorded)
        self.redriven.append((command, self.now, recorded))

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def two_writers(self, data: st.DataObject) -> None:
        """Another process decides the next command on what it loaded before this one wrote."""
        draw = self.said if self.any_handed_out() and data.draw(st.booleans()) else self.wish
        one, two = draw(data), draw(data)
        stale = self.documents.decision(two, self.now + 2)
        self.send(one)
        if stale.write and self.documents.write(stale):
            self.discarded |= {(f.job_id, f.attempt, f.worker_id) for f in stale.discarded}
            self.now += 1
            self.log.append((two, self.now, stale))
        else:
            self.send(two)

    @invariant()
    def a_voucher_counts_once_and_its_users_are_no_guests(self) -> None:
        account: Account = self.documents.account
        codes = [use.code for use in account.vouchers]
        assert len(codes) == len(set(codes))
        assert not codes or account.role is not Role.RESTRICTED

    # ---- the shell

    def perform(
        self, command: AnyCommand, now: int, *, crash: bool = False, recorded: Recorded | None = None
    ) -> Decision:
        for _ in range(50):
            for job in unsettled(self.documents.view(command, now)):
                self.documents.settle(job)
            view = self.documents.view(command, now)
            decision = self.documents.decision(command, now, recorded=recorded)
            written = self.documents.write(decision, settle=not crash)
            assert written, "nobody else writes between"
            if crash:
                crash = False
                continue  # nothing was announced; the record is delivered again
            after = applied(view, decision)
            assert all(self.documents.jobs[job.job_id] == job for job in decision.jobs)
            assert after.account == self.documents.account
            assert all(self.documents.jobs[job_id] == job for job_id, job in after.jobs.items())
            self.discarded |= {(f.job_id, f.attempt, f.worker_id) for f in decision.discarded}
            if not decision.again:
                self.told_twice(command, now, decision, recorded)
                return decision
        raise AssertionError("it never comes to an end")

    def told_twice(self, command: AnyCommand, now: int, first: Decision, recorded: Recorded | None) -> None:
        again = self.documents.decision(command, now, recorded=recorded)
        assert again.write is None
        assert again.jobs == first.jobs
        assert again.account == first.account
        assert gone(again) >= gone(first)
        assert again.answer == first.answer

    def unchanged(self, command: AnyCommand, at: int, recorded: Recorded | None = None) -> Decision:
        before = (self.documents.account, dict(self.documents.jobs))
        decision = self.documents.decision(command, at, recorded=recorded)
        if recorded is None and (renewed := self.renewal(decision, at)):
            assert isinstance(command, SubmitJob), renewed
        else:
            assert decision.write is None, (command, at, recorded, decision.write)
        self.discarded |= {(f.job_id, f.attempt, f.worker_id) for f in decision.discarded}
        assert (self.documents.account, self.documents.jobs) == before
        return decision

    def renewal(self, decision: Decision, at: int) -> Job | None:
        """The document that is written again only to outlive a record that names it (``forgetting.py``)."""
        if not isinstance(decision.write, WriteJob):
            return None
        before, after = self.documents.jobs.get(decision.write.job.job_id), decision.write.job
        if before is None or not is_renewed(before, at):
            return None
        return after if after == replace(before, version=after.version, updated_at=after.updated_at) else None

    # ---- what must hold

    @invariant()
    def charges_follow_states(self) -> None:
        for job in self.documents.jobs.values():
            state = job.charge.state
            assert (state is ChargeState.RESERVED) == (job.state in ACTIVE)
            assert job.state is not State.REJECTED or state is ChargeState.NONE
            if job.state is State.COMPLETED:
                assert state is ChargeState.CAPTURED
            if job.state in (State.FAILED, State.TIMED_OUT):
                assert state is ChargeState.REFUNDED
            if self.refund == "all":
                assert all(c.state is ChargeState.REFUNDED for c in job.earlier_charges), "only a video is charged"
                assert job.state is not State.CANCELLED or state is ChargeState.REFUNDED

    @invariant()
    def no_period_is_overspent(self) -> None:
        policy = self.documents.policy
        spent: Counter[int] = Counter()
        for charge in counted(self.documents.jobs.values()):
            spent[period_of(policy, charge.reserved_at)[0]] += round(charge.seconds * 1_000_000)  # type: ignore[assignment]
        most = policy.monthly_limit_seconds + LENGTHS[0] / FPS  # the shortest, while anything is left
        assert all(micros <= most * 1_000_000 + 100 for micros in spent.values())

    @invariant()
    def never_too_many_at_once_or_in_a_while(self) -> None:
        policy, jobs = self.documents.policy, self.documents.jobs
        assert sum(job.state in ACTIVE for job in jobs.values()) <= policy.max_active
        limit = self.documents.account.overrides.rate_limit or 8
        paced = {at for _, at, _ in self.redriven}  # by the operator
        reserved = (c.reserved_at for c in charges(jobs.values()) if c.state is not ChargeState.NONE)
        times = sorted(at for at in reserved if at not in paced)
        for at in times:
            assert sum(at - policy.rate_window_ms < other <= at for other in times) <= max(limit, 5)

    @invariant()
    def one_visible_result_whose_files_are_never_discarded(self) -> None:
        for job in self.documents.jobs.values():
            assert (job.output is not None) == (job.state is State.COMPLETED) == (
                job.winning_attempt is not None
            ) or job.state is State.DELETED
            if job.state is State.COMPLETED:
                assert (job.job_id, job.winning_attempt, job.worker_id) not in self.discarded
                assert job.output == succeeded(job.worker_id or "", job.winning_attempt or 0, job.job_id).output

    @invariant()
    def credits_are_never_spent_twice(self) -> None:
        account: Account = self.documents.account
        spending: list[Charge] = list(counted(self.documents.jobs.values()))
        if not any(grant.credits < 0 for grant in account.grants):
            assert balance(account.grants, spending, self.now) >= 0

    def teardown(self) -> None:
        """The whole log again: as it was recorded; replayed later, twice, with its first time beside it; and then as if
        it had been produced anew."""
        for command, at, _ in self.log:
            self.unchanged(command, at)
        for later in (self.now + HOUR, self.now + 60 * DAY):
            for command, at, _ in self.log:
                self.unchanged(command, later, Recorded(at))
            for command, at, recorded in self.redriven:
                self.unchanged(command, at, recorded)
                self.unchanged(command, later, recorded)
        later = self.now + DAY
        for command, _, first in self.log:
            if not wish_of_now(command, first.answer):
                self.unchanged(command, later)


def wish_of_now(command: AnyCommand, answer: CommandAnswered | None) -> bool:
    """A cancel, delete or expiry that did nothing at first, or names no run, is a new wish when produced anew."""
    if isinstance(command, JobExpired) or (isinstance(command, CancelJob) and command.run is None):
        return True
    return isinstance(command, CancelJob | DeleteJob) and answer is not None and answer.outcome is not Outcome.DONE


Ledger.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedger = pytest.mark.timeout(600)(Ledger.TestCase)  # only a failure takes long: it is shrunk to its kernel
