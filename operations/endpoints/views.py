"""``openv endpoints list`` and ``show``: for people a table, for programs JSON without the secret."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from operations.core.columns import Column
from operations.endpoints.records import (
    active_jobs,
    existing,
    gateway_base,
    open_database,
    owner_of_worker_keys,
    worker_keys,
)
from operations.endpoints.wishes import require_endpoint_id
from operations.endpoints.words import limits_in_words, span, who
from operations.tables import print_about, print_rows
from schemas.endpoints import ServerlessEndpoint
from schemas.instants import to_datetime
from schemas.shape import to_plain

COLUMNS = (
    Column("endpoint"),
    Column("workers", 1),
    Column("pool", 2),
    Column("who", 3, folds=12),
    Column("limits of one user", 4, folds=14),
    Column("retries", 7, right=True),
    Column("execution", 6),
    Column("ttl", 5),
    Column("result", 8),
    Column("for", 9, folds=12),
)


async def listed(data_dir: Path, console: Console, *, as_json: bool) -> int:
    """All that can be used, by name."""
    async with open_database(data_dir) as database:
        found = [one for one in await database.endpoints.endpoints() if one.deleted_at is None]
    base = gateway_base(data_dir)
    if as_json:
        typer.echo(json.dumps([_plain(one, base) for one in found], indent=2))
        return 0
    print_rows(console, COLUMNS, [_row(one) for one in found], none="There are no endpoints.")
    return 0


async def show(data_dir: Path, name: str, console: Console, *, as_json: bool) -> int:
    """One endpoint, its jobs that are under way, and how many keys its workers have."""
    require_endpoint_id(name)
    async with open_database(data_dir) as database:
        one = await existing(database, name)
        jobs = await active_jobs(database, name)
        keys = await worker_keys(database, name)
    plain = _plain(one, gateway_base(data_dir)) | {"activeJobs": jobs, "workerKeys": len(keys)}
    if as_json:
        typer.echo(json.dumps(plain, indent=2))
        return 0
    print_about(console, _rows(one, plain["url"], jobs, len(keys)))
    return 0


def _row(one: ServerlessEndpoint) -> tuple[str, ...]:
    spans = (span(ms) for ms in (one.execution_timeout_ms, one.ttl_ms, one.result_ms))
    about = (one.endpoint_id, one.kind, one.pool, who(one), limits_in_words(one.limits), str(one.max_retries))
    return *about, *spans, one.description


def _rows(one: ServerlessEndpoint, url: str, jobs: int, keys: int) -> dict[str, str]:
    return {
        "endpoint": one.endpoint_id,
        "url": url,
        "workers": one.kind,
        "pool": one.pool,
        "who may use it": who(one),
        "limits of one user": limits_in_words(one.limits),
        "retries": str(one.max_retries),
        "execution timeout": span(one.execution_timeout_ms),
        "ttl": span(one.ttl_ms),
        "results are kept": span(one.result_ms),
        "signed webhooks": "yes" if one.webhook_secret else "no",
        "description": one.description,
        "changed": f"{to_datetime(one.updated_at):%Y-%m-%d %H:%M}" if one.version else "never",
        "jobs under way": str(jobs),
        "worker keys": f"{keys} good (`openv keys list --user {owner_of_worker_keys(one.endpoint_id)}`)",
    }


def _plain(endpoint: ServerlessEndpoint, base: str) -> dict[str, Any]:
    """For programs. Members that an endpoint lacks are left out; ``limitsOf`` says whose limits hold there."""
    bare = to_plain(replace(endpoint, webhook_secret=None))
    return bare | {
        "url": f"{base}/v2/{endpoint.endpoint_id}",
        "limitsOf": "deployment" if endpoint.limits is None else "endpoint",
        "signedWebhooks": endpoint.webhook_secret is not None,
    }
