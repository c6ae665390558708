"""The ``openv deadletters`` commands; the work is in ``commands.py`` and the modules beside."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from operations.core.dead_letters import RATE, By
from operations.running import DEFAULT_DATA_DIR, DataDirOption, run

if TYPE_CHECKING:
    from operations.deadletters.commands import Wish

deadletters_app = typer.Typer(help="What could not be processed: look, redrive, edit, discard.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="partition:offset, as `list` shows it.")]
IdsOrPlan = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]…", help="partition:offset, as `list` shows it; or r-… of a dry run.")
]
Id = Annotated[str, typer.Argument(metavar="ID", help="partition:offset, as `openv deadletters list` shows it.")]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Whose reason has this in it; * and ? as in file names.")
]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="That came from this topic: commands, events, …")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Of this type; a part of it suffices.")]
Users = Annotated[list[str] | None, typer.Option("--user", help="Of this user.")]
Since = Annotated[
    str | None, typer.Option("--since", "--from", help="Set aside since then: 90m, 2h, 3d, or 2026-11-22T09:00Z.")
]
Until = Annotated[
    str | None, typer.Option("--until", "--to", help="Set aside before then: 3d means those that are older.")
]
Everything = Annotated[bool, typer.Option("--all", help="All that are open.")]
Execute = Annotated[bool, typer.Option("--execute", help="Do it; else it is only said what would be done.")]
Why = Annotated[str, typer.Option("--why", help="Why; kept in the audit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@deadletters_app.command("list")
def listed(
    reason: Reasons = None,
    topic: Topics = None,
    kind: Types = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="open (the default), redriving, redriven, quarantined, edited, discarded or all."),
    ] = None,
    by: Annotated[By, typer.Option(help="By what they are counted.")] = By.REASON,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many are shown, the newest first.")] = 30,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List dead letters: counts of all that are meant, and the newest.

    Example: `openv deadletters list --topic commands --since 2h --by type`
    """
    from operations.deadletters import commands

    sought = _sought(reason, topic, kind, user, since, until, state)
    run(commands.list_letters(data_dir, sought, by, limit, Console(), as_json=as_json))


@deadletters_app.command("show")
def show(
    letter: Id,
    value: Annotated[
        bool, typer.Option("--value", help="Its value too, which may hold a prompt. The audit tells who read it.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show one dead letter: where it came from, why, its headers, its trace, what became of it.

    Example: `openv deadletters show 0:17 --value`
    """
    from operations.deadletters import commands

    run(commands.show_letter(data_dir, letter, Console(), value=value, as_json=as_json))


@deadletters_app.command("redrive")
def redrive(
    letters: IdsOrPlan = None,
    reason: Reasons = None,
    topic: Topics = None,
    kind: Types = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    execute: Execute = False,
    rate: Annotated[float, typer.Option(min=0.01, help="At most so many letters a second.")] = RATE,
    canary: Annotated[int | None, typer.Option(min=1, help="Stop after so many, to look what they do.")] = None,
    max_errors: Annotated[int, typer.Option(min=0, help="Stop when more of them came back.")] = 10,
    why: Why = "",
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Send dead letters back to the topic they came from: a dry run first; with --execute what it found, once each.

    The dry run prints an id, r-…; its letters and no others are written by that id, or by the same words as long as
    they mean the same letters. Letters named by id need no dry run, and may go again; else those that were redriven or
    discarded before are left out. One that was killed goes on with `openv replay r-… --continue`. Exit code 3: it is
    not over.

    Example: `openv deadletters redrive --reason 'could not decide'`, then `openv deadletters redrive r-… --execute`
    """
    from operations.deadletters import commands
    from operations.replay.pace import Wishes

    wish = _wish(letters, everything, _sought(reason, topic, kind, user, since, until, None))
    wishes = Wishes(rate=rate, canary=canary, came_back_max=max_errors)
    run(commands.redrive_letters(data_dir, wish, wishes, why, Console(), execute=execute, as_json=as_json))


@deadletters_app.command("discard")
def discard(
    reason: Annotated[str, typer.Option("--reason", help="Why nothing will be done with them; kept.")],
    letters: Ids = None,
    matching: Annotated[
        list[str] | None, typer.Option("--matching", help="Whose own reason has this in it; * and ? as in file names.")
    ] = None,
    topic: Topics = None,
    kind: Types = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    execute: Execute = False,
    expect: Annotated[
        str | None, typer.Option(help="What the dry run printed: only if just those letters are meant still.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Say that nothing will be done with dead letters: a dry run first; with --execute just those that it found.

    Of letters that are not named by id, the dry run prints what --expect takes: if others are meant by then, nothing is
    done. A discarded letter stays where it is until its topic drops it, and no redrive takes it by a filter any more.

    Example: `openv deadletters discard 0:17 0:18 --reason "a client's test" --execute`
    """
    from operations.deadletters import commands
    from operations.deadletters.discarding import Expected
    from repo.clock import now_ms

    try:
        expected = None if expect is None else Expected.parsed(expect)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    at = now_ms() if expected is None else expected.at
    wish = _wish(letters, everything, _sought(matching, topic, kind, user, since, until, None, at))
    aim = commands.Aim(at, expected, execute=execute)
    run(commands.discard_letters(data_dir, wish, reason, aim, as_json=as_json))


@deadletters_app.command("edit")
def edit(
    letter: Id,
    member: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Set a member (request.steps=40); without = it is removed."),
    ] = None,
    value_file: Annotated[Path | None, typer.Option(dir_okay=False, help="A file with the whole value, JSON.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="The CloudEvents type, where that was wrong.")] = None,
    why: Why = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Although it was redriven or discarded before.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Change a dead letter's value and send that: in an editor ($EDITOR), by --set, or from a file. Shows what differs.

    It is checked as its readers will check it. The letter itself stays as it is; the audit keeps digests.

    Example: `openv deadletters edit 0:17 --set request.numFrames=61 --why "a client's bug"`
    """
    from operations.deadletters import commands

    new = commands.NewValue(tuple(member or ()), value_file, kind)
    run(commands.edit_letter(data_dir, letter, new, why, Console(), yes=yes, again=again))


def _sought(
    reason: list[str] | None,
    topic: list[str] | None,
    kind: list[str] | None,
    user: list[str] | None,
    since: str | None,
    until: str | None,
    state: list[str] | None,
    at: int | None = None,
) -> Any:
    """``at``: as of when (ms) relative times are meant; now, unless another is said."""
    from operations.deadletters.commands import sought_of
    from repo.clock import now_ms

    try:
        return sought_of(reason or (), topic or (), kind or (), user or (), since, until, state or (), at or now_ms())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _wish(letters: list[str] | None, everything: bool, sought: Any) -> "Wish":
    from operations.deadletters.commands import Wish

    return Wish(tuple(letters or ()), sought, everything)
