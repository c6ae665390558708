"""``openv keys``: API keys. The store keeps hashes only, so a key is printed once."""

from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from gateway.keys import new_key
from operations.local import server_environment
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.accounts import Role
from schemas.ids import is_name
from schemas.instants import to_iso


async def create(data_dir: Path, user: str, name: str, role: str) -> int:
    """Make a key for a user and print it."""
    if not is_name(user):
        raise StackError("A user id has 1 to 128 letters, digits and . _ : @ | -, and begins with a letter or digit.")
    if role not in set(Role):
        raise StackError(f"A role is one of {', '.join(Role)}.")
    server_environment(data_dir)
    secret, key = new_key(user, now=now_ms(), name=name, role=Role(role))
    async with MongoDatabase(ServerSettings()) as database:
        await database.prepare()
        await database.access.store_api_key(key)
    typer.echo(secret)
    return 0


async def show(data_dir: Path, user: str, console: Console) -> int:
    """List a user's keys, newest first."""
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        keys = await database.access.api_keys(user)
    table = Table("key", "name", "role", "created", "state")
    for key in sorted(keys, key=lambda one: one.created_at, reverse=True):
        state = "revoked" if key.revoked_at else "active"
        table.add_row(f"{key.prefix}…", key.name, key.role, to_iso(key.created_at), state)
    console.print(table)
    return 0


async def revoke(data_dir: Path, user: str, prefix: str) -> int:
    """Revoke the one key that begins with the prefix."""
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        found = [
            key for key in await database.access.api_keys(user) if key.prefix.startswith(prefix) and not key.revoked_at
        ]
        if len(found) != 1:
            raise StackError(f"{len(found) or 'No'} active keys of {user} begin with {prefix}; name exactly one.")
        await database.access.store_api_key(replace(found[0], revoked_at=now_ms()))
    typer.echo(f"Revoked {found[0].prefix}….")
    return 0
