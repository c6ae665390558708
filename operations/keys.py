"""``openv keys``: API keys and the page's sessions. The store keeps hashes only, so a key is printed once."""

import hmac
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from gateway.identity.keys import PREFIX_LENGTH, hash_of, new_key
from gateway.settings import GatewaySettings
from operations.local import require_user_id, running_stack, server_environment
from operations.prepare import one_time_token
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.access import ALL_SCOPES, ONE_TIME, ApiKey, Scope
from schemas.accounts import Role
from schemas.instants import to_datetime

DAY_MS = 86_400_000
WIDE = 200


async def create(
    data_dir: Path, user: str, name: str, role: str, scopes: Sequence[str] = (), expires_days: int | None = None
) -> int:
    """Make a key for a user and print it. No scopes named: all of them; no days: for ever."""
    require_user_id(user)
    if role not in set(Role):
        raise StackError(f"A role is one of {', '.join(Role)}.")
    if not set(scopes) <= set(Scope):
        raise StackError(f"A scope is one of {', '.join(Scope)}.")
    asked = tuple(scope for scope in ALL_SCOPES if scope in scopes) or ALL_SCOPES
    if Scope.ADMIN in scopes and role != Role.ADMIN:
        raise StackError("The scope admin counts only for the role admin: add --role admin, or leave the scope out.")
    now = now_ms()
    expires_at = None if expires_days is None else now + expires_days * DAY_MS
    server_environment(data_dir)
    secret, key = new_key(user, now=now, name=name, role=Role(role), scopes=asked, expires_at=expires_at)
    async with MongoDatabase(ServerSettings()) as database:
        await database.prepare()
        await database.access.store_api_key(key)
    typer.echo(secret)
    return 0


async def link(data_dir: Path, user: str) -> int:
    """Print a link that opens the page once, for this user."""
    require_user_id(user)
    server_environment(data_dir)
    address = (running_stack(data_dir) or {}).get("url") or GatewaySettings().origin
    typer.echo(f"{address}/?token={await one_time_token(user)}")
    return 0


async def show(data_dir: Path, user: str, console: Console) -> int:
    """List a user's API keys and sessions, newest first; what is good for one use is neither."""
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        keys = await _lasting_keys(database, user)
    now = now_ms()
    table = Table("key", "kind", "name", "role", "scopes", "created", "last used", "expires", "state")
    for key in reversed(keys):
        times = (_minute(at) for at in (key.created_at, key.last_used_at, key.expires_at))
        table.add_row(f"{key.prefix}…", key.kind, key.name, key.role, ", ".join(key.scopes), *times, _state(key, now))
    if not console.is_terminal:
        console.width = max(console.width, WIDE)  # else what reads it gets names and dates cut to 80 columns
    console.print(table)
    return 0


async def revoke(data_dir: Path, user: str, prefix: str) -> int:
    """Revoke the one key or session that begins with the prefix, which may be the whole key."""
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        active = [key for key in await _lasting_keys(database, user) if key.revoked_at is None]
        found = [key for key in active if _is_named(key, prefix.rstrip("…"))]
        if len(found) != 1:
            raise StackError(
                f"{len(found) or 'No'} active keys of {user} begin with {prefix[:PREFIX_LENGTH]}; name exactly one, "
                f"by its first {PREFIX_LENGTH} characters or whole."
            )
        if not await database.access.revoke_api_key(found[0].key_hash, now_ms()):
            raise StackError(f"{found[0].prefix}… was revoked by somebody else just now.")
    typer.echo(f"Revoked {found[0].prefix}….")
    return 0


def _is_named(key: ApiKey, words: str) -> bool:
    """Of a key only its beginning is kept, and its hash."""
    if len(words) <= PREFIX_LENGTH:
        return key.prefix.startswith(words)
    return hmac.compare_digest(key.key_hash, hash_of(words))


async def _lasting_keys(database: MongoDatabase, user: str) -> list[ApiKey]:
    """Oldest first."""
    return [key for key in await database.access.api_keys(user) if key.kind not in ONE_TIME]


def _state(key: ApiKey, now: int) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _minute(at: int | None) -> str:
    return "never" if at is None else f"{to_datetime(at):%Y-%m-%d %H:%M}"
