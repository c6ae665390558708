"""One step's working copy of a pool: what is touched is copied first, what is not is shared; and its effects."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from schemas.dispatch import DrainSession, StopAttempt
from schemas.instants import Instant
from streams.core.effects import Look, Order, SchedulerEffect
from streams.core.fairness import charged
from streams.core.pool_state import Ended, Entry, PoolState, Share, Shown, Worker

STOP_AGAIN_MS = 1_000
LOOK_AGAIN_MS = 1_000
DRAIN_AGAIN_MS = 5_000

V = TypeVar("V")


def _own(current: Mapping[str, V], original: Mapping[str, V]) -> dict[str, V]:
    """``current`` where this step has copied it already, else a copy."""
    return current if isinstance(current, dict) and current is not original else dict(current)


class Draft:
    """Mutable within one step only; ``frozen()`` ends it. Mappings are read freely and written by the methods."""

    def __init__(self, state: PoolState, now: Instant) -> None:
        self.state = state
        self.now = max(state.now, now)
        self.ear, self.ticks, self.ticked_at = state.ear, state.ticks, state.ticked_at
        self.shown, self.shown_at = state.shown, state.shown_at
        self.numbers, self.numbers_at = state.numbers, state.numbers_at
        self.durations = state.durations
        self.jobs: Mapping[str, Entry] = state.jobs
        self.workers: Mapping[str, Worker] = state.workers
        self.ended: Mapping[str, Ended] = state.ended
        self.shares: Mapping[str, Share] = state.shares
        self.effects: list[SchedulerEffect] = []

    def frozen(self) -> PoolState:
        """The state after the step."""
        return PoolState(
            pool=self.state.pool,
            now=self.now,
            ear=self.ear,
            ticks=self.ticks,
            ticked_at=self.ticked_at,
            shown_at=self.shown_at,
            jobs=self.jobs,
            workers=self.workers,
            ended=self.ended,
            shares=self.shares,
            durations=self.durations,
            shown=self.shown,
            numbers=self.numbers,
            numbers_at=self.numbers_at,
        )

    def put(self, entry: Entry) -> None:
        """Know this job."""
        self.jobs = _own(self.jobs, self.state.jobs)
        self.jobs[entry.job_id] = entry

    def end(self, job_id: str, ended: Ended) -> None:
        """Forget the job but for its last version, so that a late message can't bring it back."""
        if job_id in self.jobs:
            self.jobs = _own(self.jobs, self.state.jobs)
            del self.jobs[job_id]
        self.ended = _own(self.ended, self.state.ended)
        self.ended.pop(job_id, None)  # the newest are last
        self.ended[job_id] = ended

    def revive(self, entry: Entry) -> None:
        """Know a job again that had ended."""
        if entry.job_id in self.ended:
            self.ended = _own(self.ended, self.state.ended)
            del self.ended[entry.job_id]
        self.put(entry)

    def put_worker(self, worker: Worker) -> None:
        """Know this worker."""
        self.workers = _own(self.workers, self.state.workers)
        self.workers[worker.worker_id] = worker

    def forget_workers(self, worker_ids: Collection[str]) -> None:
        """Know these workers no more."""
        self.workers = _own(self.workers, self.state.workers)
        for worker_id in worker_ids:
            self.workers.pop(worker_id, None)

    def charge(self, user_id: str, work: float) -> None:
        """Count work handed to a user; negative where it came to nothing."""
        self.shares = _own(self.shares, self.state.shares)
        self.shares[user_id] = charged(self.shares.get(user_id), work, self.now)

    def show(self, shown: dict[str, Shown]) -> None:
        """Remember which places watchers were shown."""
        self.shown, self.shown_at = shown, self.now

    def version_of(self, job_id: str) -> int:
        """The newest version known of a job, -1 if none."""
        known = self.jobs.get(job_id) or self.ended.get(job_id)
        return -1 if known is None else known.version

    def look(self, job_id: str) -> None:
        """Ask for a document."""
        self.effects.append(Look(job_id))

    def look_for(self, worker: Worker, job_id: str) -> None:
        """Ask for the document of a job that a worker names, at most once a second."""
        if self.now - worker.looked_at >= LOOK_AGAIN_MS:
            if worker.worker_id in self.workers:
                self.put_worker(replace(self.workers[worker.worker_id], looked_at=self.now))
            self.look(job_id)

    def stop(self, worker_id: str, session: str | None, job_id: str, attempt: int, reason: str) -> None:
        """Order a worker to stop an attempt; the same order at most once a second."""
        worker = self.workers.get(worker_id)
        session = session or (worker.session if worker else None)
        if session is None:
            return  # nobody to address: the first beat that names the attempt is answered
        if worker is not None:
            last = worker.stopped
            if last is not None and last[:2] == (job_id, attempt) and self.now - last[2] < STOP_AGAIN_MS:
                return
            self.put_worker(replace(worker, stopped=(job_id, attempt, self.now)))
        order = StopAttempt(worker_id=worker_id, session=session, job_id=job_id, attempt=attempt, reason=reason)
        self.effects.append(Order(order))

    def drain(self, worker: Worker) -> None:
        """Order a worker's session to drain as its mark says, and remember when."""
        self.put_worker(replace(worker, drained_at=self.now))
        order = DrainSession(worker_id=worker.worker_id, session=worker.session, now=bool(worker.drain))
        self.effects.append(Order(order))
