"""``openv audit``: reading who did what from where. The work is in ``operations/audit/trail.py``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from operations.audit.trail import Kept
from operations.core.audit_trail import Sought
from operations.core.columns import Column
from operations.core.printable import printable
from operations.running import DEFAULT_DATA_DIR, DataDirOption, run
from operations.stack.errors import StackError
from operations.tables import Brief, Cell, print_rows, when
from repo.clock import now_ms
from schemas.shape import to_plain

audit_app = typer.Typer(
    help="The audit: who changed what, when, from where. Nobody can change it.", no_args_is_help=True
)
COLUMNS = (
    Column("when"),
    Column("who", 2, folds=12, below=True),
    Column("from", 6, folds=12),
    Column("did"),
    Column("to", 1, folds=36),
    Column("stage", 3),
    Column("detail", 4, folds=24, below=True),
)
MOST = 10_000
UNREADABLE = "(unreadable)"


@audit_app.callback()
def audit() -> None:
    """The audit: who changed what, when, from where. Nobody can change it."""


@audit_app.command("list")
def listed(
    actor: Annotated[str | None, typer.Option(help="Who: a whole name, or the user before / or @.")] = None,
    action: Annotated[str | None, typer.Option(help='What: "users.block"; "replay.*" for all of a kind.')] = None,
    target: Annotated[str | None, typer.Option(help="To what: a job's id, a user's id, a topic.")] = None,
    since: Annotated[str | None, typer.Option(help="Since when: 15m, 2h, 7d, or 2026-11-21T09:00 (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many entries at most, the newest.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with entries as they come, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with --follow one entry a line.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List entries, newest first; with --follow, those to come instead, as they come.

    Each action has two: begun, and how it ended. One that only begun died midway.

    Example: `openv audit list --action "replay.*" --since 7d`
    """

    async def work() -> int:
        return await _shown(data_dir, _sought(actor, action, target, since), limit, follow=follow, as_json=as_json)

    run(work())


def _sought(actor: str | None, action: str | None, target: str | None, since: str | None) -> Sought:
    from operations.core.audit_trail import instant_of

    at = None if since is None else instant_of(since, now_ms())
    if since is not None and at is None:
        raise StackError("--since is a time like 15m, 2h, 7d, or 2026-11-21T09:00 (UTC).")
    return Sought(actor=actor, action=action, target=target, since=at)


async def _shown(data_dir: Path, sought: Sought, limit: int, *, follow: bool, as_json: bool) -> int:
    from operations.audit.trail import follow as follow_entries
    from operations.desk import desk

    async with desk(data_dir, "openv-audit") as one:
        if follow:
            async for kept in follow_entries(one.log, sought):
                typer.echo(json.dumps(plain(kept)) if as_json else _line(kept))
            return 0
        found = await _newest(one.log, sought, limit)
    if as_json:
        typer.echo(json.dumps([plain(kept) for kept in found], indent=2))
        return 0
    print_rows(Console(), COLUMNS, [_row(kept) for kept in found], none="No entries match.")
    return 0


async def _newest(log: Any, sought: Sought, limit: int) -> list[Kept]:
    from operations.audit.trail import page

    found: list[Kept] = []
    before: int | None = None
    while True:
        trail = await page(log, sought, limit=limit - len(found), before=before)
        found += trail.entries
        before = trail.before
        if before is None or len(found) >= limit:
            return found


def plain(kept: Kept) -> dict[str, Any]:
    """An entry for programs: its offset, and its members."""
    return {"offset": kept.offset, **({"unreadable": True} if kept.entry is None else to_plain(kept.entry))}


def _row(kept: Kept) -> tuple[Cell, ...]:
    entry = kept.entry
    if entry is None:
        return ("", "", "", UNREADABLE, "", "", f"record {kept.offset} can't be read: it is none of ours")
    detail = " ".join(f"{name}={value}" for name, value in (entry.detail or {}).items())
    words = f"{entry.reason} {detail}".strip()
    where = f"{entry.address} ({entry.via})"
    return (when(entry.at), entry.actor, where, entry.action, entry.target, entry.stage, words)


def _line(kept: Kept) -> str:
    """One line, whatever an entry holds: no terminal obeys it."""
    words = (cell.whole if isinstance(cell, Brief) else cell for cell in _row(kept))
    return printable("  ".join(word for word in words if word))
