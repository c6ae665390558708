"""The ``openv replay`` command and the ``openv replays`` commands; the work is in ``commands.py``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from operations.replay import options as said
from operations.running import DEFAULT_DATA_DIR, DataDirOption, run
from schemas.replays import MOST_REPLAYS

replay_app = typer.Typer(help="Write records of a topic again: a dry run first.", no_args_is_help=True)
replays_app = typer.Typer(help="Replays: what was planned, what runs, how far it is.", no_args_is_help=True)
replay_app.add_typer(replays_app, name="replays")

_PLANNED = "r-"


@replay_app.command("replay")
def replay(
    source: said.Source,
    into: said.Into = None,
    since: said.Since = None,
    until: said.Until = None,
    from_offset: said.FromOffset = None,
    to_offset: said.ToOffset = None,
    partition: said.Partitions = None,
    key: said.Keys = None,
    user: said.Users = None,
    job: said.Jobs = None,
    kind: said.Types = None,
    header: said.Headers = None,
    where: said.Where = None,
    max_replays: said.MaxReplays = MOST_REPLAYS,
    rehearse: said.Rehearse = True,
    execute: said.Execute = False,
    go_on: said.GoOn = False,
    rate: said.Rate = None,
    canary: said.Canary = None,
    max_errors: said.MaxErrors = 10,
    as_json: said.AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show what a replay would write and change; with --execute, write it. Run again, it goes on where it stopped.

    A replay writes records of a topic or a file once more. What was decided is not decided again: jobs, charges and
    webhooks stay as they are. Dead letters that were discarded are left out. Ctrl-C pauses it; each record is written
    once, even if this process is killed.

    Example: `openv replay deadletter --into commands --type 'submit.v1' --from 2h`, then `openv replay r-… --execute`
    """
    from operations.replay import commands
    from operations.replay.pace import Wishes

    scope: dict[str, Any] = {
        "since": since, "until": until, "first_offset": from_offset, "end_offset": to_offset,
        "partitions": partition, "keys": key, "users": user, "jobs": job, "types": kind, "headers": header,
        "where": where,
    }  # fmt: skip
    wishes = Wishes(rate=rate, canary=canary, came_back_max=max_errors)
    writes = execute or go_on
    if into is None:
        _require_plan(source, scope, writes=writes)
        run(commands.carry_out(data_dir, source, None, wishes, as_json=as_json))
    elif writes:
        asked = _asked(source, into, max_replays, scope)
        run(commands.carry_out(data_dir, None, asked, wishes, as_json=as_json))
    else:
        asked = _asked(source, into, max_replays, scope)
        run(commands.plan(data_dir, asked, Console(), rehearse=rehearse, as_json=as_json))


def _require_plan(source: str, scope: dict[str, Any], *, writes: bool) -> None:
    """Without a target, the source must be a dry run that is to be carried out, whose scope is fixed."""
    if not source.startswith(_PLANNED) or not writes:
        raise typer.BadParameter("Say --into TOPIC or --into file:PATH; or r-… of a dry run with --execute.")
    if any(value for value in scope.values()):
        raise typer.BadParameter(f"{source} has its scope: options of another can't be given.")


def _asked(source: str, into: str, max_replays: int, scope: dict[str, Any]) -> Any:
    """What is asked for, with names in full. Raises ``typer.BadParameter``."""
    from operations.core.replay_names import is_file, named
    from operations.core.replay_scope import Asked, BadScope

    single = ("since", "until", "first_offset", "end_offset")
    lists: dict[str, Any] = {name: tuple(value or ()) for name, value in scope.items() if name not in single}
    try:
        names = [named(one) for one in (source, into)]
        whole = [f"file:{Path(one[5:]).expanduser().absolute()}" if is_file(one) else one for one in names]
        return Asked(
            source=whole[0],
            target=whole[1],
            max_replays=max_replays,
            **{name: scope[name] for name in single},
            **lists,
        )
    except (BadScope, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


@replays_app.command("list")
def listed(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many, the newest first.")] = 30,
    as_json: said.AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List replays: dry runs, and what was executed.

    Example: `openv replays list --json`
    """
    from operations.replay import commands

    run(commands.listed(data_dir, Console(), limit, as_json=as_json))


@replays_app.command("show")
def show(replay_id: said.ReplayId, as_json: said.AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Show one replay: its scope, what the dry run found, how far it is.

    Example: `openv replays show r-k3m8x2pq`
    """
    from operations.replay import commands

    run(commands.show(data_dir, replay_id, Console(), as_json=as_json))


@replays_app.command("pause")
def pause(replay_id: said.ReplayId, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Stop a replay that runs, in whatever process or on whatever machine; it can be continued.

    Example: `openv replays pause r-k3m8x2pq`
    """
    from operations.replay import commands

    run(commands.pause(data_dir, replay_id))


@replays_app.command("cancel")
def cancel(replay_id: said.ReplayId, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """End a replay for good, also one that runs. What it has written stays.

    Example: `openv replays cancel r-k3m8x2pq`
    """
    from operations.replay import commands

    run(commands.cancel(data_dir, replay_id))
