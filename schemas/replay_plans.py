"""The document of a replay: what its dry run fixed, and how far it has come. One writer: who holds the lease.

``REPLAY_MOVES`` is the only copy of a replay's life. One that died midway is still ``running``; its lease runs out.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from schemas.instants import Instant
from schemas.numbers import Count
from schemas.shape import shape


class ReplayState(StrEnum):
    PLANNED = "planned"  # the dry run is stored; nothing was written
    RUNNING = "running"
    CANARY = "canary"  # the first few are written, and an operator looks at what they do
    PAUSED = "paused"  # stopped where it was: by an operator, or after errors
    DONE = "done"
    FAILED = "failed"  # the source has lost what was still to be written
    CANCELLED = "cancelled"


class ReplayFact(StrEnum):
    STARTED = "started"  # an executor has taken it (again)
    CANARY_WRITTEN = "canary_written"
    STOPPED = "stopped"
    FINISHED = "finished"
    BROKE = "broke"
    CANCELLED = "cancelled"


S, F = ReplayState, ReplayFact

REPLAY_MOVES: Mapping[ReplayState, Mapping[ReplayFact, ReplayState]] = MappingProxyType(
    {
        S.PLANNED: {F.STARTED: S.RUNNING, F.CANCELLED: S.CANCELLED},
        S.RUNNING: {
            F.STARTED: S.RUNNING,
            F.CANARY_WRITTEN: S.CANARY,
            F.STOPPED: S.PAUSED,
            F.FINISHED: S.DONE,
            F.BROKE: S.FAILED,
            F.CANCELLED: S.CANCELLED,
        },
        S.CANARY: {F.STARTED: S.RUNNING, F.CANCELLED: S.CANCELLED},
        S.PAUSED: {F.STARTED: S.RUNNING, F.CANCELLED: S.CANCELLED},
        S.DONE: {},
        S.FAILED: {},
        S.CANCELLED: {},
    }
)


def moved(state: ReplayState, fact: ReplayFact) -> ReplayState | None:
    """The state after the fact, or None where the table has no such move."""
    return REPLAY_MOVES[state].get(fact)


@shape
class Span:
    """``first <= offset < end`` of one partition of the source. Of a file: bytes."""

    partition: Count
    first: Count
    end: Count


@shape
class Place:
    """A position in a partition of a topic: the next offset. Of a file: bytes."""

    topic: str
    partition: Count
    offset: Count


@shape
class Checkpoint:
    """Of the scope, all before ``read`` is written, and nothing that comes after it lies before ``ends``.

    ``read``: by the source's partition; ``ends``: of all that is written to. ``written`` is without ``quarantined``.
    ``clean``: nothing was under way then, so nothing can have been written behind it.
    """

    read: tuple[Place, ...] = ()
    ends: tuple[Place, ...] = ()
    written: Count = 0
    quarantined: Count = 0
    skipped: Count = 0
    clean: bool = False


@shape
class Lease:
    """Who executes: ``holder`` is a name of one run of one process; nobody else does before ``until``."""

    holder: str
    until: Instant


@shape
class ReplayPlan:
    """A replay. ``asked``: source, target and scope as they were said, canonically; ``digest``: of them and what they
    came to. ``report``: the dry run's findings as JSON, without values of records. ``source_mark``: a file's digest, or
    by what a topic is known again. ``chosen``: as partition/offset or partition/first-last, where records were named
    one by one.
    """

    replay_id: str
    version: int
    state: ReplayState
    created_at: Instant
    updated_at: Instant
    source: str
    target: str
    asked: Mapping[str, str]
    asked_digest: str
    digest: str
    spans: tuple[Span, ...]
    report: str
    since: Instant | None = None
    until: Instant | None = None
    in_scope: Count = 0
    quarantine: Count = 0
    dead_letters: Count = 0
    max_replays: Count = 0
    source_mark: str | None = None
    chosen: tuple[str, ...] | None = None
    checkpoint: Checkpoint | None = None
    lease: Lease | None = None
    reason: str = ""
