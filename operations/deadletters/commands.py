"""What the ``openv deadletters`` commands do at a terminal; the options are in ``cli.py``."""

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import typer
from rich.console import Console

from operations.audit.recording import READ_LETTER, at_the_terminal, reading_words
from operations.core.counting import several
from operations.core.dead_letter_edits import BadEdit, plain_json, with_members
from operations.core.dead_letters import By, Seen, Sought, Standing
from operations.deadletters import views
from operations.deadletters.discarding import Expected
from operations.deadletters.discarding import discard as discard_work
from operations.deadletters.editing import prepared, send
from operations.deadletters.planned import is_dry_run, wanted
from operations.deadletters.reading import Listing, listing, named
from operations.deadletters.redriving import Redrive, choose, plan, redrive
from operations.replay import views as replays
from operations.replay.commands import stopping
from operations.replay.pace import Wishes
from operations.replay.room import Room, room
from operations.running import agreed
from operations.stack.errors import StackError
from operations.tables import note
from schemas.replay_plans import ReplayState

WAITS = 3  # exit code: it is not over
NAMED_MOST = 5
EDITORS = ("VISUAL", "EDITOR")


@dataclass(frozen=True, slots=True)
class Wish:
    """Which letters: ``places``, or those ``sought`` (``everything``: without any filter too). ``places`` of a redrive
    may be the one id of its dry run."""

    places: tuple[str, ...]
    sought: Sought
    everything: bool = False

    def check(self) -> None:
        """Raises ``StackError`` where it is not said which letters are meant."""
        says = self.sought != Sought(standings=self.sought.standings)
        if self.places and (says or self.everything):
            raise StackError("Say either ids, or filters, or --all.")
        if is_dry_run(self.places) and len(self.places) > 1:
            raise StackError("Say one dry run, r-…, or ids of letters.")
        if not (self.places or says or self.everything):
            raise StackError("Say which: ids, filters (--reason, --topic, --type, --user, --since, --until), or --all.")


@dataclass(frozen=True, slots=True)
class Aim:
    """Of a discard: ``at``: as of when (ms) times are meant; ``expected``: what its dry run found."""

    at: int
    expected: Expected | None
    execute: bool


@dataclass(frozen=True, slots=True)
class NewValue:
    """Where an edited value comes from: members set, a file, or else an editor."""

    members: tuple[str, ...] = ()
    file: Path | None = None
    kind: str | None = None


async def list_letters(data_dir: Path, sought: Sought, by: By, limit: int, console: Console, *, as_json: bool) -> None:
    """The newest, and counts of all."""
    async with room(data_dir) as at:
        found = await listing(at, sought, by, limit)
        if not found.counts.letters and not as_json:
            await _tell_there_is_none(at, sought, console, found)
            return
    if as_json:
        _print(views.listing_plain(found, by))
    else:
        views.print_listing(console, found, by)


async def _tell_there_is_none(at: Room, sought: Sought, console: Console, found: Listing | None = None) -> None:
    """And what there is instead. ``found``: what was found, where that was looked for already."""
    found = await listing(at, sought, By.REASON, 0) if found is None else found
    others = None
    if not found.passed and sought != Sought(standings=sought.standings):
        by = By.TYPE if sought.types else By.TOPIC if sought.topics else By.USER if sought.users else By.REASON
        others = by, await listing(at, Sought(standings=frozenset(Standing)), by, 0)
    views.print_nothing(console, found, others)


async def show_letter(data_dir: Path, place: str, console: Console, *, value: bool, as_json: bool) -> None:
    """One of them. With its ``value`` it is recorded before it is shown."""
    async with room(data_dir) as at:
        (seen,) = await named(at, [place])
        async with reading_words(at.log, at_the_terminal(), READ_LETTER, seen.place, shown=value):
            if as_json:
                _print(views.letter_plain(seen, value=value))
            else:
                views.print_letter(console, seen, value=value)


async def redrive_letters(
    data_dir: Path, wish: Wish, wishes: Wishes, reason: str, console: Console, *, execute: bool, as_json: bool
) -> int:
    """The dry run; with ``execute`` what it found is written. The exit code."""
    wish.check()
    if is_dry_run(wish.places) and not execute:
        raise StackError(
            f"{wish.places[0]} is a dry run: `openv replays show {wish.places[0]}` shows it, --execute writes it."
        )
    async with room(data_dir) as at, stopping(wishes):
        with replays.Follow(as_json=as_json) as tell:
            if execute:
                meant = await wanted(at, wish.places, wish.sought, tell)
            else:
                meant = await plan(at, await choose(at, wish.places, wish.sought), tell)
        if meant.plan is None and not meant.choice.refused and not as_json:
            await _tell_there_is_none(at, wish.sought, console)
        if not execute or meant.plan is None:
            _print_dry_run(wish, meant, console, as_json=as_json)
            return 0
        with replays.Follow(as_json=as_json) as tell:
            ended = await redrive(at, meant, at_the_terminal(), wishes, tell, reason=reason)
    if as_json:
        _print(views.redrive_plain(meant) | {"replay": replays.plain(ended.plan), "cameBack": ended.came_back})
    else:
        views.print_redriven(console, meant, ended)
    return 0 if ended.plan.state is ReplayState.DONE else WAITS


def _print_dry_run(wish: Wish, meant: Redrive, console: Console, *, as_json: bool) -> None:
    if as_json:
        _print(views.redrive_plain(meant))
        return
    views.print_redrive(console, meant)
    if meant.plan is None:
        note(_the_way_out(wish, meant) if meant.choice.refused else "Nothing to redrive.")
        return
    count = len(meant.choice.chosen)
    note(
        f"Nothing was written. `openv deadletters redrive {meant.plan.replay_id} --execute` writes just "
        f"{'this letter' if count == 1 else f'these {count:,} letters'}; the dry run holds for a day."
    )


def _the_way_out(wish: Wish, meant: Redrive) -> str:
    """Where none of them can be redriven."""
    standings = meant.choice.standings
    if not standings[Standing.OPEN]:
        if standings[Standing.REDRIVING]:
            return "None of these can be redriven now: that replay goes on with `openv replay r-… --continue`."
        return (
            "None of these can be redriven, and none is open: nothing has to be done. "
            "`openv deadletters edit ID --again` sends one as it should have been."
        )
    which = " ".join(wish.places) if len(wish.places) <= NAMED_MOST else "ID …"
    said = f" {which}" if wish.places else " --all" if wish.everything else ""
    how = "" if said else " with the same filters (its --matching is the --reason of here)"
    return (
        "None of these can be redriven. What nobody needs any more: "
        f'`openv deadletters discard{said} --reason "…"`{how}; `openv deadletters edit ID` sends one as it should have '
        "been."
    )


async def discard_letters(data_dir: Path, wish: Wish, reason: str, aim: Aim, *, as_json: bool) -> None:
    """With ``execute`` those named, or those sought as the dry run found them; else it is said how many they are."""
    wish.check()
    async with room(data_dir) as at:
        which = (at, wish.places, wish.sought, at_the_terminal(), reason)
        came = await discard_work(*which, execute=aim.execute, at=aim.at, expected=aim.expected)
        if not (came.letters or wish.places or aim.execute or as_json):
            await _tell_there_is_none(at, wish.sought, Console())
            return
    if as_json:
        _print(views.discarded_plain(came, executed=aim.execute))
    elif aim.execute:
        taken = (
            f" {several(came.taken, 'was', 'were')} redriven or discarded by somebody else meanwhile."
            if came.taken
            else ""
        )
        typer.echo(f"{several(came.letters, 'dead letter')} discarded.{taken}")
    else:
        more = "" if wish.places else f" --expect {came.expected}"
        still = "" if wish.places else ", if they are these still"
        typer.echo(
            f"{several(came.letters, 'dead letter')} would be discarded. Nothing was: the same with "
            f"`--execute{more}` does it{still}."
        )


async def edit_letter(
    data_dir: Path, place: str, new: NewValue, reason: str, console: Console, *, yes: bool, again: bool
) -> None:
    """Another value, checked, shown, and sent."""
    async with room(data_dir) as at:
        (seen,) = await named(at, [place])
        if seen.standing is not Standing.OPEN and not again:
            raise StackError(f"{place} is {seen.standing}: say --again if it is to go once more.")
        async with reading_words(at.log, at_the_terminal(), READ_LETTER, seen.place, shown=True):
            edit = prepared(seen, await _new_value(seen, new), kind=new.kind)
            if not edit.difference and new.kind is None:
                raise StackError("Nothing was changed: `openv deadletters redrive` sends it as it is.")
            console.print(edit.difference, markup=False, highlight=False, soft_wrap=True)
        if not yes:
            if not sys.stdin.isatty():
                raise StackError("Nothing was sent: say --yes, where nobody can be asked.")
            if not await asyncio.to_thread(agreed, f"Send it to {edit.record.topic}?"):
                raise StackError("Nothing was sent.")
        await send(at, edit, at_the_terminal(), again=again, reason=reason)
    typer.echo(f"{place} was sent to {edit.record.topic} with this value, as {edit.edit_id}.")


async def _new_value(seen: Seen, new: NewValue) -> bytes:
    if new.members and new.file is not None:
        raise StackError("Say either --set or --value-file.")
    try:
        if new.members:
            return with_members(seen.record.value, new.members)
        if new.file is not None:
            return new.file.read_bytes()
        return await asyncio.to_thread(_in_an_editor, plain_json(seen.record.value))
    except BadEdit as error:
        raise StackError(str(error)) from None
    except OSError as error:
        raise StackError(f"{error.filename}: {error.strerror}.") from None


def _in_an_editor(text: str) -> bytes:
    """As it is saved. The file is its owner's alone, and goes: it may hold a prompt."""
    editor = next((os.environ[name] for name in EDITORS if os.environ.get(name)), None)
    if editor is None:
        raise StackError("Which editor? Set EDITOR, or say --set or --value-file.")
    with tempfile.TemporaryDirectory(prefix="openv-letter-") as folder:  # its mode is 0700
        path = Path(folder) / "value.json"
        path.write_text(text)
        try:
            ended = subprocess.run([*shlex.split(editor), str(path)], check=False)
        except OSError as error:
            raise StackError(f"{editor} can't be run: {error.strerror}.") from None
        if ended.returncode != 0:
            raise StackError(f"{editor} ended with {ended.returncode}. Nothing was sent.")
        return path.read_bytes()


def _print(data: object) -> None:
    typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())


def sought_of(
    reasons: Sequence[str], topics: Sequence[str], types: Sequence[str], users: Sequence[str],
    since: str | None, until: str | None, states: Sequence[str], now: int,
) -> Sought:  # fmt: skip
    """What the options say. Raises ValueError with words for a person."""
    from operations.core.replay_names import named as topic_named
    from operations.core.replay_times import moment

    said = set(states)
    if unknown := said - {*Standing, "all"}:
        raise ValueError(f"{min(unknown)!r} is no state: say {', '.join(Standing)} or all.")
    standings = frozenset(Standing) if "all" in said else frozenset(Standing(one) for one in said)
    return Sought(
        reasons=tuple(reasons),
        topics=tuple(topic_named(one) for one in topics),
        types=tuple(types),
        users=tuple(users),
        since=None if since is None else moment(since, now),
        until=None if until is None else moment(until, now),
        standings=standings or frozenset({Standing.OPEN}),
    )
