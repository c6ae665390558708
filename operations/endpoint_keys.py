"""``openv endpoints key``: a key for an endpoint's workers, printed once within the environment that they need."""

import secrets
from pathlib import Path

import typer

from gateway.identity.keys import new_key
from operations.audit import at_the_terminal, audited
from operations.desk import desk as open_desk
from operations.endpoint_records import existing, gateway_base, owner_of_worker_keys
from operations.endpoint_wishes import require_endpoint_id
from operations.keys import DAY_MS
from operations.stack.errors import StackError
from operations.worker_environment import as_env_file, as_shell, is_loopback, require_base, worker_environment
from repo.clock import now_ms
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.endpoints import EndpointKind
from schemas.slots import is_pod_id


async def worker_key(
    data_dir: Path, name: str, label: str, url: str | None, pod_id: str | None, expires_days: int | None, *, shell: bool
) -> int:
    """Make the key and print the environment; what a person should know besides goes to stderr."""
    require_endpoint_id(name)
    pod_id = pod_id or f"{name}-{secrets.token_hex(4)}"
    if not is_pod_id(pod_id):
        raise StackError("A pod's id has 1 to 64 letters, digits and - _, and begins with a letter or digit.")
    if url is not None:
        require_base(url)
    now = now_ms()
    async with open_desk(data_dir) as desk:
        database = desk.database
        if (await existing(database, name)).kind is not EndpointKind.EXTERNAL:
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
        detail = {"key": key.prefix, "pod": pod_id}
        async with audited(desk.log, at_the_terminal(), "endpoints.key", target=name, detail=detail):
            await database.access.store_api_key(key)
    base = require_base(url or gateway_base(data_dir))
    variables = worker_environment(base, name, secret, pod_id)
    typer.echo(as_shell(variables) if shell else as_env_file(variables))
    typer.echo("The key in it is shown once. Give each further container a RUNPOD_POD_ID of its own.", err=True)
    if is_loopback(base):
        typer.echo(f"{base} is this machine alone: for a container say --url, or run it with --network host.", err=True)
    return 0
