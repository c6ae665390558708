"""What the ``openv users`` commands do at a terminal: open a desk, do the work, print it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from operations.audit.recording import Actor, at_the_terminal
from operations.core.columns import Column
from operations.core.findings import first
from operations.core.printable import printable
from operations.desk import NOT_DECIDED, Desk
from operations.desk import desk as open_desk
from operations.local import require_user_id
from operations.running import require_agreement
from operations.tables import Cell, note, print_about, print_line, print_rows
from operations.users import acts
from operations.users.listing import Known, Row, known_of, users_page
from operations.users.reset import AFTERWARDS, look
from operations.users.reset import reset as delete_damaged
from operations.users.words import limits_in_words, minute, standing_in_words, stored_in_words
from schemas.accounts import Account
from schemas.shape import to_plain

_USERS = (
    Column("user"),
    Column("role", 1),
    Column("blocked", 1),
    Column("deleted", 2),
    Column("own limits", 3, folds=14),
)
_STANDING = (Column("usage", 1, folds=18), Column("under way", 2))


async def change(
    data_dir: Path,
    user: str,
    work: Callable[[Desk, Actor], Awaitable[acts.Changed]],
    check: Callable[[], object] = lambda: None,
) -> int:
    """Do it and say what holds then. The exit code. ``check``: raises ``StackError`` for what makes no sense, before
    any server is asked for."""
    require_user_id(user)
    check()
    async with open_desk(data_dir) as desk:
        came = await work(desk, at_the_terminal())
    typer.echo(printable(came.words), err=not came.decided)
    return 0 if came.decided else NOT_DECIDED


async def grant(
    data_dir: Path, user: str, amount: float, reason: str, expires_days: int | None, grant_id: str | None
) -> int:
    """Give or take credits; the id is said first, so that whoever does not see the end can repeat it."""
    require_user_id(user)
    command = acts.grant_command(user, amount, reason, expires_days, grant_id)
    typer.echo(f"Grant {command.grant_id}: {amount:g} credits. Repeated with --id {command.grant_id} it counts once.")
    return await change(data_dir, user, lambda desk, actor: acts.grant(desk, actor, command))


async def reset(data_dir: Path, user: str, reason: str, console: Console, *, yes: bool) -> int:
    """Show what can be read of the damaged account, ask, delete it."""
    async with open_desk(data_dir) as desk:
        damaged = await look(desk, user)
        print_about(console, {"user": user, **damaged.rows})
        print_line(console, AFTERWARDS)
        if not yes:
            require_agreement(f"Delete the damaged account document of {user}?")
        await delete_damaged(desk, at_the_terminal(), damaged, reason)
    words = (
        f"The account of {user} is reset: the next command begins it anew. Set it up with `openv users role`, `limit` "
        "and `credits`, then `openv deadletters redrive --all`."
    )
    typer.echo(printable(words))
    return 0


async def show(data_dir: Path, user: str, console: Console, *, as_json: bool = False) -> int:
    """The account as it is stored, and where the user stands, as the ledger says."""
    require_user_id(user)
    async with open_desk(data_dir) as desk:
        known = await known_of(desk, user)
    if as_json:
        typer.echo(json.dumps(known_plain(known), indent=2))
        return 0
    jobs = ", ".join(f"{count} {state}" for state, count in known.jobs.items()) or "none"
    rows = stored_in_words(known.account) | standing_in_words(known.left)
    print_about(console, rows | {"jobs": jobs, "keys": f"{known.keys} good"})
    return 0


async def list_users(
    data_dir: Path,
    role: str | None,
    limit: int,
    after: str | None,
    console: Console,
    *,
    blocked: bool | None,
    deleted: bool | None,
    usage: bool,
    as_json: bool,
) -> int:
    """A page of users."""
    async with open_desk(data_dir) as desk:
        page = await users_page(
            desk, role=role, blocked=blocked, deleted=deleted, limit=limit, after=after, usage=usage
        )
    if as_json:
        rows = [row_plain(row) for row in page.users]
        typer.echo(json.dumps({"users": rows, "after": page.after, "damaged": page.damaged}, indent=2))
        _say_left_out(page.damaged)
        return 0
    columns = (*_USERS, *(_STANDING if usage else ()))
    print_rows(console, columns, [_cells(row, usage=usage) for row in page.users], none="No users match.")
    if page.after is not None:
        note(f"There are more: --after {page.after}")
    _say_left_out(page.damaged)
    return 0


def _say_left_out(damaged: Sequence[str]) -> None:
    if not damaged:
        return
    count = "1 user whose document is" if len(damaged) == 1 else f"{len(damaged)} users whose documents are"
    mend = (
        f"`openv rebuild` puts back what was announced; where no event tells of one, `openv users reset {damaged[0]}`."
    )
    typer.echo(printable(f"openv: left out {count} damaged: {first(damaged)}. {mend}"), err=True)


def known_plain(known: Known) -> dict[str, Any]:
    """One user, for programs; without the jobs that an account holds for a moment."""
    plain = {"account": account_plain(known.account), "keys": known.keys, "jobs": dict(known.jobs)}
    return plain if known.left is None else plain | {"standing": to_plain(known.left)}


def row_plain(row: Row) -> dict[str, Any]:
    """One of a list, for programs."""
    plain = account_plain(row.account)
    return plain if row.left is None else plain | {"standing": to_plain(row.left)}


def account_plain(account: Account) -> dict[str, Any]:
    """The account without ``pending``, which holds prompts."""
    return {name: value for name, value in to_plain(account).items() if name != "pending"}


def _cells(row: Row, *, usage: bool) -> list[Cell]:
    account, left = row.account, row.left
    cells: list[Cell] = [
        account.user_id,
        account.role if account.role_is_set else f"({account.role})",
        "blocked" if account.blocked else "",
        minute(account.deleted_at) if account.deleted_at is not None else "",
        limits_in_words(account),
    ]
    if usage:
        words = standing_in_words(left)
        cells += [words["usage"], words.get("under way", "")]
    return cells
