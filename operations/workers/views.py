"""How workers and pools are shown: tables for people, plain data for programs (the admin API's bodies too)."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from operations.core.columns import Column
from operations.core.counting import several
from operations.core.roster import Heard
from operations.tables import Cell, Lines, print_about, print_rows, when
from operations.workers.drain import Drained
from operations.workers.roster import Pool
from schemas.instants import to_iso
from schemas.jobs import Job


def worker_plain(one: Heard) -> dict[str, Any]:
    """One worker; what is not known is left out."""
    plain = {
        "pool": one.pool,
        "workerId": one.worker_id,
        "session": one.session,
        "kind": one.kind,
        "state": state_of(one),
        "engine": one.engine or None,
        "device": one.device or None,
        "jobId": one.job_id,
        "attempt": one.attempt,
        "since": to_iso(one.since),
        "heardAt": to_iso(one.heard_at),
    }
    return {name: value for name, value in plain.items() if value is not None}


def state_of(one: Heard) -> str:
    """Its own word, or that it has none any more."""
    return "gone" if one.gone else "silent" if one.silent else str(one.state)


def drained_plain(came: Drained) -> dict[str, Any]:
    """What came of draining."""
    return {"told": came.told, "gone": came.gone, "words": came.words, "worker": worker_plain(came.worker)}


def pool_plain(one: Pool) -> dict[str, Any]:
    """One queue, and its workers by what they do."""
    plain = {
        "pool": one.pool,
        "waiting": one.waiting,
        "running": one.running,
        "oldestAt": None if one.oldest_at is None else to_iso(one.oldest_at),
        "workers": {
            "idle": one.idle,
            "busy": one.busy,
            "starting": one.starting,
            "draining": one.draining,
            "silent": one.silent,
        },
    }
    return {name: value for name, value in plain.items() if value is not None}


_WORKERS = (
    Column("worker"),
    Column("state"),
    Column("pool", 1),
    Column("since", 3),
    Column("job", 2),
    Column("attempt", 6, right=True),
    Column("heard", 4),
    Column("kind", 5),
    Column("engine", 7),
    Column("device", 8, folds=12),
    Column("session", 9),
)
_POOLS = (
    Column("pool"),
    Column("waiting", right=True),
    Column("oldest"),
    Column("running", right=True),
    *(Column(name, 1, right=True) for name in ("idle", "busy", "starting", "draining", "silent")),
)


NONE = "No workers were heard in the last two minutes."


def print_workers(console: Console, found: Sequence[Heard], now: int, none: str = NONE) -> None:
    """A row a worker; ``none``: what is said where there are none."""
    rows = []
    for one in found:
        state = _state(one)
        job = (one.job_id or "", str(one.attempt or ""))
        doing = (one.worker_id, state, one.pool, when(one.since, now), *job, when(one.heard_at, now))
        rows.append((*doing, one.kind, one.engine, one.device, one.session))
    print_rows(console, _WORKERS, rows, none=none)


def all_left(count: int) -> str:
    """Of ``count`` workers that were heard, where none of them is there any more."""
    heard = f"{several(count, 'worker')} {'was' if count == 1 else 'were'} heard in the last two minutes"
    return f"{heard}, and {'it has left: --all shows it' if count == 1 else 'all have left: --all shows them'}."


def print_worker(console: Console, one: Heard, job: Job | None, now: int) -> None:
    """One worker: all that is known of it, a line each; and of the job that it runs."""
    rows: dict[str, Lines] = {
        "worker": one.worker_id,
        "pool": one.pool,
        "state": f"{_state(one)}, since {_moment(one.since, now)}",
        "job": "none" if job is None else (job.job_id, _about(job, one.attempt, now)),
        "heard": _moment(one.heard_at, now),
        "kind": str(one.kind),
        "engine": one.engine,
        "device": one.device,
        "session": one.session,
    }
    print_about(console, {name: words for name, words in rows.items() if words})


def _state(one: Heard) -> str:
    return f"SILENT (said {one.state})" if one.silent else state_of(one)


def _about(job: Job, attempt: int | None, now: int) -> str:
    runs = f"attempt {attempt or job.attempt}, try {job.tries} of {job.max_retries + 1}"
    return f"{job.state}, {runs}, of {job.user_id}, created {_moment(job.created_at, now)}"


def _moment(at: int, now: int) -> str:
    told = when(at, now)
    return f"{told.whole} ({told.short})"


def print_pools(console: Console, found: Sequence[Pool], now: int) -> None:
    """A row a pool."""
    rows = []
    for one in found:
        oldest: Cell = "" if one.oldest_at is None else when(one.oldest_at, now)
        counts = (one.running, one.idle, one.busy, one.starting, one.draining, one.silent)
        rows.append((one.pool, str(one.waiting), oldest, *map(str, counts)))
    print_rows(console, _POOLS, rows, none="No pool has a job or a worker.")
