"""What an operator may change of a user. The functions return what came of it; printing is in ``commands.py``.

The ledger alone writes accounts, so every change is a command on ``openv.commands``, and its answer is waited for on
``openv.events``; nothing is written here but the audit. A command is issued later than the last that the account tells
of, also where this machine's clock is behind: who reads the account and then changes it means the newer word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from operations.audit.recording import Actor, audited
from operations.desk import Desk
from operations.local import require_user_id
from operations.stack.errors import StackError
from operations.users.words import clean, left_in_words, limits_in_words
from repo.clock import now_ms
from schemas.accounts import Account, Overrides, Role
from schemas.commands import AccountCommand, DeleteUser, GrantCredits, SetBlocked, SetOverrides, SetRole
from schemas.events import Outcome
from schemas.ids import is_name
from schemas.instants import LAST
from schemas.jobs import Remaining

DAY_MS = 86_400_000
MOST = 1e12  # seconds or credits


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of a change. ``decided`` False: it is recorded, and no ledger has answered in time. ``words``: a
    sentence for a person; ``account`` as it is then, and where the user stands, by the ledger's answer."""

    user: str
    decided: bool
    words: str
    account: Account
    left: Remaining | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """A user's own limits: those that are None stay as they are; ``clear`` drops all. ``rate_window``: seconds."""

    seconds: float | None = None
    max_active: int | None = None
    rate: int | None = None
    rate_window: float | None = None
    clear: bool = False


Told = Callable[[Account, Remaining | None], str]


async def set_role(desk: Desk, actor: Actor, user: str, role: str, reason: str = "") -> Changed:
    """Set the role, and so let a deleted user back in. Raises ``StackError``, ``Unavailable``, as all of these."""
    require_role(role)

    def command(account: Account) -> SetRole:
        issued_at = _later(account.role_issued_at, account.deleted_issued_at)
        return SetRole(command_id=str(uuid4()), user_id=user, role=Role(role), issued_at=issued_at)

    words: Told = lambda account, _: f"{user} has the role {account.role}."  # noqa: E731
    return await _change(desk, actor, "users.role", user, command, words, reason, {"role": role})


def require_role(role: str) -> None:
    """Raises ``StackError`` for what is none."""
    if role not in set(Role):
        raise StackError(f"A role is one of {', '.join(Role)}.")


async def limit(desk: Desk, actor: Actor, user: str, limits: Limits, reason: str = "") -> Changed:
    """Replace those of the user's own limits that are given, or drop all of them."""
    given = overrides_of(limits)

    def command(account: Account) -> SetOverrides:
        own = Overrides() if limits.clear else replace(account.overrides, **given)  # type: ignore[arg-type]
        issued_at = _later(account.overrides_issued_at)
        return SetOverrides(command_id=str(uuid4()), user_id=user, overrides=own, issued_at=issued_at)

    def told(account: Account, left: Remaining | None) -> str:
        return f"{user}'s own limits: {limits_in_words(account)}.{left_in_words(left)}"

    detail = {"clear": "true"} if limits.clear else {name: f"{value:g}" for name, value in given.items()}
    return await _change(desk, actor, "users.limit", user, command, told, reason, detail)


def overrides_of(limits: Limits) -> dict[str, float]:
    """Those given, as the account names them. Raises ``StackError``."""
    window_ms = None if limits.rate_window is None else limits.rate_window * 1000
    asked = {
        "monthly_limit_seconds": limits.seconds,
        "max_active": limits.max_active,
        "rate_limit": limits.rate,
        "rate_window_ms": window_ms,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if limits.clear == bool(given):
        raise StackError("Say either --clear, or which limits: --seconds, --max-active, --rate, --rate-window.")
    if not (limits.seconds or 0) <= MOST or not (window_ms or 0) <= 3650 * DAY_MS:
        raise StackError("That is no number, or more than can be written down.")
    if max(limits.max_active or 0, limits.rate or 0) > 2**53:
        raise StackError("That is no number, or more than can be written down.")
    if "rate_window_ms" in given:
        given["rate_window_ms"] = round(given["rate_window_ms"])
    return given


async def set_blocked(desk: Desk, actor: Actor, user: str, reason: str = "", *, blocked: bool) -> Changed:
    """Block (ban) or unblock. A blocked user submits nothing; what runs goes on."""

    def command(account: Account) -> SetBlocked:
        issued_at = _later(account.blocked_issued_at)
        return SetBlocked(
            command_id=str(uuid4()), user_id=user, blocked=blocked, issued_at=issued_at, reason=clean(reason)
        )

    words: Told = lambda account, _: f"{user} is {'blocked' if account.blocked else 'not blocked'}."  # noqa: E731
    return await _change(desk, actor, "users.block" if blocked else "users.unblock", user, command, words, reason, {})


def grant_command(
    user: str, amount: float, reason: str = "", expires_days: int | None = None, grant_id: str | None = None
) -> GrantCredits:
    """Credits given, or taken where negative; repeated with the same id they count once. Raises ``StackError``."""
    if not 0 < abs(amount) <= MOST:
        raise StackError(f"Say how many credits: a number that is not 0, of at most {MOST:,.0f} either way.")
    if grant_id is not None and not is_name(grant_id):
        raise StackError("A grant's id has 1 to 128 letters, digits and . _ : @ | -.")
    return GrantCredits(
        command_id=str(uuid4()),
        user_id=user,
        grant_id=grant_id or str(uuid4()),
        credits=amount,
        expires_at=None if expires_days is None else min(now_ms() + expires_days * DAY_MS, LAST),
        reason=clean(reason),
    )


async def grant(desk: Desk, actor: Actor, command: GrantCredits) -> Changed:
    """Give or take the credits of this command."""
    user = command.user_id

    def told(account: Account, left: Remaining | None) -> str:
        stored = next((one for one in account.grants if one.grant_id == command.grant_id), None)
        other = stored is not None and stored.credits != command.credits
        words = f" That id was granted before, with {stored.credits:g} credits: it stands." if stored and other else ""
        return f"{user} has {left.credits if left else 0:g} credits.{words}"

    detail = {"grant": command.grant_id, "credits": f"{command.credits:g}"}
    return await _change(desk, actor, "users.credits", user, lambda _: command, told, command.reason, detail)


async def delete(desk: Desk, actor: Actor, user: str, reason: str = "") -> Changed:
    """Delete the user. Jobs and account go with the ledger's decision, files, keys and personal data soon after."""

    def command(account: Account) -> DeleteUser:
        issued_at = _later(account.deleted_issued_at, account.role_issued_at)
        return DeleteUser(command_id=str(uuid4()), user_id=user, issued_at=issued_at)

    words = f"{user} is deleted: no videos are left; files, keys and personal data are being removed."
    return await _change(desk, actor, "users.delete", user, command, lambda _account, _left: words, reason, {})


async def _change(
    desk: Desk,
    actor: Actor,
    action: str,
    user: str,
    command: Callable[[Account], AccountCommand],
    told: Told,
    reason: str,
    detail: Mapping[str, str],
) -> Changed:
    """Send the command that is made of the account as it is, and say what holds then."""
    require_user_id(user)
    async with audited(desk.log, actor, action, target=user, reason=clean(reason), detail=detail) as under_way:
        before = await desk.account(user)
        answer = await desk.ask(command(before))
        if answer is None:
            under_way.detail["outcome"] = "not decided yet"
            words = (
                f"Recorded, not decided yet: no ledger answered in time. It will be carried out when `openv streams` "
                f"runs; `openv users show {user}` tells."
            )
            return Changed(user, decided=False, words=words, account=before)
        if answer.outcome is not Outcome.DONE:
            raise StackError(f"Nothing was changed: somebody changed {user} at the same time. Look, and try again.")
        after = await desk.account(user)
    # A mistyped id looks the same to the ledger as a user who was never here.
    unknown = "" if before.version else f" Nothing was known of {user} until now: is that the id?"
    return Changed(user, True, f"{told(after, answer.remaining)}{unknown}", after, answer.remaining)


def _later(*issued: int) -> int:
    """Now, or just after the last word that is known."""
    return max(now_ms(), *(at + 1 for at in issued))
