"""API keys: how one is made, what is stored of it. The secret itself exists only in the answer that shows it once."""

import re
import secrets
from hashlib import sha256

from schemas.access import ALL_SCOPES, ApiKey, KeyKind, Scope
from schemas.accounts import Role

KEY = "ov_"
TICKET = "ovt_"
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
PREFIX_LENGTH = 9


def is_key(text: str) -> bool:
    """Whether the text has the form of a key: ``ov_`` and 43 characters (256 bits) of base64url."""
    return text.startswith(KEY) and _FORM.fullmatch(text, len(KEY)) is not None


def is_ticket(text: str) -> bool:
    """Whether the text has the form of a socket's ticket: ``ovt_`` and 43 characters. No ticket looks like a key."""
    return text.startswith(TICKET) and _FORM.fullmatch(text, len(TICKET)) is not None


def hash_of(secret: str) -> str:
    """The SHA-256 in hex under which a key is stored. A fast hash is right: the key has 256 bits of chance."""
    return sha256(secret.encode()).hexdigest()


def new_key(
    user_id: str,
    *,
    now: int,
    name: str = "",
    role: Role = Role.USER,
    expires_at: int | None = None,
    kind: KeyKind = KeyKind.KEY,
    scopes: tuple[Scope, ...] = ALL_SCOPES,
    parent_hash: str | None = None,
    session_expires_at: int | None = None,
    endpoint: str | None = None,
) -> tuple[str, ApiKey]:
    """A fresh secret and what to store of it. Only those of kind ``KEY`` are API keys.

    ``endpoint``: the serverless endpoint whose jobs a worker's key opens.
    """
    secret = f"{TICKET if kind is KeyKind.TICKET else KEY}{secrets.token_urlsafe(32)}"
    return secret, ApiKey(
        key_hash=hash_of(secret),
        prefix=secret[:PREFIX_LENGTH],
        user_id=user_id,
        role=role,
        name=name,
        created_at=now,
        expires_at=expires_at,
        kind=kind,
        scopes=scopes,
        parent_hash=parent_hash,
        session_expires_at=session_expires_at,
        endpoint=endpoint,
    )
