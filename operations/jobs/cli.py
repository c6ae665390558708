"""The ``openv jobs`` commands; what they can be told is in ``options.py``, the work in the modules beside."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from operations.core.job_acts import Verb
from operations.jobs.options import Acting, AsJson, Filters
from operations.options import spread
from operations.running import DEFAULT_DATA_DIR, DataDirOption, require_agreement, run

if TYPE_CHECKING:
    from pathlib import Path

    from operations.jobs.commands import Wish

jobs_app = typer.Typer(
    help="Jobs: list, one's whole life; requeue, kill an attempt, cancel, delete. Exit code 3: not decided yet.",
    no_args_is_help=True,
)
Ids = Annotated[list[str] | None, typer.Argument(help="Job ids; - reads them from standard input, one a line.")]


@jobs_app.command("list")
@spread
def listed(
    filters: Filters,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Jobs a page.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page: what the page before ended with.")] = None,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List jobs, newest first.

    Example: `openv jobs list --state failed --code out_of_memory --since 2h`
    """
    from operations.jobs.commands import list_jobs

    run(list_jobs(data_dir, filters.sought(), limit, after, Console(), as_json=as_json))


@jobs_app.command("show")
def show(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="What its user wrote as well. The audit tells who read it.")
    ] = False,
    records: Annotated[int, typer.Option(min=1, help="How many records of a topic are looked at, at most.")] = 200_000,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show a job's whole life: commands, decisions, attempts, orders, files, webhook deliveries, dead letters, audit.

    Example: `openv jobs show 0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55`
    """
    from operations.jobs.commands import show_job

    run(show_job(data_dir, job_id, records, Console(), prompt=show_prompt, as_json=as_json))


@jobs_app.command("tail")
@spread
def tail(
    filters: Filters,
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="One job; all of those sought by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a job a line.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Print what becomes of jobs, as it happens, until Ctrl-C.

    Example: `openv jobs tail --state failed`
    """
    from operations.jobs.commands import tail_jobs

    run(tail_jobs(data_dir, filters.sought(), job_id, as_json=as_json))


@jobs_app.command("requeue")
@spread
def requeue(
    filters: Filters,
    acting: Acting,
    job_ids: Ids = None,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make jobs again: one that runs is handed back, at the cost of no try; one that ended without a video gets another
    run, measured and charged as when its user asks. Those found by a filter are only shown without --execute.

    Example: `openv jobs requeue --state failed --code storage_unavailable --since 2h --execute`
    """
    _act(data_dir, acting.wish(Verb.REQUEUE, job_ids, filters), as_json=as_json)


@jobs_app.command("kill")
@spread
def kill(
    filters: Filters,
    acting: Acting,
    job_ids: Ids = None,
    final: Annotated[bool, typer.Option("--final", help="Do not try it again: the job fails and is refunded.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """End the attempt that runs, now: it costs the job a try, and its worker is told to stop.

    Example: `openv jobs kill 0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55 --reason "hangs"`
    """
    _act(data_dir, acting.wish(Verb.KILL, job_ids, filters, final=final), as_json=as_json)


@jobs_app.command("cancel")
@spread
def cancel(
    filters: Filters,
    acting: Acting,
    job_ids: Ids = None,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Cancel jobs that wait or run. What is charged is as when their users cancel.

    Example: `openv jobs cancel --user alice --execute`
    """
    _act(data_dir, acting.wish(Verb.CANCEL, job_ids, filters), as_json=as_json)


@jobs_app.command("delete")
@spread
def delete(
    filters: Filters,
    acting: Acting,
    job_ids: Ids = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Delete jobs and their files. This can't be undone.

    Example: `openv jobs delete --user alice --state failed --execute --yes`
    """
    wish = acting.wish(Verb.DELETE, job_ids, filters)
    if job_ids == ["-"] and acting.execute and not yes:
        raise typer.BadParameter("Say --yes: where ids come from, no answer can.")
    if not yes and (acting.execute or (job_ids and job_ids != ["-"])):
        require_agreement("Delete them with all their files? This can't be undone.")
    _act(data_dir, wish, as_json=as_json)


def _act(data_dir: "Path", wish: "Wish", *, as_json: bool) -> None:
    from operations.jobs.commands import act_on_jobs

    run(act_on_jobs(data_dir, wish, Console(), as_json=as_json))
