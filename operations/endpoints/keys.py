"""``openv endpoints key``: a key for an endpoint's workers, printed once within the environment that they need."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import typer

from gateway.identity.keys import new_key
from operations.audit.recording import Actor, at_the_terminal, audited
from operations.desk import Desk
from operations.desk import desk as open_desk
from operations.endpoints.records import existing, gateway_base, owner_of_worker_keys
from operations.endpoints.wishes import require_endpoint_id
from operations.keys import DAY_MS, require_label
from operations.stack.errors import StackError
from operations.worker_environment import as_env_file, as_shell, is_loopback, require_base, worker_environment
from repo.clock import now_ms
from schemas.access import ApiKey, KeyKind
from schemas.accounts import Role
from schemas.endpoints import EndpointKind
from schemas.slots import is_pod_id


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorkerKey:
    """What is asked for. ``url``: where the worker reaches the gateway; no days: for ever. Raises ``StackError`` for
    what can't be."""

    endpoint_id: str
    url: str
    label: str = ""
    pod_id: str | None = None
    expires_days: int | None = None

    def __post_init__(self) -> None:
        require_endpoint_id(self.endpoint_id)
        require_base(self.url)
        require_label(self.label)
        if self.pod_id is not None and not is_pod_id(self.pod_id):
            raise StackError("A pod's id has 1 to 64 letters, digits and - _, and begins with a letter or digit.")


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """What is stored, and the environment of a worker, in which the secret is: it is nowhere else."""

    stored: ApiKey
    environment: Mapping[str, str] = field(repr=False)


async def make_worker_key(desk: Desk, actor: Actor, wanted: NewWorkerKey, reason: str = "") -> WorkerKey:
    """Make a key for the workers of an endpoint. Raises ``StackError``, ``Unavailable``."""
    name, database = wanted.endpoint_id, desk.database
    pod_id = wanted.pod_id or f"{name}-{secrets.token_hex(4)}"
    if (await existing(database, name)).kind is not EndpointKind.EXTERNAL:
        raise StackError(
            f"The workers of {name} are ours (`openv worker`) and need no key. "
            "`openv endpoints create NAME --external` makes an endpoint for others."
        )
    now = now_ms()
    secret, key = new_key(
        owner_of_worker_keys(name),
        now=now,
        name=wanted.label,
        role=Role.RESTRICTED,
        scopes=(),
        kind=KeyKind.WORKER,
        endpoint=name,
        expires_at=None if wanted.expires_days is None else now + wanted.expires_days * DAY_MS,
    )
    detail = {"key": key.prefix, "pod": pod_id}
    async with audited(desk.log, actor, "endpoints.key", target=name, reason=reason, detail=detail):
        await database.prepare()
        await database.access.store_api_key(key)
    return WorkerKey(key, worker_environment(require_base(wanted.url), name, secret, pod_id))


async def worker_key(
    data_dir: Path, name: str, label: str, url: str | None, pod_id: str | None, expires_days: int | None, *, shell: bool
) -> int:
    """Make the key and print the environment; what a person should know besides goes to stderr."""
    require_endpoint_id(name)
    base = require_base(gateway_base(data_dir) if url is None else url)
    wanted = NewWorkerKey(endpoint_id=name, url=base, label=label, pod_id=pod_id, expires_days=expires_days)
    async with open_desk(data_dir) as desk:
        made = await make_worker_key(desk, at_the_terminal(), wanted)
    variables = made.environment
    typer.echo(as_shell(variables) if shell else as_env_file(variables))
    typer.echo("The key in it is shown once. Give each further container a RUNPOD_POD_ID of its own.", err=True)
    if is_loopback(base):
        typer.echo(f"{base} is this machine alone: for a container say --url, or run it with --network host.", err=True)
    return 0
