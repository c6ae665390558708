"""The ``openv jobs`` commands; the work is in the modules beside."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from operations.core.job_acts import Verb
from operations.running import DEFAULT_DATA_DIR, DataDirOption, run
from operations.stack.errors import StackError

if TYPE_CHECKING:
    from operations.jobs.listing import Sought

jobs_app = typer.Typer(
    help="Jobs: list, one's whole life; requeue, kill an attempt, cancel, delete. Exit code 3: not decided yet.",
    no_args_is_help=True,
)
Ids = Annotated[list[str] | None, typer.Argument(help="Job ids; - reads them from standard input, one a line.")]
User = Annotated[str | None, typer.Option(help="Jobs of this user.")]
State = Annotated[list[str] | None, typer.Option(help="Jobs in this state; may be given several times.")]
Pool = Annotated[str | None, typer.Option(help="Jobs of this pool.")]
EndpointOption = Annotated[str | None, typer.Option("--endpoint", help="Jobs of this serverless endpoint.")]
Code = Annotated[str | None, typer.Option(help="Jobs that failed with this code.")]
Since = Annotated[str | None, typer.Option(help="Created since then: 30m, 2h, 7d, or 2026-11-22T09:00:00Z.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Execute = Annotated[bool, typer.Option("--execute", help="Do it to those found; else they are only shown.")]
Most = Annotated[int, typer.Option("--most", min=1, max=100_000, help="Of those found, the newest so many.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit and in the log of commands.")]


@jobs_app.command("list")
def listed(
    user: User = None,
    state: State = None,
    pool: Pool = None,
    endpoint: EndpointOption = None,
    code: Code = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Jobs a page.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page: what the page before ended with.")] = None,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List jobs, newest first.

    Example: `openv jobs list --state failed --code out_of_memory --since 2h`
    """
    from operations.jobs.commands import list_jobs

    run(
        list_jobs(data_dir, _sought(user, state, pool, endpoint, code, since), limit, after, Console(), as_json=as_json)
    )


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
def tail(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="One job; all of those sought by default.")] = None,
    user: User = None,
    state: State = None,
    pool: Pool = None,
    endpoint: EndpointOption = None,
    code: Code = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a job a line.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Print what becomes of jobs, as it happens, until Ctrl-C.

    Example: `openv jobs tail --state failed`
    """
    from operations.jobs.commands import tail_jobs

    run(tail_jobs(data_dir, _sought(user, state, pool, endpoint, code, None), job_id, as_json=as_json))


@jobs_app.command("requeue")
def requeue(
    job_ids: Ids = None,
    user: User = None,
    state: State = None,
    pool: Pool = None,
    endpoint: EndpointOption = None,
    code: Code = None,
    since: Since = None,
    most: Most = 1_000,
    execute: Execute = False,
    reason: Reason = "",
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make jobs again: one that runs is handed back, at the cost of no try; one that ended without a video gets another
    run, measured and charged as when its user asks. Those found by a filter are only shown without --execute.

    Example: `openv jobs requeue --state failed --code storage_unavailable --since 2h --execute`
    """
    from operations.jobs.acts import Asked
    from operations.jobs.commands import Wish, act_on_jobs

    sought = _sought(user, state, pool, endpoint, code, since)
    wish = Wish(Verb.REQUEUE, tuple(job_ids or ()), sought, most, Asked(reason), execute)
    run(act_on_jobs(data_dir, wish, Console(), as_json=as_json))


@jobs_app.command("kill")
def kill(
    job_ids: Ids = None,
    user: User = None,
    state: State = None,
    pool: Pool = None,
    endpoint: EndpointOption = None,
    code: Code = None,
    since: Since = None,
    most: Most = 1_000,
    execute: Execute = False,
    final: Annotated[bool, typer.Option("--final", help="Do not try it again: the job fails and is refunded.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """End the attempt that runs, now: it costs the job a try, and its worker is told to stop.

    Example: `openv jobs kill 0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55 --reason "hangs"`
    """
    from operations.jobs.acts import Asked
    from operations.jobs.commands import Wish, act_on_jobs

    sought = _sought(user, state, pool, endpoint, code, since)
    wish = Wish(Verb.KILL, tuple(job_ids or ()), sought, most, Asked(reason, final), execute)
    run(act_on_jobs(data_dir, wish, Console(), as_json=as_json))


@jobs_app.command("cancel")
def cancel(
    job_ids: Ids = None,
    user: User = None,
    state: State = None,
    pool: Pool = None,
    endpoint: EndpointOption = None,
    code: Code = None,
    since: Since = None,
    most: Most = 1_000,
    execute: Execute = False,
    reason: Reason = "",
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Cancel jobs that wait or run. What is charged is as when their users cancel.

    Example: `openv jobs cancel --user alice --execute`
    """
    from operations.jobs.acts import Asked
    from operations.jobs.commands import Wish, act_on_jobs

    sought = _sought(user, state, pool, endpoint, code, since)
    wish = Wish(Verb.CANCEL, tuple(job_ids or ()), sought, most, Asked(reason), execute)
    run(act_on_jobs(data_dir, wish, Console(), as_json=as_json))


@jobs_app.command("delete")
def delete(
    job_ids: Ids = None,
    user: User = None,
    state: State = None,
    pool: Pool = None,
    endpoint: EndpointOption = None,
    code: Code = None,
    since: Since = None,
    most: Most = 1_000,
    execute: Execute = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Delete jobs and their files. This can't be undone.

    Example: `openv jobs delete --user alice --state failed --execute --yes`
    """
    from operations.jobs.acts import Asked
    from operations.jobs.commands import Wish, act_on_jobs

    sought = _sought(user, state, pool, endpoint, code, since)
    if job_ids == ["-"] and execute and not yes:
        raise typer.BadParameter("Say --yes: where ids come from, no answer can.")
    if not yes and (execute or (job_ids and job_ids != ["-"])):
        typer.confirm("Delete them with all their files? This can't be undone.", abort=True)
    wish = Wish(Verb.DELETE, tuple(job_ids or ()), sought, most, Asked(reason), execute)
    run(act_on_jobs(data_dir, wish, Console(), as_json=as_json))


def _sought(
    user: str | None,
    state: list[str] | None,
    pool: str | None,
    endpoint: str | None,
    code: str | None,
    since: str | None,
) -> "Sought":
    from operations.jobs.listing import sought_of
    from repo.clock import now_ms

    try:
        return sought_of(user, tuple(state or ()), pool, endpoint, code, since, now_ms())
    except StackError as error:
        raise typer.BadParameter(str(error)) from None
