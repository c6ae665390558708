"""Who may watch: what a live connection shows for itself, and what speaks against it."""

from starlette.requests import HTTPConnection

from gateway.identity.auth import Authenticator
from gateway.identity.guard import terms_accepted
from gateway.identity.keys import is_ticket
from gateway.identity.principal import Principal
from gateway.parts import Parts
from schemas.access import Scope
from schemas.api.live import CloseCode


async def who_shows(auth: Authenticator, token: str | None, handshake: HTTPConnection | None) -> Principal | None:
    """The caller by a ticket, a key or a token, or by what its handshake carried. Raises ``Unavailable``."""
    if token is None:
        return await auth.of_handshake(handshake) if handshake is not None else None
    return await (auth.by_ticket(token) if is_ticket(token) else auth.by_secret(token))


async def why_not(parts: Parts, principal: Principal) -> CloseCode | None:
    """Why this caller may not watch, or None. Raises ``Unavailable``."""
    if not principal.may(Scope.READ):
        return CloseCode.SCOPE
    standing = await parts.accounts.standing(principal.user_id)
    if standing.blocked or standing.deleted:
        return CloseCode.ACCOUNT
    return None if await terms_accepted(parts, principal) else CloseCode.TERMS
