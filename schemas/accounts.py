"""The account document: who a user is to the ledger. Sums are never stored: they are folds over jobs, grants, pending.

An admission is one compare-and-set of this document, which stores the admitted job under ``pending``; whoever touches
the account next completes it (ARCHITECTURE.md section 3, point 3).
"""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from schemas.instants import Instant
from schemas.jobs import Job
from schemas.numbers import Count, Duration
from schemas.shape import shape


class Role(StrEnum):
    RESTRICTED = "restricted"
    USER = "user"
    ADMIN = "admin"


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


@shape
class Account:
    """One user. ``*_issued_at``: the sender's time of the last applied change, so a replayed old one does nothing."""

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
