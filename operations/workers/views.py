"""How workers and pools are shown: tables for people, plain data for programs (the admin API's bodies too)."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from operations.core.roster import Heard
from operations.jobs.views import cell, widened
from operations.workers.drain import Drained
from operations.workers.roster import Pool
from schemas.instants import to_iso


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


def print_workers(console: Console, found: Sequence[Heard], now: int) -> None:
    """A row a worker."""
    columns = ("pool", "worker", "kind", "state", "since", "job", "attempt", "heard", "engine", "device", "session")
    table = Table(*columns)
    for one in found:
        state = state_of(one)
        table.add_row(
            *map(cell, (one.pool, one.worker_id, one.kind)),
            cell(f"SILENT (said {one.state})" if one.silent else state),
            ago(one.since, now),
            cell(one.job_id or ""),
            str(one.attempt or ""),
            ago(one.heard_at, now),
            *map(cell, (one.engine, one.device, one.session)),
        )
    widened(console).print(table)


def print_pools(console: Console, found: Sequence[Pool], now: int) -> None:
    """A row a pool."""
    table = Table("pool", "waiting", "oldest", "running", "idle", "busy", "starting", "draining", "silent")
    for one in found:
        oldest = "" if one.oldest_at is None else ago(one.oldest_at, now)
        counts = (one.running, one.idle, one.busy, one.starting, one.draining, one.silent)
        table.add_row(cell(one.pool), str(one.waiting), oldest, *map(str, counts))
    widened(console).print(table)


def ago(at: int, now: int) -> str:
    """How long ago, for people."""
    seconds = max(0, now - at) // 1000
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7_200 else f"{seconds // 3600} h ago"
