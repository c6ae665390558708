"""Who the caller is, whichever way it showed that."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.access import ALL_SCOPES, Scope
from schemas.accounts import Role


class Way(StrEnum):
    """How a caller showed who it is."""

    KEY = "key"  # an API key, in a header or a socket's first message
    SESSION = "session"  # the page's cookie
    IDENTITY = "identity"  # a session token of the identity provider, in a header, its cookie or a socket's message
    TICKET = "ticket"  # a socket's ticket, made by one of the others
    TEST = "test"  # the fixed user of the test mode


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. ``role`` is what counts now, ``scopes`` what this credential may be used for.

    ``key_hash`` names the stored key behind it, so that a socket can ask again whether it is still good; ``expires_at``
    (ms) is when the credential ends, before which a socket must show a new one.
    """

    user_id: str
    role: Role
    key_hash: str | None = None
    way: Way = Way.KEY
    scopes: frozenset[Scope] = frozenset(ALL_SCOPES)
    expires_at: int | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the credential covers this. ``ADMIN`` asks for the role as well."""
        return scope in self.scopes and (scope is not Scope.ADMIN or self.role is Role.ADMIN)
