"""``openv users reset``: the way out for an account whose document nobody can read, and of which no event tells.

The one place where an operator's command deletes an account's document: the ledger, which alone writes accounts, can't
read it, so every command of the user becomes a dead letter. Without it, the ledger begins the user anew: usage and
charges are counted from the jobs' documents, as always; role, limits, credits, a block or a deletion were in the
account alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

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
from schemas.accounts import Account
from schemas.topics import EVENTS

# Members of the document that may be shown, by the words for them: no reasons, codes or prompts.
_SHOWN: Mapping[str, str] = MappingProxyType(
    {"version": "version", "role": "role", "blocked": "blocked", "deletedAt": "deleted"}
)
_COUNTED: Mapping[str, str] = MappingProxyType(
    {"grants": "grants", "vouchers": "vouchers", "pending": "admissions under way"}
)
_LONGEST, _MOST = 60, 20
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
        places = str(error).rpartition(f"{user!r}: ")[2]
        return Damaged(user, document, {"damaged": places, **_told(document)})
    raise StackError(f"The account of {user} can be read, and is not reset: `openv users show {user}`.")


async def reset(desk: Desk, actor: Actor, damaged: Damaged, reason: str = "") -> None:
    """Delete just that document, if it is as it was shown. Raises ``StackError``, ``Unavailable``."""
    detail = dict(damaged.rows)
    async with audited(desk.log, actor, "users.reset", target=damaged.user, reason=clean(reason), detail=detail):
        if not await _database(desk).copies.delete_as(ACCOUNTS, dict(damaged.document)):
            raise StackError(f"Nothing was changed: the document of {damaged.user} is another one now. Look again.")


def _told(document: Mapping[str, Any]) -> dict[str, str]:
    rows = {words: _plain(document[name]) for name, words in _SHOWN.items() if document.get(name) is not None}
    overrides = document.get("overrides")
    if isinstance(overrides, Mapping):
        own = [f"{_plain(name)} {value:g}" for name, value in overrides.items() if isinstance(value, int | float)]
        rows |= {"own limits": ", ".join(own[:_MOST])} if own else {}
    for name, words in _COUNTED.items():
        held = document.get(name)
        rows |= {words: str(len(held))} if isinstance(held, list | Mapping) and held else {}
    grants = document.get("grants")
    credited = [one.get("credits") for one in grants if isinstance(one, Mapping)] if isinstance(grants, list) else []
    if granted := [one for one in credited if isinstance(one, int | float)]:
        rows["credits granted"] = f"{sum(granted):g}"
    return rows


def _plain(value: Any) -> str:
    """A short value of its kind; of what is nested, only that it is."""
    return type(value).__name__ if isinstance(value, list | Mapping) else clean(str(value))[:_LONGEST]


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
