"""Topics ``openv.dispatch`` (to the scheduler; key: pool) and ``openv.assignments`` (to workers; key: worker id).

A dispatch message about a job is only a wake-up: the scheduler reads the document before it hands a job out. A
worker's heartbeat carries its whole state, so a scheduler that starts afresh learns everything within one of them.
"""

from enum import StrEnum
from typing import ClassVar

from schemas.ids import Name, PoolName, Words
from schemas.instants import Instant
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from schemas.shape import shape


@shape
class JobMoved:
    """Ledger → scheduler: the document is at this version; look at it."""

    TYPE: ClassVar[str] = "dev.openv.dispatch.job_moved.v1"
    pool: PoolName
    job_id: str
    user_id: str
    state: State
    version: int
    run: int
    attempt: int
    due_at: Instant
    worker_id: Name | None = None

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.version}:moved"

    @property
    def key(self) -> str:
        return self.pool

    @property
    def subject(self) -> str:
        return self.job_id


class WorkerState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    DEFUNCT = "defunct"  # the model does not load or its process keeps dying; takes no jobs


# Who reported an attempt that is known from webhook calls alone. Nobody of that name sends heartbeats.
WEBHOOK_WORKER = "runpod-webhook"


class WorkerKind(StrEnum):
    """How a worker speaks to us, which decides how long its lease lasts without a sign of life."""

    NATIVE = "native"
    SDK = "sdk"


@shape
class WorkerMessage:
    """What all messages of a worker share. ``session`` is new at each start; ``sequence`` grows within a session."""

    pool: PoolName
    worker_id: Name
    session: Name
    sequence: int

    @property
    def message_id(self) -> str:
        return f"{self.worker_id}:{self.session}:{self.sequence}"

    @property
    def key(self) -> str:
        return self.pool

    @property
    def subject(self) -> str:
        return self.worker_id


@shape
class WorkerBeat(WorkerMessage):
    """Worker → scheduler: its whole state; at once on every change, and every five seconds. READY asks for one job.

    ``job_id`` and ``attempt`` name what it runs. ``poll_id`` names what a slot of an SDK worker asks:
    the same for as many polls as it waits in, until it is given a job or leaves.
    """

    TYPE: ClassVar[str] = "dev.openv.worker.beat.v1"
    state: WorkerState
    kind: WorkerKind = WorkerKind.NATIVE
    job_id: str | None = None
    attempt: int | None = None
    poll_id: Name | None = None
    engine: str = ""
    device: str = ""


@shape
class WorkerGone(WorkerMessage):
    """Worker → scheduler: this session is over (a clean stop)."""

    TYPE: ClassVar[str] = "dev.openv.worker.gone.v1"


@shape
class AssignmentDeclined(WorkerMessage):
    """Worker → scheduler: it did not take this attempt (busy, draining, too late); nothing was lost."""

    TYPE: ClassVar[str] = "dev.openv.worker.declined.v1"
    job_id: str
    attempt: int
    reason: Words = ""


@shape
class DrainWorker:
    """Operator → scheduler: hand this worker no more jobs, and tell it to finish (or to hand back ``now``) and stop."""

    TYPE: ClassVar[str] = "dev.openv.dispatch.drain.v1"
    command_id: str
    pool: PoolName
    worker_id: Name
    now: bool = False

    @property
    def message_id(self) -> str:
        return self.command_id

    @property
    def key(self) -> str:
        return self.pool

    @property
    def subject(self) -> str:
        return self.worker_id


@shape
class Tick:
    """Scheduler's timer → scheduler: look at what is due in this partition's pools. One outstanding a partition."""

    TYPE: ClassVar[str] = "dev.openv.dispatch.tick.v1"
    tick_id: str

    @property
    def message_id(self) -> str:
        return self.tick_id

    @property
    def key(self) -> str:
        return ""

    @property
    def subject(self) -> str:
        return "tick"


@shape
class WorkerOrder:
    """What all orders to a worker share: addressed to one session; another session of the same worker ignores it."""

    worker_id: Name
    session: Name

    @property
    def key(self) -> str:
        return self.worker_id


@shape
class RunAttempt(WorkerOrder):
    """Scheduler → worker: run this attempt, for at most ``execution_timeout_ms``.

    ``webhook``: of an external job, which handlers of RunPod's SDK are given.
    """

    TYPE: ClassVar[str] = "dev.openv.assignment.run.v1"
    pool: PoolName
    job_id: str
    user_id: str
    run: int
    attempt: int
    request: GenerationRequest
    execution_timeout_ms: int
    assigned_at: Instant
    poll_id: Name | None = None
    webhook: str | None = None

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.worker_id}:{self.session}:run"

    @property
    def subject(self) -> str:
        return self.job_id


@shape
class StopAttempt(WorkerOrder):
    """Scheduler → worker: stop this attempt; nothing that it makes will be used."""

    TYPE: ClassVar[str] = "dev.openv.assignment.stop.v1"
    job_id: str
    attempt: int
    reason: Words = ""

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.worker_id}:{self.session}:stop"

    @property
    def subject(self) -> str:
        return self.job_id


@shape
class DrainSession(WorkerOrder):
    """Scheduler → worker: take nothing more; finish what runs, or hand it back ``now``; then stop."""

    TYPE: ClassVar[str] = "dev.openv.assignment.drain.v1"
    now: bool = False

    @property
    def message_id(self) -> str:
        return f"{self.worker_id}:{self.session}:drain"

    @property
    def subject(self) -> str:
        return self.worker_id


@shape
class RemoteMoved(WorkerOrder):
    """Gateway → worker: the foreign service that runs this attempt called; ask it what became of it.

    ``session`` is nobody's: whichever session of the worker hears it is meant. ``remote_id``: the id under which the
    service called, for whoever has not heard that yet. ``signed_attempt``: the attempt whose submission it called
    about, which may be one before ``attempt``; None in what earlier gateways wrote: the id is then of no use.
    """

    TYPE: ClassVar[str] = "dev.openv.assignment.remote_moved.v1"
    job_id: str
    attempt: int
    call_id: Name
    remote_id: Name | None = None
    signed_attempt: int | None = None

    @property
    def message_id(self) -> str:
        return self.call_id

    @property
    def subject(self) -> str:
        return self.job_id


AnyDispatch = JobMoved | WorkerBeat | WorkerGone | AssignmentDeclined | DrainWorker | Tick
AnyAssignment = RunAttempt | StopAttempt | DrainSession | RemoteMoved
