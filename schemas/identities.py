"""Which database this is: one document in it, made once, by which a process knows it again after an outage.

An empty database that took a full one's place has none, or another one; so nothing is decided on it by mistake.
"""

from collections.abc import Mapping
from enum import StrEnum

from schemas.ids import Name
from schemas.instants import Instant
from schemas.shape import shape


class Standing(StrEnum):
    """``open`` to all; in the others to `openv restore` and `openv rebuild` alone, also after they were killed."""

    OPEN = "open"
    RESTORING = "restoring"  # a backup is being written into it
    RESTORED = "restored"  # it stands where the backup stood: `openv rebuild` is still to come
    REBUILDING = "rebuilding"  # its documents are being brought up to date from the log


@shape
class Identity:
    """``recovered``: made by an operator's restore or rebuild, and so meant to take the place of any before it.

    ``backup_id``: the backup that is, or was last, written into it. ``positions``: of each topic and partition, the
    next offset that a rebuild has to read; None: from the first that is kept. ``holder``: the run of a restore or
    rebuild that is at it, until ``held_until`` unless it renews that.
    """

    identity: str
    standing: Standing = Standing.OPEN
    recovered: bool = False
    made_at: Instant
    backup_id: str | None = None
    positions: Mapping[str, Mapping[int, int]] | None = None
    holder: Name | None = None
    held_until: Instant = 0
