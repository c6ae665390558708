"""One step being worked out: the worker as it is by now, and the effects so far. Lives no longer than ``step``."""

from dataclasses import replace
from typing import Any

from inference_worker.core.attempt import Attempt, Happening, Reports, Stage, after
from inference_worker.core.effects import Effect, Report, Say, Show, WorkerReport
from inference_worker.core.progress import advanced
from inference_worker.core.worker import Fact, Worker, moved
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat, WorkerGone
from schemas.phases import Phase
from schemas.progress import AttemptProgress


class Turn:
    def __init__(self, worker: Worker, now: int) -> None:
        self.worker = worker
        self.now = now
        self.effects: list[Effect] = []
        self.beat_wanted = False

    @property
    def attempt(self) -> Attempt | None:
        return self.worker.attempt

    @property
    def running(self) -> Attempt:
        """The attempt, where there must be one."""
        if self.worker.attempt is None:
            raise AssertionError("no attempt runs")
        return self.worker.attempt

    def current(self, job_id: str, attempt: int) -> Attempt | None:
        """The running attempt, if it is the one that is meant."""
        one = self.worker.attempt
        return one if one and one.key == (job_id, attempt) else None

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def change(self, **members: Any) -> None:
        self.worker = replace(self.worker, **members)

    def change_attempt(self, **members: Any) -> None:
        self.worker = replace(self.worker, attempt=replace(self.running, **members))

    def move(self, fact: Fact) -> None:
        self.change(state=moved(self.worker.state, fact))

    def happens(self, happening: Happening) -> Stage | None:
        """Move the attempt on. None: it changes nothing there, and nothing was changed."""
        stage = after(self.running.stage, happening)
        if stage:
            self.change_attempt(stage=stage)
        return stage

    def reports(self) -> Reports:
        return Reports(self.worker.identity, self.running.order)

    def report(self, command: WorkerReport | None) -> None:
        """Tell the ledger; the attempt is not over before it is acknowledged. None: there is nothing to tell."""
        if command is None:
            return
        self.change_attempt(unacked=(*self.running.unacked, command.command_id))
        self.emit(Report(command))

    def show_progress(self, phase: Phase, step: int, steps: int, phase_ms: int, *, urgent: bool = False) -> None:
        """Tell watchers how far the attempt is; unless it is urgent, not if they were told a moment ago."""
        attempt, worker = self.running, self.worker
        track, shown = advanced(attempt.track, phase, step, steps, phase_ms, self.now, worker.limits)
        if urgent and not shown:
            track, shown = replace(track, shown_at=self.now), True
        self.change_attempt(track=track)
        if not shown:
            return
        message = AttemptProgress(
            user_id=attempt.order.user_id,
            job_id=attempt.order.job_id,
            sequence=self.next_number(),
            attempt=attempt.order.attempt,
            worker_id=worker.identity.worker_id,
            phase=phase,
            step=step,
            steps=steps,
            fraction=track.fraction,
            elapsed_ms=self.now - track.began_at,
            eta_ms=None if attempt.waits_for else track.eta_ms,
            waits_for=attempt.waits_for,
        )
        self.emit(Show(message))

    def decline(self, order: RunAttempt, reason: str) -> None:
        identity = self.worker.identity
        message = AssignmentDeclined(
            pool=identity.pool,
            worker_id=identity.worker_id,
            session=identity.session,
            sequence=self.next_number(),
            job_id=order.job_id,
            attempt=order.attempt,
            reason=reason,
        )
        self.emit(Say(message))

    def beat(self) -> None:
        worker = self.worker
        identity = worker.identity
        message = WorkerBeat(
            pool=identity.pool,
            worker_id=identity.worker_id,
            session=identity.session,
            sequence=self.next_number(),
            state=worker.state,
            job_id=worker.attempt.order.job_id if worker.attempt else None,
            attempt=worker.attempt.order.attempt if worker.attempt else None,
            engine=worker.engine,
            device=worker.device,
        )
        self.change(beat_at=self.now)
        self.emit(Say(message))

    def say_gone(self) -> None:
        identity = self.worker.identity
        message = WorkerGone(
            pool=identity.pool,
            worker_id=identity.worker_id,
            session=identity.session,
            sequence=self.next_number(),
        )
        self.emit(Say(message))

    def next_number(self) -> int:
        self.change(sequence=self.worker.sequence + 1)
        return self.worker.sequence
