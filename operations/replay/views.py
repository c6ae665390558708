"""Replays as people and programs see them: a plan, a list, how far it has come."""

from collections.abc import Mapping
from typing import Any, Self

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from operations.core.columns import Column
from operations.core.counting import several
from operations.core.replay_report import OTHER_TYPES
from operations.core.replay_scope import as_typed
from operations.replay.room import Progress
from operations.tables import Brief, Cell, brief_type, is_plain, note, print_about, print_line, print_rows, when
from schemas.instants import LAST, to_iso
from schemas.replay_plans import ReplayPlan

_ROWS = 15
_CHANGING = ("generations", "seconds", "credits", "deliveries", "jobs", "accounts", "deadLetters")
AGAIN = "Decided again: answers, which change no more than what is above"
NOTHING_CHANGES = "They change nothing: what was decided stands, and is answered once more"
_RECORDS = (Column("record"), Column("time", 1), Column("id", 2), Column("type", 3, folds=18), Column("key", 4))
_REPLAYS = (
    Column("id"),
    Column("state"),
    Column("planned", 3),
    Column("from", 1, folds=20),
    Column("into", 2, folds=20),
    Column("in scope", 4, right=True),
    Column("written", 4, right=True),
)


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
        "found": {name: one for name, one in orjson.loads(plan.report).items() if name != OTHER_TYPES},
        "written": checkpoint.written if checkpoint else 0,
        "quarantined": checkpoint.quarantined if checkpoint else 0,
        "skipped": checkpoint.skipped if checkpoint else 0,
        "reason": plan.reason,
    }


def show(plan: ReplayPlan, console: Console) -> None:
    """Everything about one."""
    shown = plain(plan)
    found = shown["found"]
    print_about(console, _about(plan, shown, found), f"Replay {plan.replay_id}")
    if found["effects"] is not None:
        _effects(found["effects"], console)
    for title, counts in _histograms(found):
        _histogram(title, counts, console)
    for title, records in (("First", found["first"]), ("Last", found["last"])):
        _records(title, records, console)


def _about(plan: ReplayPlan, shown: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "state": f"{plan.state}{f': {plan.reason}' if plan.reason else ''}",
        "from": plan.source,
        "into": plan.target,
        "scope": as_typed(shown["scope"]),
        "in scope": f"{found['inScope']:,} of {found['read']:,} read, {several(found['bytes'], 'byte')}",
        "skipped": "; ".join(f"{count:,} {reason}" for reason, count in found["skipped"].items()) or "none",
        "to the quarantine": f"{found['quarantine']:,} (replayed {several(plan.max_replays, 'time')} already)",
    }
    if found["oldest"] is not None:
        rows["recorded"] = f"{_time(found['oldest'])} to {_time(found['newest'])}"
    if plan.checkpoint is not None:
        done = plan.checkpoint
        rows["written"] = f"{done.written:,}, and {done.quarantined:,} to the quarantine"
    return rows


def next_step(plan: ReplayPlan) -> str:
    """What can be done with a dry run; what there is where nothing matched."""
    if plan.in_scope:
        these = "this record" if plan.in_scope == 1 else f"these {plan.in_scope:,} records"
        return (
            f"Nothing was written. `openv replay {plan.replay_id} --execute` writes {these}; the dry run holds for a "
            "day. --canary 10 stops after ten, to look."
        )
    found = orjson.loads(plan.report)
    types = [f"{count:,} {name}" for name, count in found.get(OTHER_TYPES, {}).items()]
    more = f", and {len(types) - _ROWS:,} more" if len(types) > _ROWS else ""
    seen = f" Types that were seen: {', '.join(types[:_ROWS])}{more}." if types else ""
    return f"Nothing matches, so there is nothing to write: {several(found['read'], 'record')} read.{seen}"


def _histograms(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    return [("Types", found["types"]), ("Reasons", found["reasons"]), ("Partitions", found["partitions"])]


def _histogram(title: str, counts: Mapping[str, int], console: Console) -> None:
    if not counts:
        return
    most = max(counts.values())
    some = list(counts.items())[:_ROWS]
    rows = [(f"{count:,}", name, "█" * max(1, round(20 * count / most))) for name, count in some]
    if len(counts) > _ROWS:
        rows.append((f"{sum(list(counts.values())[_ROWS:]):,}", f"({len(counts) - _ROWS} more)", ""))
    print_rows(console, (Column("records", right=True), Column(title.lower(), folds=30), Column("", 1)), rows, title)


def _records(title: str, records: list[Mapping[str, Any]], console: Console) -> None:
    if not records:
        return
    print_rows(console, _RECORDS, [_record_row(one) for one in records], title)


def _record_row(one: Mapping[str, Any]) -> tuple[Cell, ...]:
    place, at = f"{one['partition']}:{one['offset']}", Brief(*_times(one["timestamp"]))
    return place, at, one["id"] or "", brief_type(one["type"] or ""), one["key"] or ""


def _effects(effects: Mapping[str, Any], console: Console) -> None:
    """What matters first, also where it is nothing; then what the readers would say."""
    about = (
        "at least, and about: not everything could be kept in mind" if effects["forgotten"] else "decided over a copy"
    )
    if (letters := effects["deadLetters"]) and (count := sum(letters.values())):
        print_line(console, f"{count:,} of {effects['decided']:,} would become dead letters:")
        why = [(f"{number:,}", name) for name, number in list(letters.items())[:_ROWS]]
        print_rows(console, (Column("records", right=True), Column("why", folds=30)), why)
    for title, rows in ((f"What would change ({about})", changes(effects)), (AGAIN, decided_again(effects))):
        print_about(console, rows, title)


def changes(effects: Mapping[str, Any]) -> dict[str, str]:
    """What there would be more of, or another one of; each is named, also where it is none."""
    return {
        "generations": f"+{effects['generations']:,}",
        "charged": f"{effects['seconds']:+g} s, {effects['credits']:+g} credits",
        "webhooks and mails": _counted(effects["deliveries"], "+"),
        "jobs": _counted(effects["jobs"]),
        "accounts": f"{effects['accounts']:,}",
        "new dead letters": f"+{sum(effects['deadLetters'].values()):,}",
    }


def decided_again(effects: Mapping[str, Any]) -> dict[str, str]:
    """What the readers of the target would say to the records: of no consequence but what ``changes`` names."""
    nothing = not any(effects[name] for name in _CHANGING)
    rows = {"records": f"{effects['decided']:,}{f'. {NOTHING_CHANGES}' if nothing else ''}"}
    told = {"answered": "outcomes", "refused": "refusals", "announced": "announced"}
    return rows | {name: _counted(effects[member]) for name, member in told.items() if effects[member]}


def _counted(counts: Mapping[str, int], sign: str = "") -> str:
    """In all, and each, the most frequent first."""
    if not counts:
        return f"{sign}0"
    each = ", ".join(f"{count:,} {name}" for name, count in list(counts.items())[:_ROWS])
    more = f", and {len(counts) - _ROWS:,} kinds more" if len(counts) > _ROWS else ""
    return f"{sign}{sum(counts.values()):,} ({each}{more})"


def show_all(plans: list[ReplayPlan], console: Console) -> None:
    """One line each."""
    rows = []
    for plan in plans:
        written = plan.checkpoint.written if plan.checkpoint else 0
        counted = (f"{plan.in_scope:,}", f"{written:,}")
        rows.append((plan.replay_id, plan.state.value, when(plan.created_at), plan.source, plan.target, *counted))
    print_rows(console, _REPLAYS, rows)


def _time(at: int) -> str:
    """A record may bear any number as its time."""
    return _times(at)[0]


def _times(at: int) -> tuple[str, str]:
    """Long and short."""
    if not 0 <= at <= LAST:
        return f"{at} ms", f"{at} ms"
    whole = to_iso(at)
    return whole, f"{whole[:10]} {whole[11:19]}"


class Follow:
    """Shows on stderr how far it has come: a bar on a terminal, a JSON line each second with ``as_json``; else nothing
    is shown."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._printed_at = -1.0
        self._console = Console(stderr=True)
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if not self._as_json and not is_plain(self._console):
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
        elif self._as_json and (now := self._console.get_time()) - self._printed_at >= 1:
            self._printed_at = now
            note(orjson.dumps({"event": "progress", **_members(progress)}).decode())


def _members(progress: Progress) -> dict[str, int]:
    return {
        "done": progress.done,
        "total": progress.total,
        "written": progress.written,
        "quarantined": progress.quarantined,
        "skipped": progress.skipped,
        "cameBack": progress.came_back,
    }
