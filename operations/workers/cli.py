"""The ``openv workers`` commands; the work is in the modules beside."""

from typing import Annotated

import typer
from rich.console import Console

from operations.running import DEFAULT_DATA_DIR, DataDirOption, run

workers_app = typer.Typer(
    help="Workers: who renders what, what waits in each pool; drain one. Exit code 3: not done yet.",
    no_args_is_help=True,
)
Worker = Annotated[str, typer.Argument(metavar="ID", help="The worker's id.")]
Pool = Annotated[str | None, typer.Option(help="The pool.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@workers_app.command("list")
def listed(
    pool: Pool = None,
    everyone: Annotated[bool, typer.Option("--all", help="Those too that said farewell.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List the workers that were heard in the last two minutes: what they do, and since when. Silent ones are marked.

    Example: `openv workers list --pool mochi-1`
    """
    from operations.workers.commands import list_workers

    run(list_workers(data_dir, pool, Console(), everyone=everyone, as_json=as_json))


@workers_app.command("show")
def show(
    worker_id: Worker, pool: Pool = None, as_json: AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR
) -> None:
    """Show one worker and the job that it runs.

    Example: `openv workers show gpu-3`
    """
    from operations.workers.commands import show_worker

    run(show_worker(data_dir, worker_id, pool, Console(), as_json=as_json))


@workers_app.command("pools")
def pools(as_json: AsJson = False, data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """List the pools: how many jobs wait, since when, how many run, and what the workers do.

    Example: `openv workers pools --json`
    """
    from operations.workers.commands import list_pools

    run(list_pools(data_dir, Console(), as_json=as_json))


@workers_app.command("drain")
def drain(
    worker_id: Worker,
    pool: Pool = None,
    now: Annotated[bool, typer.Option("--now", help="Hand back what it runs, at the cost of no try.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return once it has gone.")] = False,
    within: Annotated[float, typer.Option(min=1, help="How many seconds --wait waits.")] = 1_800.0,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    as_json: AsJson = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Take a worker out of service: it is given no more jobs, finishes what it runs, and ends.

    Example: `openv workers drain gpu-3 --wait`
    """
    from operations.workers.commands import drain_worker

    wait_s = within if wait else None
    run(drain_worker(data_dir, worker_id, pool, reason, wait_s, now=now, as_json=as_json))
