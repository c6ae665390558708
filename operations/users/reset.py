"""``openv users reset``: the way out for an account whose document nobody can read, and of which no event tells.

The one place where an operator's command deletes an account's document: the ledger, which alone writes accounts, can't
read it, so every command of the user becomes a dead letter. Without it, the ledger begins the user anew: usage and
charges are counted from the jobs' documents, as always; role, limits, credits, a block or a deletion were in the
account alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeGuard, cast

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from operations.audit.recording import Actor, audited
from operations.core.recovery_merge import newest
from operations.core.recovery_table import ACCOUNTS
from operations.desk import Desk
from operations.local import require_user_id
from operations.recovery.events import Span, span, stretches
from operations.stack.errors import StackError
from operations.users.words import clean
from repo.core.documents import DamagedDocumentError, from_document
from repo.mongo import MongoDatabase
from schemas.accounts import Account, Overrides, Role
from schemas.topics import EVENTS

# Members of the document that may be shown, by the words for them: no reasons, codes or prompts.
_SHOWN: Mapping[str, str] = MappingProxyType(
    {"version": "version", "role": "role", "blocked": "blocked", "deletedAt": "deleted"}
)
_COUNTED: Mapping[str, str] = MappingProxyType(
    {"grants": "grants", "vouchers": "vouchers", "pending": "admissions under way"}
)
_LIMITS = tuple(to_camel(one.name) for one in fields(Overrides))
AFTERWARDS = (
    "Role, limits, credits, and whether the user is blocked or deleted, have to be set again; vouchers can be redeemed "
    "again. Usage is counted from the jobs, which stay."
)


@dataclass(frozen=True, slots=True)
class Damaged:
    """The account as it is stored, and ``rows``: what of it can be told."""

    user: str
    document: Mapping[str, Any]
    rows: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Another one, if any member is."""
        text = json.dumps(self.document, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


async def look(desk: Desk, user: str) -> Damaged:
    """What a reset would delete. Raises ``StackError`` where there is nothing to reset, or a better way; and
    ``Unavailable``."""
    require_user_id(user)
    document = (await _database(desk).copies.documents(ACCOUNTS, [user])).get(user)
    if document is None:
        raise StackError(f"There is nothing to reset: no account of {user} is stored.")
    try:
        from_document(Account, document)
    except DamagedDocumentError as error:
        if await _is_announced(desk, user):
            raise StackError(
                f"An event tells of {user}'s account: `openv rebuild` puts it as it was last announced, with role, "
                "limits and credits. Nothing was changed."
            ) from None
        return Damaged(user, document, {"damaged": _places(error), **_told(document)})
    raise StackError(f"The account of {user} can be read, and is not reset: `openv users show {user}`.")


async def reset(desk: Desk, actor: Actor, damaged: Damaged, reason: str = "") -> None:
    """Delete just that document, if it is as it was shown. Raises ``StackError``, ``Unavailable``."""
    detail = dict(damaged.rows)
    async with audited(desk.log, actor, "users.reset", target=damaged.user, reason=clean(reason), detail=detail):
        if not await _database(desk).copies.delete_as(ACCOUNTS, dict(damaged.document)):
            raise StackError(f"Nothing was changed: the document of {damaged.user} is another one now. Look again.")


def _places(error: DamagedDocumentError) -> str:
    """The account's own members that are wrong, and how. What lies deeper may be named by whoever wrote it, as by a
    job's id; so it is left out, and the error's words are not taken apart, in which such a name may look like ours."""
    cause = error.__context__
    wrong = cause.errors() if isinstance(cause, ValidationError) else []
    return "; ".join(sorted({f"{one['loc'][0]}: {one['type']}" for one in wrong if one["loc"][:1]})) or "it"


def _told(document: Mapping[str, Any]) -> dict[str, str]:
    rows = {words: _plain(name, document[name]) for name, words in _SHOWN.items() if document.get(name) is not None}
    overrides = document.get("overrides")
    if isinstance(overrides, Mapping):
        own = [f"{name} {overrides[name]:g}" for name in _LIMITS if _is_number(overrides.get(name))]
        rows |= {"own limits": ", ".join(own)} if own else {}
    for name, words in _COUNTED.items():
        held = document.get(name)
        rows |= {words: str(len(held))} if isinstance(held, list | Mapping) and held else {}
    grants = document.get("grants")
    credited = [one.get("credits") for one in grants if isinstance(one, Mapping)] if isinstance(grants, list) else []
    if granted := [float(one) for one in credited if _is_number(one)]:
        rows["credits granted"] = f"{sum(granted):g}"
    return rows


def _plain(name: str, value: Any) -> str:
    """The value, where it is one of those that the member may have: anything else may be what nobody should read, and
    this is kept in the audit. Then only what kind of thing stands there."""
    match name, value:
        case ("version", int()) | ("blocked", bool()) | ("deletedAt", datetime()):
            return str(value) if not (name == "version" and isinstance(value, bool)) else _kind(value)
        case "role", str() if value in set(Role):
            return value
    return _kind(value)


def _kind(value: Any) -> str:
    known = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "members"}
    return known.get(type(value), type(value).__name__)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


async def _is_announced(desk: Desk, user: str) -> bool:
    """Whether a kept event tells of the account: those of one user are in one partition."""
    of = await span(desk.log, EVENTS.name, None)
    own = desk.log.partition_of(EVENTS.name, user.encode())
    async for records in stretches(desk.log, EVENTS.name, Span({own: of.first[own]}, {own: of.end[own]}, 0)):
        if any((one.collection, one.document_id) == (ACCOUNTS, user) for one in newest(records).newest):
            return True
    return False


def _database(desk: Desk) -> MongoDatabase:
    return cast("MongoDatabase", desk.database)
