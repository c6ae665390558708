"""The ``openv backup, restore and rebuild`` commands."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from operations.running import DEFAULT_DATA_DIR, DataDirOption, require_agreement, run

recovery_app = typer.Typer(help="Back up MongoDB, restore it, bring it up to date.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DIFFERENT = 3  # exit code


@recovery_app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it replaces none. - is standard output.")],
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Write all documents into a file, with the positions in the log that they stand for. OpenV may run meanwhile.

    The file holds prompts, addresses and webhooks' secrets: keep it as you keep the database.

    Example: `openv backup /backups/openv-$(date +%F).gz`
    """
    from operations.audit.recording import at_the_terminal
    from operations.recovery import views
    from operations.recovery.backup import STDOUT
    from operations.recovery.backup import backup as work
    from operations.recovery.place import place

    console = Console(stderr=as_json or file == STDOUT)

    async def doing() -> None:
        async with place(data_dir) as at:
            with views.progress(Console(stderr=True)) as step:
                made = await work(at, at_the_terminal(), file, step)
        views.show_backup(made, console, as_json=as_json and file != STDOUT)

    run(doing())


@recovery_app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="What `openv backup` wrote.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Into a database that is not empty: keep the newer of two documents.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Into a database that is not empty: delete all that is in it first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --replace: for scripts.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check that the file is whole.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Put a backup into an empty database, which stays closed until `openv rebuild` has brought it up to date.

    Checks the whole file before it writes anything. Gateways answer 503 until the rebuild is done. Where nobody can be
    asked, `--replace` needs `--yes`.

    Example: `openv restore /backups/openv-2026-11-22.gz && openv rebuild`
    """
    from operations.audit.recording import at_the_terminal
    from operations.recovery import views
    from operations.recovery.place import place
    from operations.recovery.restore import Into, checked
    from operations.recovery.restore import restore as work

    if merge and replace:
        raise typer.BadParameter("--merge and --replace exclude each other")
    into = Into.MERGE if merge else Into.REPLACE if replace else Into.EMPTY
    if replace and not yes and not check:
        require_agreement("Delete everything in the database and put the backup in its place?")

    async def doing() -> None:
        with views.progress(Console(stderr=True)) as step:
            if check:
                views.show_checked(await checked(file, step), Console(), as_json=as_json)
                return
            async with place(data_dir) as at:
                done = await work(at, at_the_terminal(), file, into, step)
        views.show_restored(done, Console(), as_json=as_json)

    run(doing())


@recovery_app.command("rebuild")
def rebuild(
    verify: Annotated[
        bool, typer.Option("--verify", help="Change nothing: only compare. Exit code 3 where something differs.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Read all events that are kept, not only those since the backup.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Bring jobs and accounts up to date from `openv.events`, compare them with it, and open the database.

    Never replaces a document by an older one. OpenV waits while it runs: gateways answer 503, and stream processes
    start again after it. May be run again at any time, also after it was killed. Without a backup, it brings back the
    jobs and accounts of the last 30 days, and nothing else.

    Example: `openv rebuild --verify --json`
    """
    from operations.audit.recording import at_the_terminal
    from operations.recovery import views
    from operations.recovery.place import place
    from operations.recovery.rebuild import rebuild as work
    from operations.recovery.verify import verify as comparing

    async def doing() -> int:
        async with place(data_dir) as at:
            with views.progress(Console(stderr=True)) as step:
                if verify:
                    found = await comparing(at, step)
                else:
                    done = await work(at, at_the_terminal(), whole=whole, progress=step)
                    found = done.comparison
        if verify:
            views.show_comparison(found, Console(), as_json=as_json)
        else:
            views.show_rebuilt(done, Console(), as_json=as_json)
        return DIFFERENT if found.different else 0

    run(doing())
