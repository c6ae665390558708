"""Changes to an account. Each carries the sender's time: the newest wins, in whatever order they arrive.

Whether a user exists is the newest word of two: ``DeleteUser`` says no, ``SetRole`` says yes and so revives a user who
comes back; at the same time no wins. What a user had before the deletion stays gone.
"""

from dataclasses import replace
from typing import Any

from schemas.accounts import RANK, Account, Grant, Overrides, Role, VoucherUse
from schemas.commands import AccountCommand, DeleteUser, GrantCredits, RedeemVoucher, SetBlocked, SetOverrides, SetRole
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.case import Case
from streams.core.effects import Decision
from streams.core.endings import deletion


def grant_credits(case: Case, command: GrantCredits) -> Decision:
    """Credits given or taken; a grant id counts once, for ever (a deleted user's ids are kept). One that was set aside
    before a deletion is over like those before it."""
    account = case.view.account
    if any(grant.grant_id == command.grant_id for grant in account.grants):
        return case.account_decided(command, Outcome.DONE)
    grant = Grant(
        grant_id=command.grant_id,
        credits=command.credits,
        granted_at=case.now,
        expires_at=_sooner(command.expires_at, case.now) if case.precedes_deletion else command.expires_at,
        reason="" if case.precedes_deletion else command.reason,
    )
    return case.account_decided(command, Outcome.DONE, case.next_account(grants=(*account.grants, grant)))


def set_overrides(case: Case, command: SetOverrides) -> Decision:
    """Replace the user's exceptions."""
    last = case.view.account.overrides_issued_at
    return _newest(
        case, command, command.issued_at, last, overrides=command.overrides, overrides_issued_at=command.issued_at
    )


def set_role(case: Case, command: SetRole) -> Decision:
    """Set the role; newer than a deletion, it revives the user. A voucher used after it was issued still raises it."""
    account = case.view.account
    since = (use.role for use in account.vouchers if use.used_at > command.issued_at)
    changes: dict[str, Any] = {"role": _highest(command.role, *since), "role_issued_at": command.issued_at}
    if command.issued_at > account.deleted_issued_at:
        changes["deleted_at"] = None
    return _newest(case, command, command.issued_at, account.role_issued_at, **changes)


def redeem_voucher(case: Case, command: RedeemVoucher) -> Decision:
    """Raise the role to at least the voucher's. A code counts once a user; who has more already keeps it.

    Every use that counts is kept, so that it is never decided again: also a deleted user's, whom it gives nothing.
    One recorded before the last word on the role was issued (clocks disagree) is refused, not used up for nothing;
    that word only gets newer, so a replay says the same. One that is told again and never counted comes too late.
    """
    account = case.view.account
    used = next((use for use in account.vouchers if use.code == command.code), None)
    if used is not None and used.command_id == command.command_id:
        return case.account_decided(command, Outcome.DONE)
    if used is not None:
        return _refused(case, command, FailureCode.VOUCHER_USED)
    if case.is_late(command.append_by) or case.recorded_at < account.role_issued_at:
        return _refused(case, command, FailureCode.TOO_LATE)
    use = VoucherUse(code=command.code, command_id=command.command_id, used_at=case.recorded_at, role=command.role)
    role = account.role if account.deleted_at is not None else _raised(account, command.role)
    return case.account_decided(command, Outcome.DONE, case.next_account(role=role, vouchers=(*account.vouchers, use)))


def set_blocked(case: Case, command: SetBlocked) -> Decision:
    """Block or unblock; what runs goes on."""
    last = case.view.account.blocked_issued_at
    return _newest(case, command, command.issued_at, last, blocked=command.blocked, blocked_issued_at=command.issued_at)


def delete_user(case: Case, command: DeleteUser) -> Decision:
    """Delete all jobs, one a decision, then blank the account. ``case.view`` must hold every job of the user.

    The account comes last and by compare-and-set, so a job admitted meanwhile by another writer is found and deleted.
    Roles and overrides issued before the deletion come too late.
    Grants end now but keep their ids and amounts: what was spent stays covered, and none counts a second time.
    """
    account = case.view.account
    jobs = [job for _, job in sorted(case.view.own_jobs().items())]
    if command.issued_at <= account.deleted_issued_at or command.issued_at < account.role_issued_at:
        done = account.deleted_at is not None and command.issued_at == account.deleted_issued_at
        decision = case.account_decided(command, Outcome.DONE if done else Outcome.UNCHANGED)
        return replace(decision, jobs=_deleted(jobs)) if done else decision
    for job in jobs:
        if job.state is not State.DELETED:
            write = deletion(case, job)
            bare = write.job if write else None
            return Decision(write=write, jobs=(bare,) if bare else (), again=True)
    ended = tuple(replace(grant, expires_at=_sooner(grant.expires_at, case.now), reason="") for grant in account.grants)
    blank = case.next_account(
        role=Role.USER,
        role_issued_at=command.issued_at,
        overrides=Overrides(),
        overrides_issued_at=max(account.overrides_issued_at, command.issued_at),
        grants=ended,
        deleted_at=case.now,
        deleted_issued_at=command.issued_at,
    )
    return replace(case.account_decided(command, Outcome.DONE, blank), jobs=_deleted(jobs))


def _raised(account: Account, role: Role) -> Role:
    """What a voucher makes of the role: a default that nobody chose counts for nothing."""
    return _highest(account.role, role) if account.role_is_set else role


def _highest(*roles: Role) -> Role:
    return max(roles, key=RANK.__getitem__)


def _refused(case: Case, command: AccountCommand, code: FailureCode) -> Decision:
    """Nothing is written; the answer says why."""
    decision = case.account_decided(command, Outcome.REFUSED)
    return replace(decision, answer=replace(decision.answer, code=code) if decision.answer else None)


def _deleted(jobs: list[Job]) -> tuple[Job, ...]:
    """All that are deleted, to be announced again: a crash may have come between one's write and its announcement."""
    return tuple(job for job in jobs if job.state is State.DELETED)


def _newest(case: Case, command: AccountCommand, issued_at: int, last: int, **changes: Any) -> Decision:
    """Apply if issued after the last; the last one itself, told again, is answered as done."""
    if issued_at > last:
        return case.account_decided(command, Outcome.DONE, case.next_account(**changes))
    return case.account_decided(command, Outcome.DONE if issued_at == last else Outcome.UNCHANGED)


def _sooner(expires_at: int | None, now: int) -> int:
    return now if expires_at is None else min(expires_at, now)
