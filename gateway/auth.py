"""Who the caller is: an API key in a header or in a socket's first message, or the page's session cookie.

A session is a key like any other, held in an HttpOnly cookie. Keys are looked up by their SHA-256 and remembered for a
few seconds, so that a revoked one is refused within half a minute everywhere; while the store does not answer, a key
that was good less than ``STALE_MS`` ago still is.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import HTTPConnection

from gateway.core.origins import cookie_name, may_act
from gateway.errors import Problem, Refused
from gateway.keys import hash_of, is_key, new_key
from gateway.principal import Principal, Way
from gateway.settings import GatewaySettings
from repo.access import AccessStore
from repo.ports import Unavailable
from schemas.access import ApiKey, KeyKind

STALE_MS = 30_000
REMEMBERED_MAX = 10_000
DAY_MS = 86_400_000
_STAND_FOR_A_CALLER = {KeyKind.KEY: Way.KEY, KeyKind.SESSION: Way.SESSION}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Authenticator:
    """One a process."""

    def __init__(self, store: AccessStore, settings: GatewaySettings, now: Callable[[], int]) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._fresh_ms = int(settings.key_cache_seconds * 1000)
        self._remembered: OrderedDict[str, tuple[ApiKey, int]] = OrderedDict()
        self.cookie = cookie_name(settings.origin)

    async def by_secret(self, secret: str) -> Principal | None:
        """The caller that this key stands for, or None. Raises ``Unavailable`` if that can't be known now."""
        return await self.by_hash(hash_of(secret)) if is_key(secret) else None

    async def by_hash(self, key_hash: str) -> Principal | None:
        """As ``by_secret``, for a key that was shown before."""
        key = await self._look_up(key_hash)
        if key is None or key.kind not in _STAND_FOR_A_CALLER or not hmac.compare_digest(key.key_hash, key_hash):
            return None
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= self._now()):
            return None
        return Principal(key.user_id, key.role, key.key_hash, _STAND_FOR_A_CALLER[key.kind], frozenset(key.scopes))

    async def of_request(self, connection: HTTPConnection) -> Principal:
        """The caller of an HTTP request. Raises ``Refused``."""
        header = connection.headers.get("authorization")
        if header is not None:
            scheme, _, rest = header.strip().partition(" ")
            principal = await self.by_secret(rest.strip() if scheme.lower() == "bearer" else header.strip())
        elif connection.scope.get("method") in SAFE_METHODS:
            principal = await self._of_cookie(connection)
        elif self.cookie in connection.cookies and not self._from_our_page(connection):
            raise Refused(Problem.FORBIDDEN_ORIGIN)
        else:
            principal = await self._of_cookie(connection)
        if principal is None:
            raise Refused(Problem.UNAUTHORIZED)
        return principal

    async def of_handshake(self, connection: HTTPConnection) -> Principal | None:
        """The caller of a WebSocket handshake by its cookie, which counts only from a page of ours."""
        return await self._of_cookie(connection) if self._from_our_page(connection) else None

    async def open_session(self, token: str) -> str | None:
        """A session key for a one-time token, which is used up by this; None if it is not (or no longer) good."""
        if not is_key(token):
            return None
        key = await self._store.consume_one_time_key(hash_of(token))
        now = self._now()
        if key is None or key.kind is not KeyKind.PAGE_LINK or key.revoked_at is not None:
            return None
        if key.expires_at is not None and key.expires_at <= now:
            return None
        expires_at = now + int(self._settings.session_days * DAY_MS)
        secret, session = new_key(key.user_id, now=now, kind=KeyKind.SESSION, role=key.role, expires_at=expires_at)
        await self._store.store_api_key(session)
        return secret

    async def _of_cookie(self, connection: HTTPConnection) -> Principal | None:
        secret = connection.cookies.get(self.cookie)
        return await self.by_secret(secret) if secret else None

    def _from_our_page(self, connection: HTTPConnection) -> bool:
        return may_act(
            connection.headers.get("origin"),
            scheme=connection.scope["scheme"],
            host=connection.headers.get("host"),
            allowed=(self._settings.origin, *self._settings.allowed_origins),
        )

    async def _look_up(self, key_hash: str) -> ApiKey | None:
        known = self._remembered.get(key_hash)
        asked_at = self._now()
        if known is not None and asked_at - known[1] < self._fresh_ms:
            return known[0]
        try:
            key = await self._store.api_key(key_hash)
        except Unavailable:
            if known is not None and asked_at - known[1] < STALE_MS:
                return known[0]
            raise
        if key is None:
            self._remembered.pop(key_hash, None)
            return None
        self._remembered[key_hash] = (key, asked_at)
        self._remembered.move_to_end(key_hash)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return key
