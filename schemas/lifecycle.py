"""The life of a job: which fact moves it from which state to which. The only copy of these rules.

A row that is missing a fact means that the fact changes nothing there (a late or repeated report), never an error:
reports arrive at least once, in any order across workers. Which attempt a report belongs to, and whether tries are
left, are guards of the ledger (``streams/core/ledger.py``); they choose the fact, this table moves the state.
``rejected`` and ``deleted`` have no way out but deletion; a manual retry is the only way back from the other ends.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    DELETED = "deleted"


class Fact(StrEnum):
    STARTED = "started"  # the current attempt runs on a worker
    SUCCEEDED = "succeeded"  # it delivered its files (implies started)
    RETRY = "retry"  # it failed or was lost, retryable, tries left
    HANDED_BACK = "handed_back"  # a worker gave it back unharmed; costs no try
    GAVE_UP = "gave_up"  # it failed for good
    CANCELLED = "cancelled"  # the user cancelled this run
    EXPIRED = "expired"  # ttl or execution timeout of this run
    RETRIED = "retried"  # the user started another run
    DELETED = "deleted"  # the user deleted the job


S, F = State, Fact

TRANSITIONS: Mapping[State, Mapping[Fact, State]] = MappingProxyType(
    {
        S.QUEUED: {
            F.STARTED: S.PROCESSING,
            F.SUCCEEDED: S.COMPLETED,
            F.RETRY: S.QUEUED,
            F.HANDED_BACK: S.QUEUED,
            F.GAVE_UP: S.FAILED,
            F.CANCELLED: S.CANCELLED,
            F.EXPIRED: S.TIMED_OUT,
            F.DELETED: S.DELETED,
        },
        S.PROCESSING: {
            F.SUCCEEDED: S.COMPLETED,
            F.RETRY: S.QUEUED,
            F.HANDED_BACK: S.QUEUED,
            F.GAVE_UP: S.FAILED,
            F.CANCELLED: S.CANCELLED,
            F.EXPIRED: S.TIMED_OUT,
            F.DELETED: S.DELETED,
        },
        S.COMPLETED: {F.DELETED: S.DELETED},
        S.FAILED: {F.RETRIED: S.QUEUED, F.DELETED: S.DELETED},
        S.CANCELLED: {F.RETRIED: S.QUEUED, F.DELETED: S.DELETED},
        S.TIMED_OUT: {F.RETRIED: S.QUEUED, F.DELETED: S.DELETED},
        S.REJECTED: {F.DELETED: S.DELETED},
        S.DELETED: {},
    }
)

ACTIVE = frozenset({S.QUEUED, S.PROCESSING})
TERMINAL = frozenset(S) - ACTIVE


def advance(state: State, fact: Fact) -> State | None:
    """The state after the fact, or None where the fact changes nothing."""
    return TRANSITIONS[state].get(fact)


# OpenV's web clients know four statuses (and never see a rejected or a deleted job in a list).
OPENV_STATUS: Mapping[State, str] = MappingProxyType(
    {
        S.QUEUED: "queued",
        S.PROCESSING: "processing",
        S.COMPLETED: "completed",
        S.FAILED: "failed",
        S.CANCELLED: "failed",
        S.TIMED_OUT: "failed",
        S.REJECTED: "failed",
        S.DELETED: "deleted",
    }
)


def as_mermaid() -> str:
    """The table as a Mermaid state diagram; ``docs/architecture.md`` holds its output, compared by a test."""
    edges = [f"    {a} --> {b}: {fact}" for a, row in TRANSITIONS.items() for fact, b in row.items()]
    return "\n".join(
        [
            "stateDiagram-v2",
            f"    [*] --> {S.QUEUED}: admitted",
            f"    [*] --> {S.REJECTED}: refused",
            *edges,
            f"    {S.DELETED} --> [*]",
        ]
    )
