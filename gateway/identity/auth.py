"""Who the caller is: a key or an identity provider's token, in a header, a socket's first message or a cookie.

A session of the page is a key like any other, held in an HttpOnly cookie. A ticket opens one socket for whoever asked
for it. What the account says of the user limits them all (``gateway/identity/accounts.py``).
"""

import hmac
from collections.abc import Callable
from dataclasses import replace

from starlette.requests import HTTPConnection

from gateway.core.claims import is_token
from gateway.core.origins import cookie_name, is_our_name, may_act
from gateway.errors import Problem, Refused
from gateway.identity.accounts import Accounts
from gateway.identity.clerk import Clerk, has_session
from gateway.identity.keys import hash_of, is_key, is_ticket, new_key
from gateway.identity.principal import Principal, Way
from gateway.identity.stored_keys import StoredKeys
from gateway.settings import GatewaySettings
from repo.access import AccessStore
from schemas.access import ApiKey, KeyKind, Scope

DAY_MS = 86_400_000
_STAND_FOR_A_CALLER = {KeyKind.KEY: Way.KEY, KeyKind.SESSION: Way.SESSION}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Authenticator:
    """One a process."""

    def __init__(
        self,
        store: AccessStore,
        accounts: Accounts,
        settings: GatewaySettings,
        now: Callable[[], int],
        clerk: Clerk | None = None,
    ) -> None:
        self._keys = StoredKeys(store, int(settings.key_cache_seconds * 1000), now)
        self._accounts = accounts
        self._settings = settings
        self._now = now
        self._clerk = clerk
        self.cookie = cookie_name(settings.origin)

    async def by_secret(self, secret: str) -> Principal | None:
        """The caller that this key or token stands for, or None. Raises ``Unavailable`` if that can't be known now."""
        if self._clerk is not None and is_token(secret):
            return await self._clerk.by_token(secret)
        if not is_key(secret):
            return None
        key = await self._lasting(hash_of(secret))
        if key is not None:
            self._keys.used(key)
        return None if key is None else await self._of_key(key)

    async def by_hash(self, key_hash: str) -> Principal | None:
        """As ``by_secret``, for a key that was shown before."""
        key = await self._lasting(key_hash)
        return None if key is None else await self._of_key(key)

    async def is_worker(self, connection: HTTPConnection, endpoint_id: str) -> bool:
        """Whether the request shows a worker's key of this endpoint, raw or as a Bearer. Raises ``Unavailable``."""
        secret = _secret_in(connection.headers.get("authorization", ""))
        key = await self._keys.good(hash_of(secret)) if is_key(secret) else None
        if key is None or key.kind is not KeyKind.WORKER or key.endpoint != endpoint_id:
            return False
        self._keys.used(key)
        return True

    async def by_ticket(self, ticket: str) -> Principal | None:
        """The caller that this ticket was made for, or None; it is used up by this. Raises ``Unavailable``.

        The key it was made with must still be good, and names the caller from then on: a socket ends when it does.
        """
        if not is_ticket(ticket):
            return None
        taken = await self._keys.take(ticket, KeyKind.TICKET)
        if taken is None or (taken.session_expires_at is not None and taken.session_expires_at <= self._now()):
            return None
        maker = await (self._of_key(taken) if taken.parent_hash is None else self.by_hash(taken.parent_hash))
        if maker is None:
            return None
        scopes = maker.scopes & frozenset(taken.scopes)
        ends_at = taken.session_expires_at
        return replace(maker, key_hash=taken.parent_hash, way=Way.TICKET, scopes=scopes, expires_at=ends_at)

    async def new_ticket(self, principal: Principal) -> str:
        """A ticket for this caller, good for one socket in the next ``ticket_seconds``. Raises ``Unavailable``."""
        now = self._now()
        soon = now + self._settings.ticket_seconds * 1000
        ticket, stored = new_key(
            principal.user_id,
            now=now,
            kind=KeyKind.TICKET,
            role=principal.role,
            scopes=tuple(scope for scope in Scope if scope in principal.scopes),
            expires_at=soon if principal.expires_at is None else min(soon, principal.expires_at),
            parent_hash=principal.key_hash,
            session_expires_at=principal.expires_at,
        )
        await self._keys.keep(stored)
        return ticket

    async def of_request(self, connection: HTTPConnection) -> Principal:
        """The caller of an HTTP request. Raises ``Refused``."""
        header = connection.headers.get("authorization")
        if header is not None:
            principal = await self._by_header(header)
        elif connection.scope.get("method") not in SAFE_METHODS and self._is_led_astray(connection):
            raise Refused(Problem.FORBIDDEN_ORIGIN)
        else:
            principal = await self._of_visitor(connection)
        if principal is None:
            raise Refused(Problem.UNAUTHORIZED)
        return principal

    async def of_handshake(self, connection: HTTPConnection) -> Principal | None:
        """The caller of a WebSocket handshake: by header, or by cookie, which counts only from a page of ours."""
        header = connection.headers.get("authorization")
        if header is not None:
            return await self._by_header(header)
        return None if self._is_led_astray(connection) else await self._of_visitor(connection)

    async def _by_header(self, header: str) -> Principal | None:
        return await self.by_secret(_secret_in(header))

    async def open_session(self, token: str) -> str | None:
        """A session key for a one-time token, which is used up by this; None if it is not (or no longer) good."""
        if not is_key(token):
            return None
        link = await self._keys.take(token, KeyKind.PAGE_LINK)
        visitor = None if link is None else await self._of_key(link)
        if visitor is None:
            return None
        now = self._now()
        expires_at = now + int(self._settings.session_days * DAY_MS)
        secret, session = new_key(
            visitor.user_id, now=now, kind=KeyKind.SESSION, role=visitor.role, expires_at=expires_at
        )
        await self._keys.keep(session)
        return secret

    async def _lasting(self, key_hash: str) -> ApiKey | None:
        """The API key or session of this hash, if it counts now."""
        key = await self._keys.good(key_hash)
        if key is None or key.kind not in _STAND_FOR_A_CALLER or not hmac.compare_digest(key.key_hash, key_hash):
            return None
        return key

    async def _of_key(self, key: ApiKey) -> Principal | None:
        """The caller of a good key, as far as its account lets it; a deleted user is nobody."""
        standing = await self._accounts.standing(key.user_id)
        if standing.deleted:
            return None
        way = _STAND_FOR_A_CALLER.get(key.kind, Way.TICKET)
        role = standing.of_key(key)
        return Principal(key.user_id, role, key.key_hash, way, frozenset(key.scopes), key.expires_at)

    async def _of_visitor(self, connection: HTTPConnection) -> Principal | None:
        """The caller by what a browser sends of itself; in test mode, who sends nothing is the fixed user."""
        if self._settings.test_mode and not self._has_cookie(connection) and self._is_our_name(connection):
            return Principal(self._settings.test_user, self._settings.test_role, way=Way.TEST)
        secret = connection.cookies.get(self.cookie)
        visitor = await self.by_secret(secret) if secret else None
        if visitor is None and self._clerk is not None:
            visitor = await self._clerk.by_cookies(connection.cookies)
        return visitor

    def _has_cookie(self, connection: HTTPConnection) -> bool:
        cookies = connection.cookies
        return self.cookie in cookies or (self._clerk is not None and has_session(cookies))

    def _is_led_astray(self, connection: HTTPConnection) -> bool:
        """Whether a page of somebody else's may have sent it with what is not its own: a cookie, or the test mode."""
        if self._has_cookie(connection):
            return not self._from_our_page(connection)
        open_to_all = self._settings.test_mode and "origin" in connection.headers
        return open_to_all and not self._from_our_page(connection)

    def _is_our_name(self, connection: HTTPConnection) -> bool:
        """Else a page whose name was made to lead here would be the test user; a cookie stays with its name."""
        return is_our_name(connection.headers.get("host"), (self._settings.origin, *self._settings.allowed_origins))

    def _from_our_page(self, connection: HTTPConnection) -> bool:
        return may_act(
            connection.headers.get("origin"),
            scheme=connection.scope["scheme"],
            host=connection.headers.get("host"),
            allowed=(self._settings.origin, *self._settings.allowed_origins),
        )


def _secret_in(header: str) -> str:
    """What an ``Authorization`` header shows: a Bearer, or the bare key."""
    scheme, _, rest = header.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else header.strip()
