"""Who may come in: API keys and what they may do, what people have agreed to, vouchers, and what is known of a person.

Written by gateways and the ``openv`` command, not by the ledger: nothing here decides quota, retries or job state.
"""

from enum import StrEnum

from schemas.accounts import Role
from schemas.endpoints import EndpointId
from schemas.instants import Instant
from schemas.shape import shape


class Scope(StrEnum):
    """What a key may be used for. ``ADMIN`` counts only for a caller whose role is admin."""

    READ = "read"  # list and watch videos, follow files, ask for usage
    WRITE = "write"  # make, cancel, retry and delete videos; webhooks, vouchers, terms
    ADMIN = "admin"  # what concerns other users


ALL_SCOPES = tuple(Scope)
OWN_SCOPES = tuple(scope for scope in Scope if scope is not Scope.ADMIN)  # what concerns the user alone


class KeyKind(StrEnum):
    """What a stored secret is for; each is good for that alone."""

    KEY = "key"  # an API key
    SESSION = "session"  # the page's cookie
    PAGE_LINK = "page_link"  # opens the page once
    TICKET = "ticket"  # opens one socket or event stream
    WORKER = "worker"  # lets a worker take the jobs of one endpoint, and nothing else


ONE_TIME = frozenset({KeyKind.PAGE_LINK, KeyKind.TICKET})
PASSING = ONE_TIME | {KeyKind.SESSION}  # forgotten once they have expired; the others people see listed


@shape
class ApiKey:
    """A stored secret: its SHA-256 (the id), never the secret. ``prefix`` is what a person recognises it by.

    ``parent_hash``: of a ticket, the key that it was made with, so that a socket ends with that key.
    ``session_expires_at``: of a ticket, when the session it was made with ends. ``endpoint``: of a worker's key, the
    only one whose jobs it opens.
    """

    key_hash: str
    prefix: str
    user_id: str
    role: Role
    name: str
    created_at: Instant
    scopes: tuple[Scope, ...] = ALL_SCOPES
    kind: KeyKind = KeyKind.KEY
    revoked_at: Instant | None = None
    expires_at: Instant | None = None
    last_used_at: Instant | None = None
    parent_hash: str | None = None
    session_expires_at: Instant | None = None
    endpoint: EndpointId | None = None


@shape
class Acceptance:
    """One person's yes to one version of the terms of use. Kept for as long as the person is known."""

    user_id: str
    version: str
    accepted_at: Instant


@shape
class Voucher:
    """A code that raises whoever redeems it to ``role``. Uses are kept in the accounts, by the ledger."""

    code: str
    created_by: str
    created_at: Instant
    updated_at: Instant
    expires_at: Instant
    is_active: bool = True


@shape
class Person:
    """What the identity provider says of a user. ``updated_at`` is its own time: the newest word wins."""

    user_id: str
    updated_at: Instant
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    image_url: str | None = None
    deleted_at: Instant | None = None
