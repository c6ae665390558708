"""Looking at users: one with all that is known, or page by page. Only reads, and asks the ledger where they stand."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from operations.desk import Desk
from operations.local import require_user_id
from operations.users.acts import require_role
from repo.clock import now_ms
from schemas.access import ONE_TIME, ApiKey
from schemas.accounts import Account, Role
from schemas.commands import AskUsage
from schemas.events import CommandAnswered
from schemas.jobs import Remaining
from schemas.lifecycle import State

AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one. ``left``: where the user stands by the ledger, None where it did not answer;
    ``keys``: how many are good."""

    account: Account
    left: Remaining | None
    keys: int
    jobs: Mapping[State, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One of a list; ``left`` None as well where it was not asked for."""

    account: Account
    left: Remaining | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``after``: the cursor of the next page, None where this is the last. ``damaged``: users whose documents can't be
    read, and are left out."""

    users: tuple[Row, ...]
    after: str | None
    damaged: tuple[str, ...] = ()


async def known_of(desk: Desk, user: str) -> Known:
    """One user, whether or not anything is stored. Raises ``StackError``, ``Unavailable``."""
    require_user_id(user)
    account, left, keys, jobs = await asyncio.gather(
        desk.account(user), _left(desk, user), desk.database.access.api_keys(user), desk.database.jobs.user_counts(user)
    )
    now = now_ms()
    return Known(account, left, sum(_is_good(key, now) for key in keys), jobs)


async def users_page(
    desk: Desk,
    *,
    role: str | None = None,
    blocked: bool | None = None,
    deleted: bool | None = None,
    limit: int = 50,
    after: str | None = None,
    usage: bool = False,
) -> Page:
    """Users with an account, by id. ``usage``: with where each stands, the ledger's word, the heaviest first within the
    page. Raises ``StackError``, ``Unavailable``."""
    if role is not None:
        require_role(role)
    found = await desk.database.jobs.accounts(
        after=after, role=None if role is None else Role(role), blocked=blocked, deleted=deleted, limit=limit
    )
    rows = [Row(account) for account in found.accounts]
    if usage:
        rows = await _with_usage(desk, found.accounts)
    return Page(tuple(rows), found.last, found.damaged)


async def _with_usage(desk: Desk, accounts: Sequence[Account]) -> list[Row]:
    """Where one is not heard of, no other is asked: no ledger runs, and each would be waited for."""
    room, silent = asyncio.Semaphore(AT_A_TIME), asyncio.Event()

    async def row(account: Account) -> Row:
        async with room:
            answer = None if silent.is_set() else await _asked(desk, account.user_id)
            if answer is None:
                silent.set()
            return Row(account, answer.remaining if answer is not None else None)

    rows = await asyncio.gather(*map(row, accounts))
    return sorted(rows, key=lambda one: -one.left.used_seconds if one.left else 0.0)


async def _left(desk: Desk, user: str) -> Remaining | None:
    answer = await _asked(desk, user)
    return answer.remaining if answer is not None else None


async def _asked(desk: Desk, user: str) -> CommandAnswered | None:
    return await desk.ask(AskUsage(command_id=str(uuid4()), user_id=user))


def _is_good(key: ApiKey, now: int) -> bool:
    return key.kind not in ONE_TIME and key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
