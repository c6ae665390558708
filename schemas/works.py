"""Long works that an admin began over HTTP: they outlive the request, and the process that began them.

Whoever runs one holds a lease and renews it; where that ran out, another process goes on, if the work is one that can
be gone on with. Kept for 30 days after the end.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from schemas.ids import Name, Words
from schemas.instants import Instant
from schemas.numbers import Count
from schemas.shape import shape

KEPT_MS = 30 * 86_400_000


class WorkState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class WorkFact(StrEnum):
    TAKEN = "taken"  # by a process that runs it from now on; also where another's lease ran out
    RELEASED = "released"  # that process stops
    ENDED = "ended"
    BROKEN = "broken"


W, F = WorkState, WorkFact

TRANSITIONS: Mapping[WorkState, Mapping[WorkFact, WorkState]] = MappingProxyType(
    {
        W.WAITING: {F.TAKEN: W.RUNNING, F.BROKEN: W.FAILED},
        W.RUNNING: {F.TAKEN: W.RUNNING, F.RELEASED: W.WAITING, F.ENDED: W.DONE, F.BROKEN: W.FAILED},
        W.DONE: {},
        W.FAILED: {},
    }
)
UNFINISHED = frozenset({W.WAITING, W.RUNNING})


@shape
class Work:
    """One work. ``arguments`` and ``result`` are JSON text, for whoever knows the ``kind``; ``actor`` and ``address``:
    who asked, from where, as the audit says it. ``tries``: how often it was taken. ``holder`` runs it until
    ``leased_until`` unless it renews that.
    """

    work_id: Name
    kind: Name
    arguments: str
    actor: str
    address: str
    state: WorkState
    version: int
    created_at: Instant
    updated_at: Instant
    tries: Count = 0
    holder: Name | None = None
    leased_until: Instant = 0
    result: str | None = None
    error: Words = ""
