"""What the scheduler knows of one pool: soft state, rebuilt from job documents and heartbeats whenever it is lost.

Two clocks. ``now`` is the record's time; it bounds ttl and execution. ``ear`` is *listening time*: it advances with
ticks only, by at most ``EAR_STEP_MS`` each. A tick is appended only after the one before it was handled, so silence
is counted only while a message of a worker would have been heard: an outage of Kafka or MongoDB, after which a backlog
of old beats is read in one go, costs no lease.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from schemas.dispatch import WorkerKind, WorkerState
from schemas.instants import Instant
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.estimates import shape_of, work_of

EAR_STEP_MS = 5_000


class Phase(StrEnum):
    """Where a lease stands. The last two owe the ledger a word; the job waits until its document moves."""

    OFFERED = "offered"  # handed out; not named by a beat yet
    RUNNING = "running"  # named by a beat, or its document says that our worker started it
    LOST = "lost"
    HANDED_BACK = "handed_back"


LIVE = frozenset({Phase.OFFERED, Phase.RUNNING})


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt on one worker. ``session`` and ``kind`` are None where only the document is known (a rebuild).

    ``renewed``: listening time of the offer or of the last beat that named it. ``sequence``: the worker's newest one at
    the offer, ``poll_id`` the poll that it answers. ``tick``: how many ticks had passed at ``renewed``.
    """

    attempt: int
    worker_id: str
    session: str | None
    kind: WorkerKind | None
    phase: Phase
    renewed: int
    sequence: int
    tick: int
    reason: str = ""
    poll_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A queued or processing job, as far as the scheduler needs it; ``started_at`` is its current attempt's.

    ``work`` is its size in default requests, ``shape`` its class of running times. ``told``: the last word to the
    ledger about this attempt, and when.
    """

    job_id: str
    user_id: str
    run: int
    attempt: int
    version: int
    state: State
    due_at: Instant
    expires_at: Instant
    execution_timeout_ms: int
    priority: int
    created_at: Instant
    shape: str
    work: float
    worker_id: str | None = None
    started_at: Instant | None = None
    lease: Lease | None = None
    told: tuple[str, Instant] | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as its newest beat described it. ``past``: sessions that are over, and their last sequence.

    ``heard`` and ``tick``: listening time and tick count of that beat. ``asking``: it wants a job. ``ignored``: how
    many offers it let pass without a word since it last named an attempt. ``drain``: an operator drains this session
    (True: hand back now). ``stopped``, ``looked_at``, ``drained_at`` bound repetition.
    """

    worker_id: str
    session: str
    sequence: int
    kind: WorkerKind
    state: WorkerState
    heard: int
    tick: int
    asking: bool = False
    asking_since: Instant = 0
    ignored: int = 0
    job_id: str | None = None
    attempt: int | None = None
    poll_id: str | None = None
    drain: bool | None = None
    drained_at: Instant = 0
    stopped: tuple[str, int, Instant] | None = None
    looked_at: Instant = 0
    past: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that left the pool: its last version, when, and the worker whose report ended it (it needs no stop)."""

    version: int
    at: Instant
    reported_by: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What a user was served, in default requests, as of ``at``; it halves with time (``fairness.py``)."""

    amount: float
    at: Instant


@dataclass(frozen=True, slots=True)
class Shown:
    """The place last shown, and the start it promised (None: no estimate)."""

    place: int
    start_at: Instant | None


class Numbers(NamedTuple):
    """How many workers wait for a job, have one, load their model, take no more."""

    idle: int = 0
    running: int = 0
    starting: int = 0
    draining: int = 0


NOBODY = Numbers()


@dataclass(frozen=True)
class PoolState:
    """One pool. The mappings are never changed in place: a step shares what it leaves alone.

    Bounded: jobs by the documents; ``workers``, ``ended``, ``shares`` by forgetting (``leases.sweep``);
    ``durations`` (ms by shape, newest last) and ``shown`` by a fixed number. ``numbers``: those last shown, and when.
    """

    pool: str
    now: Instant = 0
    ear: int = 0
    ticks: int = 0
    ticked_at: Instant | None = None
    shown_at: Instant = 0
    jobs: Mapping[str, Entry] = field(default_factory=dict)
    workers: Mapping[str, Worker] = field(default_factory=dict)
    ended: Mapping[str, Ended] = field(default_factory=dict)
    shares: Mapping[str, Share] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict)
    shown: Mapping[str, Shown] = field(default_factory=dict)
    numbers: Numbers = NOBODY
    numbers_at: Instant = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the document says now (None: there is none): the answer to ``Look``, or to an ``Offer`` that did not fit."""

    job_id: str
    job: Job | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """All queued and processing jobs of the pool, as MongoDB has them: at first touch, and every 60 s."""

    jobs: tuple[Job, ...]


def empty_pool(pool: str) -> PoolState:
    """A pool of which nothing is known yet; feed ``Loaded`` first."""
    return PoolState(pool)


def entry_of(job: Job) -> Entry:
    """The part of a document that the scheduler keeps: no prompt, no input."""
    return Entry(
        job_id=job.job_id,
        user_id=job.user_id,
        run=job.run,
        attempt=job.attempt,
        version=job.version,
        state=job.state,
        due_at=job.due_at,
        expires_at=job.expires_at,
        execution_timeout_ms=job.execution_timeout_ms,
        priority=job.priority,
        created_at=job.created_at,
        shape=shape_of(job.request),
        work=work_of(job.request),
        worker_id=job.worker_id,
        started_at=job.started_at if job.state is State.PROCESSING else None,
    )
