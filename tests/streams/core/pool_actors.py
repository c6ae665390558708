"""A small world around the scheduler: a ledger as far as it meets one, native workers, and slots of external ones."""

from collections import Counter
from dataclasses import dataclass, field, replace

from schemas.dispatch import (
    AssignmentDeclined,
    DrainSession,
    RunAttempt,
    StopAttempt,
    WorkerBeat,
    WorkerGone,
    WorkerKind,
    WorkerState,
)
from schemas.jobs import Job
from schemas.lifecycle import Fact, State, advance
from streams.core.scheduler import PoolEvent
from tests.streams.core.pool_steps import POOL, after, moved

TRIES = 30


@dataclass
class Ledger:
    """Documents, and the rules of a job's life as far as the scheduler meets them. ``news``: what it announces."""

    jobs: dict[str, Job] = field(default_factory=dict)
    news: list[PoolEvent] = field(default_factory=list)
    ran: Counter[tuple[str, int]] = field(default_factory=Counter)

    def write(self, job: Job) -> None:
        self.jobs[job.job_id] = job
        self.news.append(moved(job))

    def report(self, kind: str, job_id: str, attempt: int, worker_id: str, now: int) -> None:
        """One report on the commands topic, as the real ledger treats it."""
        job = self.jobs[job_id]
        current = attempt == job.attempt and (job.state is State.QUEUED or job.worker_id == worker_id)
        fact = {
            "started": Fact.STARTED,
            "succeeded": Fact.SUCCEEDED,
            "lost": Fact.RETRY if job.tries < TRIES else Fact.GAVE_UP,
            "handed_back": Fact.HANDED_BACK,
            "ttl_expired": Fact.EXPIRED,
            "execution_timeout": Fact.EXPIRED,
        }[kind]
        if fact is Fact.EXPIRED:
            current = attempt == job.attempt
        state = advance(job.state, fact)
        if not current or state is None:
            return
        changed = after(job, state=state)
        if fact is Fact.STARTED:
            self.ran[job_id, attempt] += 1
            changed = replace(changed, worker_id=worker_id, started_at=now)
        elif fact in (Fact.RETRY, Fact.HANDED_BACK):
            due = now + (2_000 if fact is Fact.RETRY else 0)
            tries = job.tries + (fact is Fact.RETRY)
            changed = replace(changed, attempt=attempt + 1, tries=tries, due_at=due, worker_id=None, started_at=None)
        elif fact is Fact.SUCCEEDED:
            changed = replace(changed, worker_id=worker_id)
        self.write(changed)

    def cancel(self, job_id: str) -> None:
        job = self.jobs[job_id]
        state = advance(job.state, Fact.CANCELLED)
        if state is not None:
            self.write(after(job, state=state))


SLOT = "sdk:e:pod:0123456789ab:1"


@dataclass
class SimWorker:
    """A worker process. ``said``: its dispatch messages; ``reports``: its commands, in order."""

    worker_id: str
    kind: WorkerKind
    session: int = 0
    sequence: int = 0
    state: WorkerState = WorkerState.READY
    running: tuple[str, int] | None = None
    alive: bool = True
    said: list[PoolEvent] = field(default_factory=list)
    reports: list[tuple[str, str, int, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.worker_id}-{self.session}"

    def beat(self) -> None:
        if not self.alive:
            return
        self.sequence += 1
        job_id, attempt = self.running or (None, None)
        self.said.append(
            WorkerBeat(
                pool=POOL,
                worker_id=self.worker_id,
                session=self.name,
                sequence=self.sequence,
                state=self.state,
                kind=self.kind,
                job_id=job_id,
                attempt=attempt,
                poll_id=str(self.sequence) if self.kind is WorkerKind.SDK else None,
            )
        )

    def read(self, order: RunAttempt | StopAttempt | DrainSession) -> None:
        if not self.alive or order.session != self.name:
            return
        if isinstance(order, DrainSession):
            self.state = WorkerState.DRAINING
            if self.running is None or order.now:
                self._hand_back()
            self.beat()
        elif isinstance(order, StopAttempt):
            if self.running == (order.job_id, order.attempt):
                self._free()
        elif self.running == (order.job_id, order.attempt):
            return
        elif self.state is not WorkerState.READY or self.running is not None:
            self.sequence += 1
            self.said.append(
                AssignmentDeclined(
                    pool=POOL,
                    worker_id=self.worker_id,
                    session=self.name,
                    sequence=self.sequence,
                    job_id=order.job_id,
                    attempt=order.attempt,
                )
            )
            self.beat()
        else:
            self.running, self.state = (order.job_id, order.attempt), WorkerState.BUSY
            self._report("started")
            self.beat()

    def succeed(self) -> None:
        if self.alive and self.running is not None:
            self._report("succeeded")
            self._free()

    def die(self) -> None:
        self.alive = False

    def leave(self) -> None:
        """A clean stop: hand back, say goodbye."""
        if not self.alive:
            return
        self._hand_back()
        self.sequence += 1
        self.said.append(WorkerGone(pool=POOL, worker_id=self.worker_id, session=self.name, sequence=self.sequence))
        self.alive = False

    def start(self) -> None:
        if self.alive:
            self.die()
        self.session += 1
        self.sequence, self.state, self.running, self.alive = 0, WorkerState.READY, None, True
        self.beat()

    def _free(self) -> None:
        self.running = None
        self.state = WorkerState.READY if self.state is WorkerState.BUSY else self.state
        self.beat()

    def _hand_back(self) -> None:
        if self.running is not None:
            self._report("handed_back")
            self.running = None

    def _report(self, kind: str) -> None:
        assert self.running is not None
        self.reports.append((kind, *self.running, self.worker_id))


@dataclass
class SimSlot(SimWorker):
    """A slot, as its gateway and the pings of its pod have it: one session for ever; BUSY comes by any clock.

    ``clock``: how far the gateway that hears the pings is ahead.
    """

    clock: int = 0

    @property
    def name(self) -> str:
        return "0123456789ab"

    def beat(self) -> None:
        super().beat()
        if self.running is not None and self.alive and self.said:
            ping = self.said[-1]
            assert isinstance(ping, WorkerBeat)
            self.said[-1] = replace(ping, sequence=max(0, self.sequence + self.clock), poll_id=None)

    def start(self) -> None:
        """The pod is another process now; its gateway goes on counting."""
        self.sequence += 1
        sequence = self.sequence
        super().start()
        self.sequence = sequence
        self.beat()
