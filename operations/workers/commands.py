"""What the ``openv workers`` commands do at a terminal: open a desk, do the work, print it."""

import json
from pathlib import Path

import typer
from rich.console import Console

from operations.audit.recording import at_the_terminal
from operations.core.printable import printable
from operations.desk import NOT_DECIDED
from operations.desk import desk as open_desk
from operations.jobs.life import stored_job
from operations.jobs.views import job_plain
from operations.local import running_stack
from operations.tables import note
from operations.workers import views
from operations.workers.drain import drain
from operations.workers.roster import one_worker, pools, workers
from repo.clock import now_ms

BACK_AGAIN = (
    "It is a worker of `openv up`, which starts it again within seconds, under the same name. To have fewer: "
    "`openv down`, then `openv up` with fewer --workers."
)


async def list_workers(data_dir: Path, pool: str | None, console: Console, *, everyone: bool, as_json: bool) -> int:
    """Those heard of late; those that are gone only where ``everyone`` is asked for."""
    async with open_desk(data_dir) as desk:
        found = await workers(desk, pool=pool)
    shown = [one for one in found.heard if everyone or not one.gone]
    if as_json:
        typer.echo(json.dumps([views.worker_plain(one) for one in shown], indent=2))
        return 0
    none = views.all_left(len(found.heard)) if found.heard else views.NONE
    views.print_workers(console, shown, now_ms(), none)
    if found.gap is not None:
        note(f"Not everyone is known: {found.gap}.")
    return 0


async def show_worker(data_dir: Path, worker_id: str, pool: str | None, console: Console, *, as_json: bool) -> int:
    """One worker, and the job that it runs."""
    async with open_desk(data_dir) as desk:
        one = await one_worker(desk, worker_id, pool)
        job = None if one.job_id is None else await stored_job(desk, one.job_id)
    if as_json:
        plain = views.worker_plain(one)
        typer.echo(json.dumps(plain if job is None else plain | {"job": job_plain(job)}, indent=2))
        return 0
    views.print_worker(console, one, job, now_ms())
    return 0


async def list_pools(data_dir: Path, console: Console, *, as_json: bool) -> int:
    """Every queue."""
    async with open_desk(data_dir) as desk:
        found = await pools(desk)
    if as_json:
        typer.echo(json.dumps([views.pool_plain(one) for one in found], indent=2))
    else:
        views.print_pools(console, found, now_ms())
    return 0


async def drain_worker(
    data_dir: Path,
    worker_id: str,
    pool: str | None,
    reason: str,
    wait_s: float | None,
    *,
    now: bool,
    as_json: bool,
) -> int:
    """Drain it. Exit code 3 where it was not told, or has not gone, in time."""
    async with open_desk(data_dir) as desk:
        came = await drain(desk, at_the_terminal(), worker_id, pool=pool, now=now, wait_s=wait_s, reason=reason)
    done = came.gone if wait_s is not None else came.told
    if as_json:
        typer.echo(json.dumps(views.drained_plain(came), indent=2))
    else:
        typer.echo(printable(came.words), err=not done)
        if came.told and _is_of_the_stack(data_dir, worker_id):
            note(BACK_AGAIN)
    return 0 if done else NOT_DECIDED


def _is_of_the_stack(data_dir: Path, worker_id: str) -> bool:
    """Whether the local stack supervises it: its parts' names are the ends of their workers' ids."""
    stack = running_stack(data_dir) or {}
    return any(worker_id.endswith(f"-{part}") for part in stack.get("parts", {}))
