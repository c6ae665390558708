"""``openv endpoints``: serverless endpoints as RunPod calls them, and the keys of their workers.

Each change is a compare-and-set of one document, made again where somebody else was first. A gateway knows it within
seconds. A deleted endpoint stays as a tombstone: its jobs go on, and the built-in one does not come back by itself.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.identity.keys import new_key
from gateway.settings import GatewaySettings
from operations.endpoint_wishes import Wishes, changed, limits_in_words, new_endpoint, require_endpoint_id
from operations.keys import DAY_MS, WIDE
from operations.local import running_stack, server_environment
from operations.stack.errors import StackError
from operations.worker_environment import as_env_file, as_shell, is_loopback, require_base, worker_environment
from repo.clock import now_ms
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.endpoints import EndpointKind, ServerlessEndpoint
from schemas.instants import LAST, to_datetime
from schemas.lifecycle import ACTIVE
from schemas.shape import to_plain
from schemas.slots import is_pod_id

KNOWN_WITHIN_S = 6.0  # by then a gateway reads an endpoint anew, and what it decided before is stored
SIGNING_SHOWN_ONCE = "Completion webhooks are signed with this secret, shown once:"


def owner_of_worker_keys(endpoint_id: str) -> str:
    """Whose the keys of an endpoint's workers are: nobody's who can be deleted."""
    return f"endpoint:{endpoint_id}"


async def create(data_dir: Path, name: str, wishes: Wishes) -> int:
    """Make an endpoint, also where a deleted one had the name: the keys of its workers are good no longer."""
    require_endpoint_id(name)
    made = new_endpoint(name, wishes, now_ms())
    async with _database(data_dir) as database:
        while True:
            stored = await database.endpoints.endpoint(name)
            if stored is not None and stored.deleted_at is None:
                raise StackError(f"There is an endpoint {name} already: `openv endpoints update {name}` changes it.")
            if stored is not None:
                await _require_idle(database, stored, made)
                await _revoke_worker_keys(database, name)
            before = stored.version if stored is not None else 0
            if await database.endpoints.store_endpoint(replace(made, version=before + 1), before):
                break
    typer.echo(f"Endpoint {name}: {_base(data_dir)}/v2/{name}")
    _tell_signing(wishes)
    if made.kind is EndpointKind.EXTERNAL:
        typer.echo(f"`openv endpoints key {name}` prints what its workers need.")
    return 0


async def update(data_dir: Path, name: str, wishes: Wishes) -> int:
    """Change what was asked, and nothing else."""
    require_endpoint_id(name)
    async with _database(data_dir) as database:
        while True:
            endpoint = await _existing(database, name)
            new = changed(endpoint, wishes, now_ms())
            await _require_idle(database, endpoint, new)
            if await database.endpoints.store_endpoint(new, endpoint.version):
                break
    typer.echo(f"Endpoint {name} is changed; gateways know it in a few seconds.")
    if (endpoint.pool, endpoint.kind) != (new.pool, new.kind):
        await _warn_of_left(data_dir, endpoint, new)
    if endpoint.limits is None and new.limits is not None:
        typer.echo(f"From now on it has limits of its own, not the deployment's: {limits_in_words(new.limits)}.")
    _tell_signing(wishes)
    return 0


async def delete(data_dir: Path, name: str, agreed: Callable[[str], None]) -> int:
    """Let nobody use it any more. ``agreed`` is asked with what that means, and raises to stop it."""
    require_endpoint_id(name)
    async with _database(data_dir) as database:
        await _existing(database, name)
        jobs = await _active(database, name)
        agreed(f"Delete the endpoint {name}? {_under_way(jobs)}")
        while True:
            endpoint, now = await _existing(database, name), now_ms()
            gone = replace(endpoint, version=endpoint.version + 1, updated_at=now, deleted_at=now)
            if await database.endpoints.store_endpoint(gone, endpoint.version):
                break
        jobs = await _active(database, name)
    typer.echo(f"Endpoint {name} is deleted. {_under_way(jobs)}")
    return 0


async def listed(data_dir: Path, console: Console, *, as_json: bool) -> int:
    """All that can be used, by name."""
    async with _database(data_dir) as database:
        found = [one for one in await database.endpoints.endpoints() if one.deleted_at is None]
    base = _base(data_dir)
    if as_json:
        typer.echo(json.dumps([_plain(one, base) for one in found], indent=2))
        return 0
    table = Table("endpoint", "workers", "pool", "who", "one user", "retries", "execution", "ttl", "result", "for")
    for one in found:
        table.add_row(
            one.endpoint_id,
            one.kind,
            one.pool,
            _who(one),
            limits_in_words(one.limits),
            str(one.max_retries),
            *(_span(ms) for ms in (one.execution_timeout_ms, one.ttl_ms, one.result_ms)),
            one.description,
        )
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    console.print(table)
    return 0


async def show(data_dir: Path, name: str, console: Console, *, as_json: bool) -> int:
    """One endpoint, its jobs that are under way, and how many keys its workers have."""
    require_endpoint_id(name)
    async with _database(data_dir) as database:
        one = await _existing(database, name)
        jobs = await _active(database, name)
        keys = await _worker_keys(database, name)
    plain = _plain(one, _base(data_dir)) | {"activeJobs": jobs, "workerKeys": len(keys)}
    if as_json:
        typer.echo(json.dumps(plain, indent=2))
        return 0
    table = Table(show_header=False)
    rows = {
        "endpoint": one.endpoint_id,
        "url": plain["url"],
        "workers": one.kind,
        "pool": one.pool,
        "who may use it": _who(one),
        "one user": limits_in_words(one.limits),
        "retries": str(one.max_retries),
        "execution timeout": _span(one.execution_timeout_ms),
        "ttl": _span(one.ttl_ms),
        "results are kept": _span(one.result_ms),
        "signed webhooks": "yes" if one.webhook_secret else "no",
        "description": one.description,
        "changed": f"{to_datetime(one.updated_at):%Y-%m-%d %H:%M}" if one.version else "never",
        "jobs under way": str(jobs),
        "worker keys": f"{len(keys)} good ones (`openv keys list --user {owner_of_worker_keys(name)}`)",
    }
    for row in rows.items():
        table.add_row(*row)
    console.print(table)
    return 0


async def worker_key(
    data_dir: Path, name: str, label: str, url: str | None, pod_id: str | None, expires_days: int | None, *, shell: bool
) -> int:
    """Make a key for an endpoint's workers, and print the environment that one of them needs."""
    require_endpoint_id(name)
    pod_id = pod_id or f"{name}-{secrets.token_hex(4)}"
    if not is_pod_id(pod_id):
        raise StackError("A pod's id has 1 to 64 letters, digits and - _, and begins with a letter or digit.")
    if url is not None:
        require_base(url)
    now = now_ms()
    async with _database(data_dir) as database:
        if (await _existing(database, name)).kind is not EndpointKind.EXTERNAL:
            raise StackError(
                f"The workers of {name} are ours (`openv worker`) and need no key. "
                "`openv endpoints create NAME --external` makes an endpoint for others."
            )
        await database.prepare()
        secret, key = new_key(
            owner_of_worker_keys(name),
            now=now,
            name=label,
            role=Role.RESTRICTED,
            scopes=(),
            kind=KeyKind.WORKER,
            endpoint=name,
            expires_at=None if expires_days is None else now + expires_days * DAY_MS,
        )
        await database.access.store_api_key(key)
    base = require_base(url or _base(data_dir))
    variables = worker_environment(base, name, secret, pod_id)
    typer.echo(as_shell(variables) if shell else as_env_file(variables))
    typer.echo("The key in it is shown once. Give each further container a RUNPOD_POD_ID of its own.", err=True)
    if is_loopback(base):
        typer.echo(f"{base} is this machine alone: for a container say --url, or run it with --network host.", err=True)
    return 0


@asynccontextmanager
async def _database(data_dir: Path) -> AsyncIterator[MongoDatabase]:
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        yield database


async def _existing(database: MongoDatabase, name: str) -> ServerlessEndpoint:
    stored = await database.endpoints.endpoint(name)
    if stored is None or stored.deleted_at is not None:
        raise StackError(f"There is no endpoint {name}: `openv endpoints list` shows all.")
    return stored


async def _active(database: MongoDatabase, name: str) -> int:
    counts = await database.jobs.endpoint_counts(name, LAST)
    return sum(count for state, count in counts.items() if state in ACTIVE)


async def _require_idle(database: MongoDatabase, old: ServerlessEndpoint, new: ServerlessEndpoint) -> None:
    """A job stays in the pool that it was sent to; whoever moves the workers would leave it there."""
    if (old.pool, old.kind) == (new.pool, new.kind):
        return
    jobs = await _active(database, old.endpoint_id)
    if jobs:
        raise StackError(
            f"In the pool {old.pool}, {_count(jobs)} under way for {old.endpoint_id}: it can change its pool or its "
            "kind of workers once none is."
        )


async def _warn_of_left(data_dir: Path, old: ServerlessEndpoint, new: ServerlessEndpoint) -> None:
    """Gateways that did not know of the change yet may have sent jobs to where no worker looks any more."""
    await asyncio.sleep(KNOWN_WITHIN_S)
    async with _database(data_dir) as database:
        jobs = await database.jobs.endpoint_jobs(old.endpoint_id, ACTIVE)
    external = new.kind is EndpointKind.EXTERNAL
    left = [job for job in jobs if job.pool != new.pool or job.external != external]
    if left:
        typer.echo(
            f"Meanwhile {_count(len(left))} under way that went to the pool {old.pool}: keep its workers until they "
            "have ended, or cancel them.",
            err=True,
        )


async def _worker_keys(database: MongoDatabase, name: str) -> list[str]:
    """The hashes of those that are good now."""
    keys, now = await database.access.api_keys(owner_of_worker_keys(name)), now_ms()
    return [
        key.key_hash
        for key in keys
        if key.kind is KeyKind.WORKER and key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
    ]


async def _revoke_worker_keys(database: MongoDatabase, name: str) -> None:
    for key_hash in await _worker_keys(database, name):
        await database.access.revoke_api_key(key_hash, now_ms())


def _base(data_dir: Path) -> str:
    """Where the gateway is, as far as this machine knows."""
    said = os.environ.get("OPENV_URL") or (running_stack(data_dir) or {}).get("url") or GatewaySettings().origin
    return require_base(said)


def _tell_signing(wishes: Wishes) -> None:
    if wishes.signing is not None:
        typer.echo(f"{SIGNING_SHOWN_ONCE} {wishes.signing}")


def _under_way(jobs: int) -> str:
    return f"{_count(jobs)} under way{' and will go on' if jobs else ''}."


def _count(jobs: int) -> str:
    return f"{jobs or 'No'} job{' is' if jobs == 1 else 's are'}"


def _plain(endpoint: ServerlessEndpoint, base: str) -> dict[str, Any]:
    """For programs: without the secret."""
    signed = endpoint.webhook_secret is not None
    bare = to_plain(replace(endpoint, webhook_secret=None))
    return bare | {"url": f"{base}/v2/{endpoint.endpoint_id}", "signedWebhooks": signed}


def _who(endpoint: ServerlessEndpoint) -> str:
    return "everyone" if endpoint.users is None else ", ".join(endpoint.users)


def _span(ms: int) -> str:
    """A time for a person: in the largest unit that says it exactly."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:g} s"
