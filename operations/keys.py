"""``openv keys``: API keys and the page's sessions. The store keeps hashes only, so a key is printed once."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from gateway.identity.keys import PREFIX_LENGTH, hash_of, new_key
from gateway.settings import GatewaySettings
from operations.audit.recording import Actor, at_the_terminal, audited
from operations.core.columns import Column
from operations.core.printable import printable
from operations.desk import Desk
from operations.desk import desk as open_desk
from operations.local import require_user_id, running_stack, server_environment
from operations.prepare import one_time_token
from operations.stack.errors import StackError
from operations.tables import Cell, print_rows
from repo.access import DamagedKey
from repo.clock import now_ms
from repo.database import Database
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.access import ALL_SCOPES, ONE_TIME, OWN_SCOPES, ApiKey, Scope
from schemas.accounts import Role
from schemas.instants import to_datetime
from schemas.shape import to_plain

DAY_MS = 86_400_000
LABEL_MAX = 100
_KEYS = (
    Column("key"),
    Column("kind", 4),
    Column("name", 2, folds=10),
    Column("role", 3),
    Column("scopes", 6, folds=11),
    Column("created", 7),
    Column("last used", 1),
    Column("expires", 5),
    Column("state"),
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be. No scopes named: all that the role may have; no days: for ever.

    Raises ``StackError`` for what is none.
    """

    user: str
    name: str = ""
    role: str = Role.USER
    scopes: Sequence[str] = ()
    expires_days: int | None = None

    def __post_init__(self) -> None:
        require_user_id(self.user)
        require_label(self.name)
        if self.role not in set(Role):
            raise StackError(f"A role is one of {', '.join(Role)}.")
        if not set(self.scopes) <= set(Scope):
            raise StackError(f"A scope is one of {', '.join(Scope)}.")
        if Scope.ADMIN in self.scopes and self.role != Role.ADMIN:
            raise StackError(
                "The scope admin counts only for the role admin: add --role admin, or leave the scope out."
            )


def require_label(name: str) -> None:
    """Raises ``StackError`` for what can't be shown as what a key is for."""
    if len(name) > LABEL_MAX or (name and not name.isprintable()):
        raise StackError(f"What a key is for has at most {LABEL_MAX} characters, in one line.")


async def make_key(desk: Desk, actor: Actor, wanted: NewKey, reason: str = "") -> tuple[str, ApiKey]:
    """The secret, which is nowhere else, and what is stored of it. Raises ``Unavailable``."""
    now = now_ms()
    possible = ALL_SCOPES if wanted.role == Role.ADMIN else OWN_SCOPES
    secret, key = new_key(
        wanted.user,
        now=now,
        name=wanted.name,
        role=Role(wanted.role),
        scopes=tuple(scope for scope in possible if scope in wanted.scopes) or possible,
        expires_at=None if wanted.expires_days is None else now + wanted.expires_days * DAY_MS,
    )
    detail = {"key": key.prefix, "role": str(key.role), "scopes": " ".join(key.scopes)}
    async with audited(desk.log, actor, "keys.create", target=wanted.user, reason=reason, detail=detail):
        await desk.database.prepare()
        await desk.database.access.store_api_key(key)
    return secret, key


async def revoke_key(desk: Desk, actor: Actor, user: str, words: str, reason: str = "") -> ApiKey | DamagedKey:
    """Revoke the one active key or session that begins so, or is this one; where none that can be read does, the one
    damaged key, whose document is deleted: mended, it would be good again. Raises ``StackError``, ``Unavailable``."""
    active = [key for key in await lasting_keys(desk.database, user) if key.revoked_at is None]
    found = [key for key in active if _is_named(key, words.rstrip("…"))]
    if not found:
        damaged = [key for key in await desk.database.access.damaged_keys(user) if _names(key, words.rstrip("…"))]
        if len(damaged) == 1:
            return await _drop(desk, actor, user, damaged[0], reason)
    if len(found) != 1:
        raise StackError(
            f"{len(found) or 'No'} active keys of {user} begin with {words[:PREFIX_LENGTH]}; name exactly one, "
            f"by its first {PREFIX_LENGTH} characters or whole."
        )
    (key,) = found
    detail = {"key": key.prefix, "kind": str(key.kind)}
    async with audited(desk.log, actor, "keys.revoke", target=user, reason=reason, detail=detail):
        if not await desk.database.access.revoke_api_key(key.key_hash, now_ms()):
            raise StackError(f"{key.prefix}… was revoked by somebody else just now.")
    return key


async def _drop(desk: Desk, actor: Actor, user: str, key: DamagedKey, reason: str) -> DamagedKey:
    detail = {"key": key.name, "damaged": key.places}
    async with audited(desk.log, actor, "keys.revoke", target=user, reason=reason, detail=detail):
        await desk.database.access.drop_damaged_key(key)
    return key


async def create(
    data_dir: Path, user: str, name: str, role: str, scopes: Sequence[str] = (), expires_days: int | None = None
) -> int:
    """Make a key for a user and print it."""
    wanted = NewKey(user, name, role, scopes, expires_days)
    async with open_desk(data_dir) as desk:
        secret, _ = await make_key(desk, at_the_terminal(), wanted)
    typer.echo(secret)
    return 0


async def link(data_dir: Path, user: str) -> int:
    """Print a link that opens the page once, for this user."""
    require_user_id(user)
    async with open_desk(data_dir) as desk:
        address = (running_stack(data_dir) or {}).get("url") or GatewaySettings().origin
        async with audited(desk.log, at_the_terminal(), "keys.link", target=user):
            token = await one_time_token(user)
    typer.echo(f"{address}/?token={token}")
    return 0


async def show(data_dir: Path, user: str, console: Console, *, as_json: bool = False) -> int:
    """List a user's API keys and sessions, newest first; what is good for one use is neither."""
    server_environment(data_dir)
    async with MongoDatabase(ServerSettings()) as database:
        keys, damaged = await lasting_keys(database, user), await database.access.damaged_keys(user)
    now = now_ms()
    _tell_damaged(user, damaged)
    if as_json:
        typer.echo(json.dumps([_plain(key, now) for key in reversed(keys)], indent=2))
        return 0
    print_rows(console, _KEYS, [_row(key, now) for key in reversed(keys)])
    return 0


def _tell_damaged(user: str, damaged: Sequence[DamagedKey]) -> None:
    """Beside the list, which leaves them out."""
    for key in damaged:
        words = f"Left out: {shown(key)}, whose document is damaged ({key.places}). It opens nothing while it is so; "
        typer.echo(printable(f"{words}`openv keys revoke --user {user} {key.name}` deletes it."), err=True)


def shown(key: ApiKey | DamagedKey) -> str:
    """As a person recognises it: by its beginning, or, of a damaged one that has none, by its document's id."""
    if isinstance(key, ApiKey):
        return f"{key.prefix}…"
    return f"{key.name}…" if len(key.name) == PREFIX_LENGTH else key.name


def _row(key: ApiKey, now: int) -> tuple[Cell, ...]:
    times = (_minute(at) for at in (key.created_at, key.last_used_at, key.expires_at))
    return f"{key.prefix}…", key.kind, key.name, key.role, ", ".join(key.scopes), *times, state_of(key, now)


def _plain(key: ApiKey, now: int) -> dict[str, Any]:
    """Without the hash that stands for the secret."""
    bare = {name: value for name, value in to_plain(key).items() if name != "keyHash"}
    return bare | {"state": state_of(key, now)}


async def revoke(data_dir: Path, user: str, prefix: str) -> int:
    """Revoke the one key or session that begins with the prefix, which may be the whole key."""
    async with open_desk(data_dir) as desk:
        key = await revoke_key(desk, at_the_terminal(), user, prefix)
    typer.echo(printable(f"Revoked {shown(key)}."))
    return 0


def _is_named(key: ApiKey, words: str) -> bool:
    """Of a key only its beginning is kept, and its hash."""
    if len(words) <= PREFIX_LENGTH:
        return key.prefix.startswith(words)
    return hmac.compare_digest(key.key_hash, hash_of(words))


def _names(key: DamagedKey, words: str) -> bool:
    """By its beginning, its document's id, or whole."""
    if len(words) <= PREFIX_LENGTH:
        return key.name.startswith(words)
    return key.name == words or key.document_id == hash_of(words)


async def lasting_keys(database: Database, user: str) -> list[ApiKey]:
    """Keys and sessions, oldest first; what is good for one use is neither. Raises ``Unavailable``."""
    return [key for key in await database.access.api_keys(user) if key.kind not in ONE_TIME]


def state_of(key: ApiKey, now: int) -> str:
    """``active``, ``revoked`` or ``expired``."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _minute(at: int | None) -> str:
    return "never" if at is None else f"{to_datetime(at):%Y-%m-%d %H:%M}"
