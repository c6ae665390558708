"""Who may come in: whoever shows an API key of an admin, with the scope admin, as a Bearer. No cookies, no tokens.

Key and account are read anew for each request: a key that was revoked, or an admin who was blocked, is nobody from then
on. While MongoDB is away nobody can be known, and everything is answered 503.
"""

import math
from collections.abc import Callable

from starlette.requests import Request

from gateway.core.addresses import place_of
from gateway.core.recent import Recent
from gateway.identity.accounts import Accounts, Standing
from gateway.identity.keys import hash_of, is_key
from gateway.identity.principal import Principal
from gateway.identity.stored_keys import StoredKeys
from operations.admin.refusals import Problem, Refused
from operations.audit.recording import Actor
from operations.core.tries import Tries
from repo.core.documents import DamagedDocumentError
from repo.database import Database
from schemas.access import ApiKey, KeyKind, Scope
from schemas.accounts import Role

MINUTE_MS = 60_000
TRUSTED_MS = 15 * MINUTE_MS
TRUSTED_MAX = 1_000
VIA = "api"


class Door:
    """One a process. ``failed_tries``: how many an address may have in a minute; further ones are not looked at, but
    for keys that have let somebody in of late: who guesses can't lock out those who need not."""

    def __init__(self, database: Database, failed_tries: int, now: Callable[[], int]) -> None:
        self._access = database.access
        self._keys = StoredKeys(database.access, 0, now)
        self._accounts = Accounts(database.jobs, now, Role.RESTRICTED)
        self._tries = Tries(failed_tries, MINUTE_MS)
        self._trusted: Recent[str, int] = Recent(TRUSTED_MAX)
        self._now = now

    async def admin(self, request: Request) -> Actor:
        """Who asks. Raises ``Refused`` (401, 403, 429) and ``Unavailable``."""
        address = request.client.host if request.client is not None else ""
        place, now = place_of(address), self._now()
        secret = _bearer(request)
        key_hash = hash_of(secret) if secret is not None else None
        if now - self._trusted.get(key_hash or "", -TRUSTED_MS) >= TRUSTED_MS:
            wait_ms = self._tries.wait_ms(place, now)
            if wait_ms:
                raise Refused(Problem.TOO_MANY_TRIES, retry_after=math.ceil(wait_ms / 1000))
        try:
            key = await self._admins_key(key_hash)
        except Refused:
            self._trusted.pop(key_hash or "", None)
            self._tries.failed(place, now)
            raise
        self._trusted[key.key_hash] = now
        self._keys.used(key)
        return Actor(f"{key.user_id}/{key.prefix}", VIA, address)

    async def lets_in(self, name: str) -> bool:
        """Whether the actor of this name, who came in once, still would, but for the key's time, which was good then:
        a revoked key, or an admin who is none any more, has nothing done. Raises ``Unavailable``, and
        ``DamagedDocumentError`` where nobody can read what would say it."""
        user_id, _, prefix = name.rpartition("/")
        keys = await self._access.api_keys(user_id)
        good = [key for key in keys if (key.prefix, key.kind, key.revoked_at) == (prefix, KeyKind.KEY, None)]
        if not good:
            for key in await self._access.damaged_keys(user_id):
                if key.name == prefix:
                    raise DamagedDocumentError(f"the key {prefix} of an actor is damaged ({key.places})")
        self._accounts.forget(user_id)
        standing = await self._accounts.standing(user_id)
        return not standing.deleted and any(_is_admin(key, standing) for key in good)

    async def _admins_key(self, key_hash: str | None) -> ApiKey:
        key = None if key_hash is None else await self._keys.good(key_hash)
        if key is None or key.kind is not KeyKind.KEY:
            raise Refused(Problem.UNAUTHORIZED)
        self._accounts.forget(key.user_id)
        standing = await self._accounts.standing(key.user_id)
        if standing.deleted:
            raise Refused(Problem.UNAUTHORIZED)
        if not _is_admin(key, standing):
            raise Refused(Problem.FORBIDDEN)
        return key


def _is_admin(key: ApiKey, standing: Standing) -> bool:
    who = Principal(key.user_id, standing.of_key(key), key.key_hash, scopes=frozenset(key.scopes))
    return who.may(Scope.ADMIN)


def _bearer(request: Request) -> str | None:
    """The key that the one ``Authorization`` header shows, if it has the form of one."""
    headers = request.headers.getlist("authorization")
    scheme, _, rest = headers[0].strip().partition(" ") if len(headers) == 1 else ("", "", "")
    secret = rest.strip()
    return secret if scheme.lower() == "bearer" and is_key(secret) else None
