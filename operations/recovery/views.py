"""What backups, restores and rebuilds show: progress on stderr, the outcome as a table or JSON. Never a document."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import rich.progress
import typer
from rich.console import Console

from operations.core.columns import Column
from operations.core.counting import several
from operations.core.printable import printable
from operations.core.recovery_table import ACCOUNTS, TABLE
from operations.recovery.backup import BackupMade
from operations.recovery.backup_file import Checked
from operations.recovery.place import Progress, Step
from operations.recovery.rebuild import Rebuilt
from operations.recovery.restore import Restored
from operations.recovery.verify import Comparison, Difference
from operations.tables import is_plain, print_line, print_rows
from schemas.instants import to_iso

LISTED = 50
_MORE = " `openv rebuild --verify` compares with all that openv.events still keeps."
_DIFFERENCES = (
    Column("id"),
    Column("document", 1),
    Column("announced", 3, right=True),
    Column("stored", 4, right=True),
    Column("differs in", 2, folds=16),
)


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A bar where a person looks."""
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TextColumn("{task.completed:,.0f}"),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console, disable=is_plain(console), transient=True) as shown:
        tasks: dict[str, rich.progress.TaskID] = {}

        def step(done: Step) -> None:
            if done.of not in tasks:
                tasks[done.of] = shown.add_task(done.of, total=done.total)
            shown.update(tasks[done.of], completed=done.done, total=done.total)

        yield step


def show_backup(made: BackupMade, console: Console, *, as_json: bool) -> None:
    """The file and what is in it."""
    told = {"file": str(made.file), "bytes": made.size, **_held(made.header.backup_id, made.header.created_at)}
    told |= {
        "positions": _positions(made.header.positions),
        "collections": dict(made.counts),
        "leftOut": dict(made.left_out),
    }
    if as_json:
        _print_json(told)
        return
    _counts(console, made.counts, "documents")
    size = "" if made.size is None else f", {made.size:,} bytes"
    console.print(f"Written: {made.file}{size}.", highlight=False, markup=False, soft_wrap=True)
    for name, count in made.left_out.items():
        console.print(
            f"Left out: {several(count, 'document')} of {name} that OpenV never stored (an id that is no text, say): "
            f"look at {'it, and delete it' if count == 1 else 'them, and delete them'}.",
            highlight=False,
            soft_wrap=True,
        )
    _warn_of_secrets(made.counts, console)


def show_checked(checked: Checked, console: Console, *, as_json: bool) -> None:
    """What a file holds that is whole."""
    counts = {name: held.documents for name, held in checked.manifest.collections.items()}
    header = checked.header
    told = {**_held(header.backup_id, header.created_at), "openvVersion": header.openv_version}
    told |= {"database": header.database, "positions": _positions(header.positions), "collections": counts}
    if as_json:
        _print_json(told)
        return
    _counts(console, counts, "documents")
    console.print(
        f"The file is whole. Made at {to_iso(header.created_at)} of database {printable(header.database)} by OpenV "
        f"{printable(header.openv_version)}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def show_restored(done: Restored, console: Console, *, as_json: bool) -> None:
    """What was stored, and what comes next."""
    header = done.checked.header
    if as_json:
        told = {**_held(header.backup_id, header.created_at), "into": done.into.value, "stored": dict(done.stored)}
        _print_json(told | {"oneTimeKeysLeftOut": done.left_out, "next": "openv rebuild"})
        return
    _counts(console, done.stored, "stored")
    if done.left_out:
        console.print(f"Left out, for one use each: {several(done.left_out, 'key')}.", highlight=False)
    print_line(console, "Restored. The database is closed until `openv rebuild` has brought it up to date: run it now.")


def show_rebuilt(done: Rebuilt, console: Console, *, as_json: bool) -> None:
    """What was brought up to date, and how it compares."""
    if as_json:
        told = {"recordsRead": done.read, "recordsNoLongerKept": done.cut, "unreadable": done.unreadable}
        _print_json({**told, "stored": dict(done.stored), "comparison": _comparison(done.comparison)})
        return
    if done.cut:
        print_line(
            console,
            f"No longer kept in openv.events since the backup: {several(done.cut, 'record')}. What was told there is "
            "lost, and jobs may stand as the backup had them.",
        )
    show_comparison(done.comparison, console, as_json=False, changed=done.stored)
    console.print("The database is open.")


def show_comparison(
    found: Comparison, console: Console, *, as_json: bool, changed: Mapping[str, int] | None = None
) -> None:
    """Counts, and the first differences by their members' paths. ``changed``: what a rebuild has brought up to date, by
    collection; None: it was only compared."""
    if as_json:
        _print_json(_comparison(found))
        return
    if found.shown:
        print_rows(console, _DIFFERENCES, [_row(one) for one in found.shown[:LISTED]], "Different")
    print_line(console, "Nothing was changed." if changed is None else f"Brought up to date: {_each(changed)}.")
    print_line(console, _compared(found))
    print_line(
        console,
        f"As last announced: {_each(found.same)}. Different: {found.different:,}. Events whose document is newer (no "
        f"difference): {found.passed:,}.",
    )
    if not_told_of := _not_told_of(found):
        print_line(console, f"{not_told_of}{'' if changed is None else _MORE}")
    if found.untold:
        accounts = [one for one in found.shown if one.announced is None and one.collection == ACCOUNTS]
        mend = f" For an account: openv users reset {accounts[0].document_id}" if accounts else ""
        count = several(found.untold, "document")
        print_line(console, f"Of these, damaged, and no event is as new to mend it: {count}.{mend}")
    if found.unreadable:
        console.print(f"{several(found.unreadable, 'event')} can't be read.", highlight=False)


def _each(counts: Mapping[str, int]) -> str:
    return ", ".join(several(count, name.removesuffix("s"), name) for name, count in counts.items())


def _compared(found: Comparison) -> str:
    """What was held against what."""
    told_of = found.told_of
    if told_of is None:
        return f"Stored: {_each(found.stored)}. Compared: those that {_records(found)} told of."
    of = ", ".join(f"{told_of[name]:,} of {several(all_, name[:-1], name)}" for name, all_ in found.stored.items())
    return f"Compared with what {_records(found)} told: {of}."


def _records(found: Comparison) -> str:
    return f"{several(found.read, 'record')} of openv.events"


def _not_told_of(found: Comparison) -> str:
    """Nothing where each of them was compared, or where that is not known."""
    told_of = found.told_of if found.told_of is not None else found.stored
    left = {name: count - told_of[name] for name, count in found.stored.items() if count > told_of[name]}
    return f"Not compared, because none of these records tells of them: {_each(left)}." if left else ""


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "recordsCompared": found.read,
        "documents": dict(found.stored),
        "documentsToldOf": None if found.told_of is None else dict(found.told_of),
        "same": dict(found.same),
        "different": found.different,
        "newerThanAnnounced": found.passed,
        "unreadable": found.unreadable,
        "damagedAndNeverAnnounced": found.untold,
        "differences": [_difference(one) for one in found.shown],
    }


def _difference(one: Difference) -> dict[str, Any]:
    versions = {"announcedVersion": one.announced, "storedVersion": one.stored}
    return {"collection": one.collection, "id": one.document_id, **versions, "what": one.what, "members": one.members}


def _held(backup_id: str, created_at: int) -> dict[str, Any]:
    return {"backupId": backup_id, "createdAt": to_iso(created_at)}


def _positions(positions: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    return {topic: {str(number): offset for number, offset in of.items()} for topic, of in positions.items()}


def _row(one: Difference) -> tuple[str, ...]:
    stored = "none" if one.stored is None else str(one.stored)
    announced = "never" if one.announced is None else str(one.announced)
    return one.document_id, one.collection, announced, stored, ", ".join(one.members) or one.what


def _counts(console: Console, counts: Mapping[str, int], title: str) -> None:
    rows = [(name, f"{count:,}") for name, count in counts.items()]
    print_rows(console, (Column("collection"), Column(title, right=True)), rows)


def _warn_of_secrets(counts: Mapping[str, int], console: Console) -> None:
    held = dict.fromkeys(TABLE[name].holds for name, count in counts.items() if count and TABLE[name].holds)
    if held:
        console.print(f"It holds {'; '.join(held)}. Keep it as safe as the database.", highlight=False, soft_wrap=True)


def _print_json(told: Mapping[str, Any]) -> None:
    typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
