"""Replays as people and programs see them: a plan, a list, how far it has come."""

from collections.abc import Mapping
from typing import Any, Self

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from operations.core.printable import printable
from operations.replay.room import Progress
from schemas.instants import LAST, to_iso
from schemas.replay_plans import ReplayPlan

_ROWS = 15


def plain(plan: ReplayPlan) -> dict[str, Any]:
    """As JSON data: what the admin API answers and ``--json`` prints."""
    checkpoint = plan.checkpoint
    return {
        "id": plan.replay_id,
        "state": plan.state.value,
        "source": plan.source,
        "into": plan.target,
        "scope": dict(plan.asked),
        "digest": plan.digest,
        "createdAt": to_iso(plan.created_at),
        "updatedAt": to_iso(plan.updated_at),
        "spans": [{"partition": one.partition, "first": one.first, "end": one.end} for one in plan.spans],
        "found": orjson.loads(plan.report),
        "written": checkpoint.written if checkpoint else 0,
        "quarantined": checkpoint.quarantined if checkpoint else 0,
        "skipped": checkpoint.skipped if checkpoint else 0,
        "reason": plan.reason,
    }


def show(plan: ReplayPlan, console: Console) -> None:
    """Everything about one."""
    shown = plain(plan)
    found = shown["found"]
    table = Table(title=f"Replay {_shown(plan.replay_id)}", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _about(plan, shown, found).items():
        table.add_row(name, _shown(value))
    console.print(table)
    for title, counts in _histograms(found):
        _histogram(title, counts, console)
    for title, records in (("First", found["first"]), ("Last", found["last"])):
        _records(title, records, console)
    if found["effects"] is not None:
        _effects(found["effects"], console)


def _about(plan: ReplayPlan, shown: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    scope = {name: value for name, value in shown["scope"].items() if name.startswith("--") and name != "--into"}
    rows: dict[str, Any] = {
        "state": f"{plan.state}{f': {plan.reason}' if plan.reason else ''}",
        "from": plan.source,
        "into": plan.target,
        "scope": ", ".join(f"{name} {value}" for name, value in scope.items()),
        "in scope": f"{found['inScope']:,} of {found['read']:,} read, {found['bytes']:,} bytes",
        "skipped": "; ".join(f"{count:,} {reason}" for reason, count in found["skipped"].items()) or "none",
        "to the quarantine": f"{found['quarantine']:,} (replayed {plan.max_replays} times already)",
    }
    if found["oldest"] is not None:
        rows["recorded"] = f"{_time(found['oldest'])} to {_time(found['newest'])}"
    if plan.checkpoint is not None:
        done = plan.checkpoint
        rows["written"] = f"{done.written:,}, and {done.quarantined:,} to the quarantine"
    return rows


def _histograms(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    return [("Types", found["types"]), ("Reasons", found["reasons"]), ("Partitions", found["partitions"])]


def _histogram(title: str, counts: Mapping[str, int], console: Console) -> None:
    if not counts:
        return
    table = Table("", "records", "", title=title, title_justify="left")
    most = max(counts.values())
    for name, count in list(counts.items())[:_ROWS]:
        table.add_row(_shown(name), f"{count:,}", "█" * max(1, round(20 * count / most)))
    if len(counts) > _ROWS:
        table.add_row("…", f"{sum(list(counts.values())[_ROWS:]):,}", f"{len(counts) - _ROWS} more")
    console.print(table)


def _records(title: str, records: list[Mapping[str, Any]], console: Console) -> None:
    if not records:
        return
    table = Table("partition", "offset", "time", "type", "key", "id", title=title, title_justify="left")
    for one in records:
        words = (one["partition"], one["offset"], _time(one["timestamp"]), one["type"], one["key"], one["id"])
        table.add_row(*("–" if word is None else _shown(word) for word in words))
    console.print(table)


def _effects(effects: Mapping[str, Any], console: Console) -> None:
    """What would change, in a few lines."""
    about = "at least, and about: not everything could be kept in mind" if effects["forgotten"] else "by the real cores"
    table = Table("would change", "", title=f"What would change ({about})", title_justify="left")
    for name in ("jobs", "deliveries", "deadLetters", "refusals", "outcomes", "announced"):
        for key, count in list(effects[name].items())[:_ROWS]:
            table.add_row(f"{name}: {_shown(key)}", f"{count:,}")
    table.add_row("generations started", f"{effects['generations']:,}")
    table.add_row("charged", f"{effects['seconds']:g} s, {effects['credits']:g} credits")
    table.add_row("accounts written", f"{effects['accounts']:,}")
    console.print(table)


def show_all(plans: list[ReplayPlan], console: Console) -> None:
    """One line each."""
    table = Table("id", "state", "planned", "from", "into", "in scope", "written")
    for plan in plans:
        written = plan.checkpoint.written if plan.checkpoint else 0
        words = (plan.replay_id, plan.state.value, to_iso(plan.created_at), plan.source, plan.target)
        table.add_row(*map(_shown, words), f"{plan.in_scope:,}", f"{written:,}")
    console.print(table)


def _shown(value: object) -> str:
    """Names, keys, types and reasons are as whoever wrote the records chose them."""
    return escape(printable(str(value)))


def _time(at: int) -> str:
    """A record may bear any number as its time."""
    return to_iso(at) if 0 <= at <= LAST else f"{at} ms"


class Follow:
    """Shows how far it has come: a bar on a terminal, a JSON line now and then with ``--json``, else nothing."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._as_json = as_json
        self._printed_at = -1.0
        self._clock = console.get_time
        self._console = console
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if not self._as_json and self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("reading", total=None)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        if self._bar is not None:
            words = f"{progress.written:,} written" if progress.written else "reading"
            self._bar.update(self._task, completed=progress.done, total=progress.total, description=words)
        elif self._as_json and self._clock() - self._printed_at >= 1:
            self._printed_at = self._clock()
            self._console.print(orjson.dumps({"event": "progress", **_members(progress)}).decode(), soft_wrap=True)


def _members(progress: Progress) -> dict[str, int]:
    return {
        "done": progress.done,
        "total": progress.total,
        "written": progress.written,
        "quarantined": progress.quarantined,
        "skipped": progress.skipped,
        "cameBack": progress.came_back,
    }
