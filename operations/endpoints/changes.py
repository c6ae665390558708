"""``openv endpoints create``, ``update`` and ``delete``: serverless endpoints as RunPod calls them.

Each change is a compare-and-set of one document, made again where somebody else was first. A gateway knows it within
seconds. A deleted endpoint stays as a tombstone: its jobs go on, and the built-in one does not come back by itself.
"""

import asyncio
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import typer

from operations.audit.recording import Actor, at_the_terminal, audited
from operations.desk import Desk
from operations.desk import desk as open_desk
from operations.endpoints.records import active_jobs, existing, gateway_base, open_database, worker_keys
from operations.endpoints.wishes import Wishes, changed, new_endpoint, require_endpoint_id
from operations.endpoints.words import counted, doubt, limits_moved, under_way
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.database import Database
from schemas.endpoints import EndpointKind, ServerlessEndpoint
from schemas.lifecycle import ACTIVE

KNOWN_WITHIN_S = 6.0  # by then a gateway reads an endpoint anew, and what it decided before is stored
SIGNING_SHOWN_ONCE = "Completion webhooks are signed with this secret, shown once:"


class NameTakenError(StackError):
    """There is an endpoint of that name."""


async def create(data_dir: Path, name: str, wishes: Wishes) -> int:
    """Make an endpoint, also where a deleted one had the name: the keys of its workers are good no longer."""
    require_endpoint_id(name)
    made = new_endpoint(name, wishes, now_ms())
    async with open_desk(data_dir) as desk:
        await make_endpoint(desk, at_the_terminal(), made)
    typer.echo(f"Endpoint {name}: {gateway_base(data_dir)}/v2/{name}")
    _tell_signing(wishes)
    if made.kind is EndpointKind.EXTERNAL:
        typer.echo(f"`openv endpoints key {name}` prints what its workers need.")
    _tell_doubt(None, made)
    return 0


async def make_endpoint(desk: Desk, actor: Actor, made: ServerlessEndpoint, reason: str = "") -> ServerlessEndpoint:
    """As it is stored. Raises ``NameTakenError``, ``StackError`` where jobs keep it from being made anew,
    ``Unavailable``."""
    name, database = made.endpoint_id, desk.database
    async with audited(desk.log, actor, "endpoints.create", target=name, reason=reason, detail={"pool": made.pool}):
        while True:
            stored = await database.endpoints.endpoint(name)
            if stored is not None and stored.deleted_at is None:
                raise NameTakenError(
                    f"There is an endpoint {name} already: `openv endpoints update {name}` changes it."
                )
            if stored is not None:
                await _require_idle(database, stored, made)
                await _revoke_worker_keys(database, name)
            before = stored.version if stored is not None else 0
            new = replace(made, version=before + 1)
            if await database.endpoints.store_endpoint(new, before):
                return new


async def update(data_dir: Path, name: str, wishes: Wishes) -> int:
    """Change what was asked, and nothing else."""
    require_endpoint_id(name)
    async with open_desk(data_dir) as desk:
        endpoint, new = await change_endpoint(desk, at_the_terminal(), name, wishes)
    typer.echo(f"Endpoint {name} is changed; gateways know it in a few seconds.")
    if (endpoint.pool, endpoint.kind) != (new.pool, new.kind):
        await _warn_of_left(data_dir, endpoint, new)
    if (moved := limits_moved(endpoint.limits, new.limits)) is not None:
        typer.echo(moved)
    _tell_signing(wishes)
    _tell_doubt(endpoint, new)
    return 0


async def change_endpoint(
    desk: Desk, actor: Actor, name: str, wishes: Wishes, reason: str = ""
) -> tuple[ServerlessEndpoint, ServerlessEndpoint]:
    """As it was, and as it is. Raises ``StackError``, ``Unavailable``."""
    database = desk.database
    async with audited(desk.log, actor, "endpoints.update", target=name, reason=reason) as action:
        while True:
            endpoint = await existing(database, name)
            new = changed(endpoint, wishes, now_ms())
            await _require_idle(database, endpoint, new)
            if await database.endpoints.store_endpoint(new, endpoint.version):
                action.detail |= {"version": str(new.version), "changed": " ".join(_differing(endpoint, new))}
                return endpoint, new


def _differing(old: ServerlessEndpoint, new: ServerlessEndpoint) -> list[str]:
    """The members, without their values: one is a secret."""
    always = {"version", "updated_at"}
    names = [one.name for one in fields(old) if one.name not in always]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


async def delete(data_dir: Path, name: str, agreed: Callable[[str], None]) -> int:
    """Let nobody use it any more. ``agreed`` is asked with what that means, and raises to stop it."""
    require_endpoint_id(name)
    async with open_desk(data_dir) as desk:
        await existing(desk.database, name)
        agreed(f"Delete the endpoint {name}? {under_way(await active_jobs(desk.database, name))}")
        jobs = await delete_endpoint(desk, at_the_terminal(), name)
    typer.echo(f"Endpoint {name} is deleted. {under_way(jobs)}")
    return 0


async def delete_endpoint(desk: Desk, actor: Actor, name: str, reason: str = "") -> int:
    """How many of its jobs are under way. Raises ``StackError``, ``Unavailable``."""
    database = desk.database
    async with audited(desk.log, actor, "endpoints.delete", target=name, reason=reason):
        while True:
            endpoint, now = await existing(database, name), now_ms()
            gone = replace(endpoint, version=endpoint.version + 1, updated_at=now, deleted_at=now)
            if await database.endpoints.store_endpoint(gone, endpoint.version):
                return await active_jobs(database, name)


async def _require_idle(database: Database, old: ServerlessEndpoint, new: ServerlessEndpoint) -> None:
    """A job stays in the pool that it was sent to; whoever moves the workers would leave it there."""
    if (old.pool, old.kind) == (new.pool, new.kind):
        return
    jobs = await active_jobs(database, old.endpoint_id)
    if jobs:
        raise StackError(
            f"In the pool {old.pool}, {counted(jobs)} under way for {old.endpoint_id}: it can change its pool or its "
            "kind of workers once none is."
        )


async def _warn_of_left(data_dir: Path, old: ServerlessEndpoint, new: ServerlessEndpoint) -> None:
    """Gateways that did not know of the change yet may have sent jobs to where no worker looks any more."""
    await asyncio.sleep(KNOWN_WITHIN_S)
    async with open_database(data_dir) as database:
        jobs = await database.jobs.endpoint_jobs(old.endpoint_id, ACTIVE)
    external = new.kind is EndpointKind.EXTERNAL
    left = [job for job in jobs if job.pool != new.pool or job.external != external]
    if left:
        typer.echo(
            f"Meanwhile {counted(len(left))} under way that went to the pool {old.pool}: keep its workers until they "
            "have ended, or cancel them.",
            err=True,
        )


async def _revoke_worker_keys(database: Database, name: str) -> None:
    for key_hash in await worker_keys(database, name):
        await database.access.revoke_api_key(key_hash, now_ms())


def _tell_signing(wishes: Wishes) -> None:
    if wishes.signing is not None:
        typer.echo(f"{SIGNING_SHOWN_ONCE} {wishes.signing}")


def _tell_doubt(old: ServerlessEndpoint | None, new: ServerlessEndpoint) -> None:
    """Once: not again at each change of something else."""
    words = doubt(new)
    if words is not None and (old is None or doubt(old) != words):
        typer.echo(words, err=True)
