"""What the admin API answers of keys and of changed endpoints. A secret is in the answer that makes it alone."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from schemas.access import KeyKind, Scope
from schemas.accounts import Role
from schemas.endpoints import ServerlessEndpoint
from schemas.instants import Instant
from schemas.shape import shape


@shape
class ChangedEndpoint:
    """The endpoint as it is now. ``webhookSecret``: the one that was made for it, shown this once; ``notes``: what a
    person should know besides."""

    endpoint: ServerlessEndpoint
    limits_of: str
    signed_webhooks: bool
    notes: tuple[str, ...]
    webhook_secret: str | None = field(default=None, repr=False)


@shape
class DeletedEndpoint:
    """``activeJobs``: how many of its jobs are under way, and go on."""

    endpoint_id: str
    active_jobs: int
    words: str


@shape
class KeyView:
    """What is stored of a key or a session; of the secret its beginning alone. ``state``: ``active``, ``revoked`` or
    ``expired``; ``endpoint``: of a worker's key, whose jobs it opens."""

    prefix: str
    kind: KeyKind
    user_id: str
    name: str
    role: Role
    scopes: tuple[Scope, ...]
    state: str
    created_at: Instant
    last_used_at: Instant | None = None
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    endpoint: str | None = None


@shape
class DamagedKeyView:
    """A key that nobody can read, and that opens nothing while it is so. ``name``: the beginning of the secret, or,
    where the document has none, its id; ``places``: what is wrong with it, without values. Revoked by its name, it is
    deleted."""

    name: str
    places: str
    state: Literal["damaged", "deleted"]


@shape
class Keys:
    """Newest first. ``damaged``: those that nobody can read, which are left out of ``keys``."""

    keys: tuple[KeyView, ...]
    damaged: tuple[DamagedKeyView, ...] = ()


@shape
class MadeKey:
    """``secret``: the key, shown this once."""

    secret: str = field(repr=False)
    key: KeyView


@shape
class MadeWorkerKey:
    """``environment``: all that a container with RunPod's SDK needs, the key included, which is shown this once;
    ``notes``: what a person should know besides."""

    key: KeyView
    environment: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...]
