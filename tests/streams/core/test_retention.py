"""What the ledger need not know: decisions are the same without it, and sums moved along are those of the fold."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from schemas.accounts import Grant, Overrides
from schemas.commands import AskUsage, DeleteUser, RetryJob, SubmitJob
from schemas.endpoints import EndpointLimits
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import ACTIVE, State
from schemas.requests import GenerationRequest, external_request
from streams.core.apply import applied
from streams.core.effects import Decision, UserView, WriteAccount, WriteJob
from streams.core.folds import charges, sums_of
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy
from streams.core.retention import Reach, counts, pruned, reach_for
from tests.streams.core.ledger_documents import NOON, SECOND, USER, cancel, submit, succeeded

DAY = 86_400_000
POLICY = Policy(monthly_limit_seconds=4.0, max_active=2, rate_limit=3, credits_required=True, credits_per_video=1.0)
WINDOWS = (0, 10 * SECOND, 3_600_000)
AGES = (0, 1, 9_999, 10_000, 10_001, 60_000, 3_600_000, 3_600_001, DAY, 9 * DAY, 10 * DAY, 45 * DAY)
STATES = tuple(State)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Job]:
    """A user's documents, of all ages, each as the ledger could have left it."""
    made: dict[str, Job] = {}
    for number in range(draw(st.integers(0, 8))):
        external = draw(st.booleans())
        state = draw(st.sampled_from(STATES))
        request = external_request(text="{}") if external else GenerationRequest(prompt="p", num_frames=31)
        at = NOON - draw(st.sampled_from(AGES))
        seconds = request.seconds
        price = draw(st.sampled_from([0.0, 1.0]))
        charge = Charge(state=draw(st.sampled_from(_charges(state))), seconds=seconds, credits=price, reserved_at=at)
        kept = draw(st.sampled_from([ChargeState.CAPTURED, ChargeState.REFUNDED]))
        earlier = Charge(state=kept, seconds=seconds / 2, credits=price, reserved_at=at - draw(st.sampled_from(AGES)))
        made[f"j{number}"] = Job(
            job_id=f"j{number}",
            user_id=USER,
            pool="p",
            state=state,
            version=3,
            request=request,
            request_hash="h",
            charge=charge,
            created_at=earlier.reserved_at,
            updated_at=at + draw(st.integers(0, 5_000)),
            due_at=at,
            expires_at=at + DAY,
            execution_timeout_ms=1_000,
            finished_at=None if state in ACTIVE else at,
            endpoint=draw(st.sampled_from([None, "a", "b"])),
            external=external,
            earlier_charges=draw(st.sampled_from([(), (earlier,)])),
            price_credits=price,
        )
    return made


def _charges(state: State) -> tuple[ChargeState, ...]:
    if state in ACTIVE:
        return (ChargeState.RESERVED,)
    if state is State.REJECTED:
        return (ChargeState.NONE,)
    return (ChargeState.CAPTURED,) if state is State.COMPLETED else (ChargeState.CAPTURED, ChargeState.REFUNDED)


@st.composite
def users(draw: st.DrawFn) -> UserView:
    """All there is of a user; what is charged credits was charged after some were granted."""
    stored = draw(jobs())
    spent = [charge.reserved_at for charge in charges(stored.values()) if charge.credits]
    granted = draw(st.lists(st.sampled_from(AGES), max_size=2)) + [NOON - at for at in spent]
    grants = tuple(Grant(grant_id=str(n), credits=2.0, granted_at=NOON - age) for n, age in enumerate(granted))
    window = draw(st.sampled_from([None, *WINDOWS]))
    account = replace(new_account(USER), version=1, grants=grants, overrides=Overrides(rate_window_ms=window))
    return UserView(account, stored)


def _limits(draw: Any) -> EndpointLimits:
    return EndpointLimits(
        max_active=draw(st.integers(0, 3)),
        rate_limit=draw(st.integers(1, 4)),
        rate_window_ms=draw(st.sampled_from(WINDOWS)),
    )


@settings(max_examples=400, deadline=None)
@given(whole=users(), data=st.data(), later=st.sampled_from([0, 1, 5_000, DAY, 40 * DAY]))
def test_decisions_are_the_same_without_what_counts_for_nothing(
    whole: UserView, data: st.DataObject, later: int
) -> None:
    """Pruned at one moment, decided at a later one: by the widest window that was met."""
    limits = _limits(data.draw)
    reach = reach_for(whole.account, POLICY, NOON, limits.rate_window_ms)
    known = pruned(whole, reach)
    endpoint = data.draw(st.sampled_from([None, "a"]))
    external = data.draw(st.booleans())
    request = external_request(text="{}") if external else GenerationRequest(prompt="p", num_frames=31)
    job_id = data.draw(st.sampled_from(["new", "j0", "j1"]))
    named = whole.jobs.get(job_id)
    commands = [
        submit(job_id, request=request, endpoint=endpoint, external=external, limits=limits),
        RetryJob(command_id="r", user_id=USER, job_id=job_id, run=1, append_by=NOON * 2, limits=limits),
        cancel(job_id),
        succeeded(job_id=job_id),
        AskUsage(command_id="u", user_id=USER),
    ]
    for command in commands:
        view = known if named is None else known.with_job(named)  # the shell reads what a command names
        now = NOON + later
        decision = decide(view, command, now, POLICY, now)
        assert decision == decide(whole, command, now, POLICY, now)
        assert applied(view, decision).sums == _folded(applied(view, decision))


def _folded(view: UserView) -> Any:
    return sums_of(view.own_jobs().values())


@settings(max_examples=200, deadline=None)
@given(before=jobs(), writes=st.lists(jobs(), max_size=4))
def test_sums_moved_along_are_those_of_the_fold(before: dict[str, Job], writes: list[dict[str, Job]]) -> None:
    view = UserView(new_account(USER), before)
    assert view.sums == sums_of(before.values())
    newest = max((job.updated_at for job in before.values()), default=0)
    version = 3
    for written in writes:
        for job in written.values():
            version, newest = version + 1, newest + 1
            view = view.with_job(replace(job, version=version, updated_at=newest))
    assert view.sums == _folded(view)


def test_sums_follow_pending_admissions() -> None:
    view = UserView(new_account(USER))
    decision = decide(view, submit(), NOON, Policy(), NOON)
    assert isinstance(decision.write, WriteAccount)
    crashed = applied(view, Decision(write=WriteAccount(decision.write.account, 0)))
    assert crashed.sums.active == {None: 1}
    assert crashed.own("j1") == decision.write.job
    settled = applied(crashed, Decision(write=WriteJob(replace(decision.jobs[0], version=2, state=State.FAILED), 1)))
    assert settled.sums.active == {}
    assert settled.sums == _folded(settled)


def test_anothers_job_is_in_no_sum() -> None:
    mine = decide(UserView(new_account(USER)), submit(), NOON, Policy(), NOON).jobs[0]
    view = UserView(new_account(USER), {"j1": mine})
    assert view.sums.active == {None: 1}
    assert view.with_job(replace(mine, job_id="theirs", user_id="them")).sums == view.sums


@pytest.mark.parametrize(
    ("state", "charge", "age", "kept"),
    [
        (State.QUEUED, ChargeState.RESERVED, 400 * DAY, True),
        (State.COMPLETED, ChargeState.CAPTURED, 10 * SECOND, True),
        (State.COMPLETED, ChargeState.CAPTURED, 10 * SECOND + 1, False),
        (State.FAILED, ChargeState.REFUNDED, 10 * SECOND, True),
        (State.REJECTED, ChargeState.NONE, 0, False),
    ],
)
def test_a_job_that_cost_nothing_counts_while_it_is_active_or_asked_for_of_late(
    state: State, charge: ChargeState, age: int, kept: bool
) -> None:
    job = decide(UserView(new_account(USER)), _external(), NOON, Policy(), NOON).jobs[0]
    job = replace(job, state=state, charge=replace(job.charge, state=charge, reserved_at=NOON - age))
    reach = reach_for(new_account(USER), Policy(), NOON)
    assert counts(job, reach) is kept
    view = UserView(new_account(USER), {job.job_id: job})
    assert (job.job_id in pruned(view, reach).jobs) is kept
    assert pruned(view, reach).newest_change == view.newest_change, "stamps never go back"


def test_what_an_account_holds_as_pending_is_not_pruned() -> None:
    """Its copy there is the older one, and would be taken for the job."""
    view = UserView(new_account(USER))
    admitted = applied(view, decide(view, _external(), NOON, Policy(), NOON))
    ended = applied(admitted, decide(admitted, succeeded(job_id="e1"), NOON + 1, Policy(), NOON + 1))
    later = pruned(ended, reach_for(ended.account, Policy(), NOON + DAY))
    assert later.own("e1") == ended.own("e1")
    assert later.sums.active == {}


def test_thousands_of_small_jobs_leave_the_view() -> None:
    done = decide(UserView(new_account(USER)), _external(), NOON, Policy(), NOON).jobs[0]
    ended = {
        str(n): replace(
            done,
            job_id=str(n),
            state=State.COMPLETED,
            charge=replace(done.charge, state=ChargeState.CAPTURED, reserved_at=NOON + 20 * n),
        )
        for n in range(20_000)
    }
    now = NOON + 20 * 19_999
    left = pruned(UserView(new_account(USER), ended), reach_for(new_account(USER), Policy(), now))
    assert len(left.jobs) == 501


def test_a_user_is_deleted_with_all_that_counts_for_nothing() -> None:
    """The shell gives every job for this: none of them is passed over."""
    done = decide(UserView(new_account(USER)), _external(), NOON, Policy(), NOON).jobs[0]
    old = replace(done, state=State.COMPLETED, charge=replace(done.charge, state=ChargeState.CAPTURED))
    view = UserView(new_account(USER), {"e1": old})
    decision = decide(view, DeleteUser(command_id="d", user_id=USER, issued_at=1), NOON + DAY, Policy(), NOON + DAY)
    assert isinstance(decision.write, WriteJob)
    assert decision.again


@given(st.lists(st.sampled_from(AGES), max_size=3), st.sampled_from(WINDOWS), st.sampled_from(WINDOWS))
def test_the_reach_holds_the_period_the_grants_and_the_widest_window(
    granted: list[int], own: int, endpoints: int
) -> None:
    grants = tuple(Grant(grant_id=str(n), credits=1.0, granted_at=NOON - age) for n, age in enumerate(granted))
    account = replace(new_account(USER), grants=grants, overrides=Overrides(rate_window_ms=own))
    reach = reach_for(account, Policy(), NOON, endpoints)
    assert reach.charged == min([1_772_323_200_000, *(NOON - age for age in granted)]), "the 1st of March, or a grant"
    assert reach.asked == NOON - max(own, endpoints)
    assert reach.covers(reach_for(account, Policy(), NOON + 1, endpoints))
    assert not Reach(reach.charged + 1, reach.asked).covers(reach)
    assert not Reach(reach.charged, reach.asked + 1).covers(reach)


def _external() -> SubmitJob:
    return submit("e1", request=external_request(text="{}"), endpoint="a", external=True, limits=EndpointLimits())
