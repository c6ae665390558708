"""Clerk's session tokens: from a token to the caller that it stands for."""

from collections.abc import Callable, Mapping
from itertools import islice

import jwt
import structlog

from gateway.core.claims import ALGORITHM, Claims, Doubt, Expected, is_token, judge, key_id, unverified
from gateway.identity.accounts import Accounts
from gateway.identity.jwks import Keys
from gateway.identity.principal import Principal, Way
from gateway.settings import GatewaySettings
from repo.ports import Unavailable

COOKIE = "__session"  # or with a suffix, where several applications of Clerk's live on one host
COOKIES_MAX = 4
_SIGNATURE_ONLY = dict.fromkeys(
    ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
)
logger = structlog.get_logger()


class Clerk:
    """One issuer's tokens. ``now`` is the clock, milliseconds since the epoch."""

    def __init__(self, keys: Keys, accounts: Accounts, expected: Expected, now: Callable[[], int]) -> None:
        self.keys = keys
        self._accounts = accounts
        self._expected = expected
        self._now = now

    async def by_token(self, token: str) -> Principal | None:
        """The caller, or None for a token that is not good. Raises ``Unavailable`` if that can't be told now."""
        return await self._principal(_noted(await self._claims(token), Doubt.EXPIRED))

    async def by_cookies(self, cookies: Mapping[str, str]) -> Principal | None:
        """As ``by_token``, for what a browser sends. Of several good ones the newest counts, as with Clerk."""
        good: list[Claims] = []
        absent: Unavailable | None = None
        for token in tokens_in(cookies):
            try:
                claims = _noted(await self._claims(token), Doubt.EXPIRED, Doubt.ISSUER)
            except Unavailable as failure:  # it may be of another application; one that is good counts all the same
                absent = failure
            else:
                good += [claims] if claims is not None else []
        if absent is not None and not good:
            raise absent
        return await self._principal(max(good, key=lambda claims: claims.issued_at, default=None))

    async def _principal(self, claims: Claims | None) -> Principal | None:
        if claims is None:
            return None
        standing = await self._accounts.standing(claims.user_id)
        if standing.deleted:
            return None
        return Principal(claims.user_id, standing.of_identity(), way=Way.IDENTITY, expires_at=claims.expires_at)

    async def _claims(self, token: str) -> Claims | Doubt | None:
        seen = unverified(token) if is_token(token) else None
        kid = key_id(seen[0]) if seen is not None else None
        if seen is None or kid is None:
            return None
        if seen[1].get("iss") != self._expected.issuer:  # such as other applications leave in cookies: ask for no key
            return Doubt.ISSUER
        key = await self.keys.key(kid)
        if key is None:
            return None
        try:
            told = jwt.decode(token, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        return judge(told, self._expected, self._now())


def _noted(claims: Claims | Doubt | None, *everyday: Doubt) -> Claims | None:
    """Doubts are told to the operator, who may have to mend something, but for those that happen to everyone."""
    if not isinstance(claims, Doubt):
        return claims
    if claims not in everyday:
        logger.warning("token_refused", reason=claims.value)
    return None


def clerk_of(settings: GatewaySettings, accounts: Accounts, now: Callable[[], int]) -> Clerk | None:
    """As the settings say; None where Clerk is off. Fetches nothing yet."""
    if settings.clerk_issuer is None or settings.jwks_url is None:
        return None
    parties = settings.clerk_authorized_parties or (settings.origin, *settings.allowed_origins)
    expected = Expected(settings.clerk_issuer, frozenset(parties), int(settings.clerk_skew_seconds * 1000))
    keys = Keys(settings.jwks_url, cooldown_s=settings.clerk_cooldown_seconds)
    return Clerk(keys, accounts, expected, now)


def has_session(cookies: Mapping[str, str]) -> bool:
    """Whether a browser sends a cookie of Clerk's with something in it."""
    return any(cookies[name] for name in cookies if _is_ours(name))


def tokens_in(cookies: Mapping[str, str]) -> list[str]:
    """The cookies that may hold a session token of Clerk's: the first few, whoever set them."""
    found = (value for name, value in cookies.items() if _is_ours(name) and is_token(value))
    return list(islice(found, COOKIES_MAX))


def _is_ours(name: str) -> bool:
    return name == COOKIE or name.startswith(f"{COOKIE}_")
