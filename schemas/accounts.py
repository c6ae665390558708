"""The account document: who a user is to the ledger. Sums are never stored: they are folds over jobs, grants, pending.

An admission is one compare-and-set of this document, which stores the admitted job under ``pending``; whoever touches
the account next completes it (ARCHITECTURE.md section 3, point 3).
"""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType

from schemas.instants import Instant
from schemas.jobs import Job
from schemas.numbers import Count, Duration
from schemas.shape import shape


class Role(StrEnum):
    """Each may what those before it may."""

    RESTRICTED = "restricted"
    USER = "user"
    ADMIN = "admin"


RANK: Mapping[Role, int] = MappingProxyType({role: rank for rank, role in enumerate(Role)})


@shape
class Overrides:
    """An operator's exceptions for one user; None means the deployment's default."""

    monthly_limit_seconds: float | None = None
    max_active: Count | None = None
    rate_limit: Count | None = None
    rate_window_ms: Duration | None = None


@shape
class Grant:
    """Credits given (or taken, negative). The same ``grant_id`` counts once, however often it arrives."""

    grant_id: str
    credits: float
    granted_at: Instant
    expires_at: Instant | None = None
    reason: str = ""


@shape
class VoucherUse:
    """A voucher that the user has redeemed; the command's id, so that the same command is answered the same."""

    code: str
    command_id: str
    used_at: Instant
    role: Role = Role.USER


@shape
class Account:
    """One user. ``*_issued_at``: the sender's time of the last applied change, so a replayed old one does nothing.

    ``role`` is the last one set, raised by the vouchers used since; nobody's word while ``role_is_set`` is false.
    ``role_issued_at`` is also the word that the user exists, so a voucher leaves it alone: redeemed after a deletion
    was asked for, it does not undo it.
    """

    user_id: str
    version: int = 0
    role: Role = Role.USER
    role_issued_at: Instant = 0
    blocked: bool = False
    blocked_issued_at: Instant = 0
    overrides: Overrides = field(default_factory=Overrides)
    overrides_issued_at: Instant = 0
    grants: tuple[Grant, ...] = ()
    vouchers: tuple[VoucherUse, ...] = ()
    pending: Mapping[str, Job] = field(default_factory=dict)
    deleted_at: Instant | None = None
    deleted_issued_at: Instant = 0

    @property
    def role_is_set(self) -> bool:
        """Whether anybody gave the user a role: an operator, the identity provider, a voucher."""
        return self.role_issued_at > 0 or bool(self.vouchers)
