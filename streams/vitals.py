"""How the streams are doing: written by the event loop, read by the watchdog's thread and by the lookout.

Times are ``time.monotonic()`` in seconds. Every attribute is replaced or set whole, so a reader in another thread sees
an old or a new value, never half of one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streams.settings import Role


@dataclass(slots=True)
class PartitionVitals:
    """One owned partition. ``end``: the next offset of the log as last seen; ``applied``: the last one applied.

    ``moved_at``: when ``applied`` last moved, or when there was last nothing to do. ``acked``: the last offset that
    Faust was told, ``committed``: what it has stored since (the next offset to read); ``committed_at`` likewise.
    ``read_back``: how many looks in a row had to fetch records that Faust had not delivered.
    """

    moved_at: float
    committed_at: float
    end: int = 0
    applied: int = -1
    acked: int | None = None
    committed: int = 0
    read_back: int = 0

    @property
    def lag(self) -> int:
        return max(0, self.end - self.applied - 1)

    @property
    def uncommitted(self) -> int:
        return 0 if self.acked is None else max(0, self.acked + 1 - self.committed)


@dataclass(slots=True)
class RoleVitals:
    """One role. ``unassigned_since``: since when Faust has not said what it owns; None once it has.

    ``outside_since``: since when its consumer has not been a member of its group; None while it is. ``waiting_for``:
    the server it waits for, e.g. ``mongodb``. ``partitions``: those it owns.
    """

    role: Role
    unassigned_since: float | None
    outside_since: float | None = None
    waiting_for: str | None = None
    assigned_once: bool = False
    partitions: Mapping[int, PartitionVitals] = field(default_factory=dict)


@dataclass(slots=True)
class Vitals:
    """The whole process. ``loop_beat``: when the event loop last ran the lookout's short task."""

    loop_beat: float
    roles: dict[Role, RoleVitals]
    stopping: bool = False
    clock: Callable[[], float] = time.monotonic


def excuse(role: RoleVitals, now: float) -> None:
    """Nothing could move until now, and nobody is to blame: every clock of the role begins again."""
    for partition in role.partitions.values():
        partition.moved_at = partition.committed_at = now
    if role.unassigned_since is not None:
        role.unassigned_since = now
    if role.outside_since is not None:
        role.outside_since = now


def new_vitals(roles: tuple[Role, ...], clock: Callable[[], float] = time.monotonic) -> Vitals:
    """Vitals of a process that begins now."""
    now = clock()
    return Vitals(now, {role: RoleVitals(role, unassigned_since=now) for role in roles}, clock=clock)
