"""The ``openv doctor`` command."""

from typing import Annotated

import typer
from rich.console import Console

from operations.running import DEFAULT_DATA_DIR, DataDirOption, run
from operations.running import agreed as asked

doctor_app = typer.Typer(help="Look at everything OpenV depends on.", no_args_is_help=True)
DAY_MS = 86_400_000


@doctor_app.command("doctor")
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended from here, after a list.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before repairing.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Look at this alone: kafka, topics, files …; of several: --only kafka --only topics, or kafka,topics."
        ),
    ] = None,
    older_than: Annotated[
        float, typer.Option(min=1, max=3650, help="Days: younger files and documents are nobody's stray yet.")
    ] = 1,
    most: Annotated[
        int,
        typer.Option(min=1, help="Objects of a store and documents of a kind that are looked at, the first by key."),
    ] = 200_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Look at every dependency, and name the one command that mends each finding. Exit code 3: there are problems.

    Changes nothing without --repair, but for a probe in MongoDB and S3 that is deleted at once.

    Example: `openv doctor --only files --only mongodb --repair`
    """
    from operations.doctor.commands import doctor as work

    def agreed(words: str) -> bool:
        return yes or asked(words)

    older_than_ms = round(older_than * DAY_MS)
    console = Console()
    run(
        work(
            data_dir,
            console,
            only=[name.strip() for said in only or () for name in said.split(",")],
            repairing=repair,
            agreed=agreed,
            older_than_ms=older_than_ms,
            most=most,
            as_json=as_json,
        )
    )
