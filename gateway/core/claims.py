"""What a session token of Clerk's must say to be believed, after its signature was found good.

As Clerk's page on manual verification has it, and stricter where a token could be meant for somebody else: only a
session's token counts (``sid``; tokens of templates, machines and OAuth clients, which the same key signs, have none or
name an audience), and not one of a session that still has to be completed (``sts``). A token without ``azp`` is taken,
as Clerk does: it leaves the member out where the browser sent no ``Origin``.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from schemas.ids import is_name

TOKEN_MAX = 8192
KID_MAX = 256
ALGORITHM = "RS256"
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Doubt(StrEnum):
    """Why a token whose signature is good is refused all the same."""

    ISSUER = "iss is not OPENV_CLERK_ISSUER"
    PARTY = "azp is none of OPENV_CLERK_AUTHORIZED_PARTIES"
    AUDIENCE = "it names an audience, so it is meant for somebody else"
    SESSION = "it is no token of a session"
    PENDING = "its session is not complete yet"
    SUBJECT = "sub is no user id that can be used here"
    TIMES = "its times are missing or no numbers"
    EXPIRED = "it has expired"
    EARLY = "it is not good yet: is this machine's clock right?"


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose tokens are believed, for which pages, and how far clocks may differ (ms)."""

    issuer: str
    parties: frozenset[str]
    skew_ms: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says: who, and from when to when (ms)."""

    user_id: str
    issued_at: int
    expires_at: int


def is_token(text: str) -> bool:
    """Whether the text has the form of a signed JWT: no API key has."""
    return len(text) <= TOKEN_MAX and _FORM.fullmatch(text) is not None


def unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Header and claims as anyone could have written them: enough to see which key to ask for, and whether to ask."""
    try:
        header, claims = (orjson.loads(_decoded(part)) for part in token.split(".")[:2])
    except ValueError:
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def key_id(header: Mapping[str, Any]) -> str | None:
    """The id of the key that a token says it was signed with; None for a header that no session token has.

    Nothing else of the header is followed: keys and addresses of keys in it are a stranger's word.
    """
    kid, kind = header.get("kid"), header.get("typ", "JWT")
    if header.get("alg") != ALGORITHM or "crit" in header or not isinstance(kind, str) or kind.upper() != "JWT":
        return None
    return kid if isinstance(kid, str) and 0 < len(kid) <= KID_MAX else None


def judge(claims: Mapping[str, Any], expected: Expected, now: int) -> Claims | Doubt:
    """Whether to believe the claims of a token whose signature is good. ``now`` in ms."""
    user_id, session = claims.get("sub"), claims.get("sid")
    doubts = {
        Doubt.ISSUER: claims.get("iss") != expected.issuer,
        Doubt.AUDIENCE: "aud" in claims,
        Doubt.SESSION: not isinstance(session, str) or not session,
        Doubt.PARTY: not _is_party(claims.get("azp"), expected),
        Doubt.PENDING: claims.get("sts") == "pending",
        Doubt.SUBJECT: not isinstance(user_id, str) or not is_name(user_id),
    }
    doubt = next((doubt for doubt, holds in doubts.items() if holds), None)
    return doubt or _judge_times(str(user_id), claims, expected.skew_ms, now)


def _is_party(party: Any, expected: Expected) -> bool:
    return party is None or (isinstance(party, str) and party in expected.parties)


def _judge_times(user_id: str, claims: Mapping[str, Any], skew_ms: int, now: int) -> Claims | Doubt:
    expires_at, issued_at = _instant(claims.get("exp")), _instant(claims.get("iat"))
    not_before = _instant(claims.get("nbf", claims.get("iat")))
    if expires_at is None or issued_at is None or not_before is None:
        return Doubt.TIMES
    if now >= expires_at + skew_ms:
        return Doubt.EXPIRED
    if now < max(not_before, issued_at) - skew_ms:
        return Doubt.EARLY
    return Claims(user_id, issued_at, expires_at)


def _instant(seconds: Any) -> int | None:
    """A NumericDate (RFC 7519) in ms."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e12:
        return None
    return int(seconds * 1000)
