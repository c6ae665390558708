"""The worker: which fact moves it from which state to which. The only copy of these rules.

The table is total: a fact that has no place in a row cannot happen there, and ``moved`` says so loudly. Below the
worker lie two smaller machines, the attempt (``attempt.py``) and the child (``child_life.py``); ``step.py`` tells from
them which fact is true. What is not in the table: a worker leaves DRAINING by ending, once it has no attempt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from inference_worker.core.attempt import Attempt
from inference_worker.core.child_life import ChildLife
from inference_worker.core.limits import Identity, Limits
from schemas.dispatch import WorkerState


class Fact(StrEnum):
    LOADED = "the model is loaded"
    CHILD_LOST = "the child is gone or was killed; another will be started"
    WORN_OUT = "the model does not load, or its process keeps dying"
    TAKEN = "an attempt was taken"
    RESUMED = "an attempt of the session before goes on"
    OVER = "the attempt is over, its reports are acknowledged, the child is ready"
    OVER_CHILDLESS = "the same, but another child has to load first"
    OVER_WORN_OUT = "the same, but the child keeps dying"
    DRAIN = "told to take nothing more"


W, F = WorkerState, Fact

TABLE: Mapping[WorkerState, Mapping[Fact, WorkerState]] = MappingProxyType(
    {
        W.STARTING: {
            F.LOADED: W.READY,
            F.CHILD_LOST: W.STARTING,
            F.WORN_OUT: W.DEFUNCT,
            F.RESUMED: W.BUSY,
            F.DRAIN: W.DRAINING,
        },
        W.READY: {
            F.CHILD_LOST: W.STARTING,
            F.WORN_OUT: W.DEFUNCT,
            F.TAKEN: W.BUSY,
            F.DRAIN: W.DRAINING,
        },
        W.BUSY: {
            F.LOADED: W.BUSY,
            F.CHILD_LOST: W.BUSY,
            F.WORN_OUT: W.BUSY,
            F.OVER: W.READY,
            F.OVER_CHILDLESS: W.STARTING,
            F.OVER_WORN_OUT: W.DEFUNCT,
            F.DRAIN: W.DRAINING,
        },
        W.DRAINING: {
            F.LOADED: W.DRAINING,
            F.CHILD_LOST: W.DRAINING,
            F.WORN_OUT: W.DRAINING,
            F.OVER: W.DRAINING,
            F.DRAIN: W.DRAINING,
        },
        W.DEFUNCT: {
            F.LOADED: W.READY,
            F.CHILD_LOST: W.DEFUNCT,
            F.WORN_OUT: W.DEFUNCT,
            F.DRAIN: W.DRAINING,
        },
    }
)


@dataclass(frozen=True, slots=True)
class Departure:
    """Told to end now. Times are when a running upload is given up, and when nothing is waited for any longer."""

    upload_by: int
    leave_by: int
    signalled: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """The whole state. ``sequence`` numbers all that it says; ``ended``: the attempts of this session, newest last."""

    identity: Identity
    limits: Limits
    child: ChildLife
    ticked_at: int
    state: WorkerState = WorkerState.STARTING
    attempt: Attempt | None = None
    sequence: int = 0
    beat_at: int | None = None
    ended: tuple[tuple[str, int], ...] = ()
    departure: Departure | None = None
    exited: bool = False
    engine: str = ""
    device: str = ""


def new_worker(identity: Identity, limits: Limits, now: int) -> Worker:
    """A worker whose first child is started at the first tick."""
    return Worker(identity=identity, limits=limits, child=ChildLife(start_at=now), ticked_at=now)


def moved(state: WorkerState, fact: Fact) -> WorkerState:
    """The state after the fact. A fact that cannot happen there is a fault of ``step.py``."""
    after = TABLE[state].get(fact)
    if after is None:
        raise AssertionError(f"{state} cannot meet: {fact}")
    return after


def as_mermaid() -> str:
    """The table as a Mermaid state diagram, without the facts that leave a state as it is."""
    edges = [f"    {a} --> {b}: {fact}" for a, row in TABLE.items() for fact, b in row.items() if a is not b]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {W.STARTING}", *edges, f"    {W.DRAINING} --> [*]: no attempt"])
