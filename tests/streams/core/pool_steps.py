"""Short words for the scheduler's tests: a pool that is stepped, documents, beats."""

from dataclasses import dataclass, field, replace
from typing import Any

from schemas.dispatch import (
    AssignmentDeclined,
    DrainWorker,
    JobMoved,
    Tick,
    WorkerBeat,
    WorkerGone,
    WorkerKind,
    WorkerState,
)
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from streams.core.announce import announcements
from streams.core.effects import Look, Offer, Order, SchedulerEffect, ShowPlace, Tell
from streams.core.pool_state import Loaded, PoolState, Seen, empty_pool
from streams.core.scheduler import PoolEvent, step

POOL = "mochi"
T0 = 1_800_000_000_000


def job_of(job_id: str, user_id: str = "ann", **changes: Any) -> Job:
    """A queued document, due at T0, alive for a day, that may run for ten minutes."""
    job = Job(
        job_id=job_id,
        user_id=user_id,
        pool=POOL,
        state=State.QUEUED,
        version=1,
        request=GenerationRequest(prompt="p"),
        request_hash="h",
        charge=Charge(state=ChargeState.RESERVED, seconds=1.0, reserved_at=T0),
        created_at=T0,
        updated_at=T0,
        due_at=T0,
        expires_at=T0 + 86_400_000,
        execution_timeout_ms=600_000,
    )
    return replace(job, **changes)


def moved(job: Job) -> JobMoved:
    return announcements(job)[1]


def after(job: Job, **changes: Any) -> Job:
    """The document's next version."""
    return replace(job, version=job.version + 1, **changes)


@dataclass
class Pool:
    """A stepped pool. ``at`` is the time of the next event; the last event's effects are kept."""

    state: PoolState = field(default_factory=lambda: empty_pool(POOL))
    at: int = T0
    effects: tuple[SchedulerEffect, ...] = ()
    sequences: dict[str, int] = field(default_factory=dict)

    def feed(self, event: PoolEvent) -> tuple[SchedulerEffect, ...]:
        self.state, self.effects = step(self.state, event, self.at)
        return self.effects

    def load(self, *jobs: Job) -> tuple[SchedulerEffect, ...]:
        return self.feed(Loaded(jobs))

    def move(self, job: Job) -> tuple[SchedulerEffect, ...]:
        return self.feed(moved(job))

    def see(self, job: Job) -> tuple[SchedulerEffect, ...]:
        return self.feed(Seen(job.job_id, job))

    def beat(
        self,
        worker_id: str = "w1",
        state: WorkerState = WorkerState.READY,
        job_id: str | None = None,
        attempt: int | None = None,
        *,
        session: str = "s1",
        sequence: int | None = None,
        kind: WorkerKind = WorkerKind.NATIVE,
        poll_id: str | None = None,
    ) -> tuple[SchedulerEffect, ...]:
        return self.feed(
            WorkerBeat(
                pool=POOL,
                worker_id=worker_id,
                session=session,
                sequence=self._next(worker_id, session) if sequence is None else sequence,
                state=state,
                kind=kind,
                job_id=job_id,
                attempt=1 if job_id is not None and attempt is None else attempt,
                poll_id=poll_id,
            )
        )

    def busy(self, worker_id: str, job_id: str, attempt: int = 1, **more: Any) -> tuple[SchedulerEffect, ...]:
        return self.beat(worker_id, WorkerState.BUSY, job_id, attempt, **more)

    def decline(
        self, worker_id: str, job_id: str, attempt: int = 1, *, session: str = "s1", sequence: int | None = None
    ) -> tuple[SchedulerEffect, ...]:
        number = self._next(worker_id, session) if sequence is None else sequence
        return self.feed(
            AssignmentDeclined(
                pool=POOL, worker_id=worker_id, session=session, sequence=number, job_id=job_id, attempt=attempt
            )
        )

    def gone(self, worker_id: str = "w1", session: str = "s1") -> tuple[SchedulerEffect, ...]:
        return self.feed(
            WorkerGone(pool=POOL, worker_id=worker_id, session=session, sequence=self._next(worker_id, session))
        )

    def drain(self, worker_id: str = "w1", *, now: bool = False) -> tuple[SchedulerEffect, ...]:
        return self.feed(DrainWorker(command_id="d", pool=POOL, worker_id=worker_id, now=now))

    def tick(self, after_ms: int = 1_000) -> tuple[SchedulerEffect, ...]:
        self.at += after_ms
        return self.feed(Tick(tick_id=f"t{self.at}"))

    def ticks(self, seconds: int) -> list[SchedulerEffect]:
        """A tick a second for so long; all effects."""
        return [effect for _ in range(seconds) for effect in self.tick()]

    def _next(self, worker_id: str, session: str) -> int:
        number = self.sequences.get(f"{worker_id} {session}", 0) + 1
        self.sequences[f"{worker_id} {session}"] = number
        return number


def offers(effects: Any) -> list[tuple[str, str]]:
    """(job, worker) of each offer."""
    return [(effect.job_id, effect.worker_id) for effect in effects if isinstance(effect, Offer)]


def tells(effects: Any) -> list[tuple[str, str, int]]:
    """(kind, job, attempt) of each word to the ledger."""
    return [(effect.kind, effect.job_id, effect.attempt) for effect in effects if isinstance(effect, Tell)]


def looks(effects: Any) -> list[str]:
    return [effect.job_id for effect in effects if isinstance(effect, Look)]


def orders(effects: Any) -> list[Any]:
    return [effect.message for effect in effects if isinstance(effect, Order)]


def places(effects: Any) -> list[tuple[str, int, int | None]]:
    """(job, place, wait) of each place shown."""
    shown = [effect.message for effect in effects if isinstance(effect, ShowPlace)]
    return [(message.job_id, message.place, message.eta_ms) for message in shown]
