"""``openv users``: what an operator may see and change of a user.

The ledger alone writes accounts, so every change is a command on ``openv.commands``, and its answer is waited for on
``openv.events``; nothing is written here. A command is issued later than the last that the account tells of, also where
this machine's clock is behind: who reads the account and then changes it means the newer word.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.table import Table

from operations.desk import ANSWER_WITHIN_S, NOT_DECIDED
from operations.desk import desk as open_desk
from operations.local import require_user_id
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.accounts import Account, Overrides, Role
from schemas.commands import AnyCommand, AskUsage, DeleteUser, GrantCredits, SetBlocked, SetOverrides, SetRole
from schemas.events import CommandAnswered, Outcome
from schemas.ids import is_name
from schemas.instants import LAST, to_datetime
from schemas.jobs import Remaining

DAY_MS = 86_400_000
MOST = 1e12  # seconds or credits


Told = Callable[[Account, Remaining | None], str]


async def _change(data_dir: Path, user: str, command: Callable[[Account], AnyCommand], told: Told) -> int:
    """Send the command that is made of the account as it is, and say what holds then. The exit code."""
    require_user_id(user)
    async with open_desk(data_dir) as desk:
        sent = command(await desk.account(user))
        answer = await desk.ask(sent)
        if answer is None:
            typer.echo(
                f"Recorded, not decided yet: no ledger answered in {ANSWER_WITHIN_S:g} s. It will be carried out when "
                f"`openv streams` runs; `openv users show {user}` tells.",
                err=True,
            )
            return NOT_DECIDED
        after = await desk.account(user)
    if answer.outcome is not Outcome.DONE:
        raise StackError(f"Nothing was changed: somebody changed {user} at the same time. Look, and try again.")
    typer.echo(told(after, answer.remaining))
    return 0


async def set_role(data_dir: Path, user: str, role: str) -> int:
    """Set the role, and so let a deleted user back in."""
    if role not in set(Role):
        raise StackError(f"A role is one of {', '.join(Role)}.")

    def command(account: Account) -> SetRole:
        issued_at = _later(account.role_issued_at, account.deleted_issued_at)
        return SetRole(command_id=str(uuid4()), user_id=user, role=Role(role), issued_at=issued_at)

    return await _change(data_dir, user, command, lambda account, _: f"{user} has the role {account.role}.")


async def limit(
    data_dir: Path,
    user: str,
    seconds: float | None,
    max_active: int | None,
    rate: int | None,
    rate_window: float | None,
    *,
    clear: bool,
) -> int:
    """Replace those of the user's own limits that are given; ``clear`` drops all of them."""
    window_ms = None if rate_window is None else round(rate_window * 1000)
    asked: dict[str, Any] = {
        "monthly_limit_seconds": seconds,
        "max_active": max_active,
        "rate_limit": rate,
        "rate_window_ms": window_ms,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if clear == bool(given):
        raise StackError("Say either --clear, or which limits: --seconds, --max-active, --rate, --rate-window.")
    if not (seconds or 0) <= MOST or (window_ms or 0) > 3650 * DAY_MS or max(max_active or 0, rate or 0) > 2**53:
        raise StackError("That is no number, or more than can be written down.")

    def command(account: Account) -> SetOverrides:
        own = Overrides() if clear else replace(account.overrides, **given)
        issued_at = _later(account.overrides_issued_at)
        return SetOverrides(command_id=str(uuid4()), user_id=user, overrides=own, issued_at=issued_at)

    def told(account: Account, left: Remaining | None) -> str:
        own = ", ".join(f"{words} {value:g}" for words, value in _own_limits(account).items())
        return f"{user}'s own limits: {own or 'none'}.{_left_in_words(left)}"

    return await _change(data_dir, user, command, told)


async def set_blocked(data_dir: Path, user: str, reason: str, *, blocked: bool) -> int:
    """Block or unblock."""

    def command(account: Account) -> SetBlocked:
        issued_at = _later(account.blocked_issued_at)
        return SetBlocked(
            command_id=str(uuid4()), user_id=user, blocked=blocked, issued_at=issued_at, reason=_clean(reason)
        )

    return await _change(
        data_dir, user, command, lambda account, _: f"{user} is {'blocked' if account.blocked else 'not blocked'}."
    )


async def grant(
    data_dir: Path, user: str, amount: float, reason: str, expires_days: int | None, grant_id: str | None
) -> int:
    """Give or take credits, once an id."""
    if not 0 < abs(amount) <= MOST:
        raise StackError("Say how many credits: a number that is not 0.")
    if grant_id is not None and not is_name(grant_id):
        raise StackError("A grant's id has 1 to 128 letters, digits and . _ : @ | -.")
    command = GrantCredits(
        command_id=str(uuid4()),
        user_id=user,
        grant_id=grant_id or str(uuid4()),
        credits=amount,
        expires_at=None if expires_days is None else min(now_ms() + expires_days * DAY_MS, LAST),
        reason=_clean(reason),
    )
    typer.echo(f"Grant {command.grant_id}: {amount:g} credits. Repeated with --id {command.grant_id} it counts once.")

    def told(account: Account, left: Remaining | None) -> str:
        stored = next((one for one in account.grants if one.grant_id == command.grant_id), None)
        other = stored is not None and stored.credits != amount
        words = f" That id was granted before, with {stored.credits:g} credits: it stands." if stored and other else ""
        return f"{user} has {left.credits if left else 0:g} credits.{words}"

    return await _change(data_dir, user, lambda _: command, told)


async def delete(data_dir: Path, user: str) -> int:
    """Delete the user. Jobs and account go with the ledger's decision, files, keys and personal data soon after."""

    def command(account: Account) -> DeleteUser:
        issued_at = _later(account.deleted_issued_at, account.role_issued_at)
        return DeleteUser(command_id=str(uuid4()), user_id=user, issued_at=issued_at)

    words = f"{user} is deleted: no videos are left; files, keys and personal data are being removed."
    return await _change(data_dir, user, command, lambda _account, _left: words)


async def show(data_dir: Path, user: str, console: Console) -> int:
    """The account as it is stored, and where the user stands, as the ledger says."""
    require_user_id(user)
    async with open_desk(data_dir) as desk:
        account = await desk.account(user)
        answer = await desk.ask(AskUsage(command_id=str(uuid4()), user_id=user))
    table = Table(show_header=False)
    for name, value in (_stored(account) | _standing(answer)).items():
        table.add_row(name, value)
    console.print(table)
    return 0


def _stored(account: Account) -> dict[str, str]:
    if not account.version:
        return {"user": account.user_id, "account": "none is stored: the deployment's defaults hold"}
    own = ", ".join(f"{words} {value:g}" for words, value in _own_limits(account).items())
    return {
        "user": account.user_id,
        "role": account.role if account.role_is_set else "not set: the deployment's default",
        "blocked": "yes" if account.blocked else "no",
        "deleted": _minute(account.deleted_at) if account.deleted_at is not None else "no",
        "own limits": own or "none",
        "vouchers": ", ".join(use.code for use in account.vouchers) or "none",
    }


def _standing(answer: CommandAnswered | None) -> dict[str, str]:
    if answer is None or answer.remaining is None:
        return {"usage": "not known: no ledger answers (`openv streams` runs one)"}
    left = answer.remaining
    until = _minute(left.period_end) if left.period_end is not None else "–"
    return {
        "usage": f"{left.used_seconds:g} of {left.limit_seconds:g} seconds, {left.remaining_seconds:g} left",
        "period": f"{_minute(left.period_start)} to {until} UTC",
        "under way": f"{left.active} of {left.max_active} videos",
        "credits": f"{left.credits:g}",
    }


def _own_limits(account: Account) -> Mapping[str, float]:
    own = account.overrides
    values = {
        "seconds": own.monthly_limit_seconds,
        "max-active": own.max_active,
        "rate": own.rate_limit,
        "rate-window": None if own.rate_window_ms is None else own.rate_window_ms / 1000,
    }
    return {name: value for name, value in values.items() if value is not None}


def _left_in_words(left: Remaining | None) -> str:
    if left is None:
        return ""
    return f" {left.remaining_seconds:g} of {left.limit_seconds:g} seconds are left in this period."


def _later(*issued: int) -> int:
    """Now, or just after the last word that is known."""
    return max(now_ms(), *(at + 1 for at in issued))


def _clean(reason: str) -> str:
    """Text that can be written down: a terminal may pass on bytes that are no characters."""
    return reason.encode(errors="replace").decode()


def _minute(at: int) -> str:
    return f"{to_datetime(at):%Y-%m-%d %H:%M}"
