"""The worker against a world that repeats, delays and reorders: never two attempts, each ended exactly once."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference_worker.core.child_life import ChildPhase
from inference_worker.core.effects import (
    Clean,
    DropUpload,
    Effect,
    Exit,
    Generate,
    KillChild,
    Report,
    Say,
    StartChild,
    StopChild,
    Upload,
)
from inference_worker.core.inputs import Acked, Input, Leave, Tick
from inference_worker.core.limits import Limits
from inference_worker.core.step import step
from inference_worker.core.worker import new_worker
from schemas.dispatch import WorkerBeat, WorkerState
from tests.inference_worker.core.worker_world import (
    ME,
    done,
    drain,
    failed,
    gone,
    heartbeat,
    not_stored,
    order,
    ready,
    stop,
    stopped,
    stored,
    unloadable,
)

JOBS = some.sampled_from(["j1", "j2", "j3"])
ATTEMPTS = some.integers(1, 2)
Key = tuple[str, int]


class World(RuleBasedStateMachine):
    """Plays child, scheduler, ledger and storage. ``said`` and ``ordered`` are there to be repeated later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.worker = new_worker(ME, Limits(), 0)
        self.running: Key | None = None  # what the model was asked for and has not ended
        self.uploading: Key | None = None
        self.dropped: Key | None = None
        self.taken: list[Key] = []
        self.verdicts: dict[Key, list[str]] = {}
        self.stops: set[Key] = set()
        self.cleaned: list[Key] = []
        self.unacked: list[str] = []
        self.child = 0
        self.alive = False
        self.exits = 0
        self.sequence = 0
        self.past: list[Input] = []

    def give(self, given: Input) -> None:
        self.past.append(given)
        self.worker, effects = step(self.worker, given, self.now)
        for effect in effects:
            self.perform(effect)

    def perform(self, effect: Effect) -> None:
        assert self.exits == 0, "nothing after Exit"
        match effect:
            case StartChild():
                assert not self.alive, "one child at a time"
                self.child, self.alive = effect.child, True
            case Generate():
                key = (effect.order.job_id, effect.order.attempt)
                assert self.running is None
                assert self.uploading is None
                assert key not in self.taken, "no attempt twice"
                self.running = key
                self.taken.append(key)
            case Upload():
                assert self.uploading is None
                self.uploading = (effect.order.job_id, effect.order.attempt)
            case Report():
                self.unacked.append(effect.command.command_id)
                if not effect.command.command_id.endswith(":started"):
                    key = (effect.command.job_id, effect.command.attempt)
                    self.verdicts.setdefault(key, []).append(effect.command.command_id)
            case Say():
                self.hear(effect.message)
            case _:
                self.end(effect)

    def end(self, effect: Effect) -> None:
        match effect:
            case KillChild():
                assert effect.child == self.child
                self.running = None
            case StopChild():
                assert (effect.job_id, effect.attempt) == self.running
            case DropUpload():
                self.dropped, self.uploading = self.uploading, None
            case Clean():
                self.cleaned.append((effect.job_id, effect.attempt))
            case Exit():
                self.exits += 1

    def hear(self, message: Any) -> None:
        assert message.sequence > self.sequence
        self.sequence = message.sequence
        if isinstance(message, WorkerBeat) and message.state is WorkerState.READY:
            assert self.running is None
            assert self.uploading is None
            assert not self.unacked, "READY only with every report acknowledged"
            assert self.alive

    @rule(ms=some.sampled_from([100, 1_000, 4_000, 60_000]))
    def time_passes(self, ms: int) -> None:
        self.now += ms
        self.give(Tick())

    @rule(seconds=some.integers(1, 70))
    def time_passes_in_ticks(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1000
            self.give(Tick())

    @rule(job=JOBS, attempt=ATTEMPTS)
    def run(self, job: str, attempt: int) -> None:
        self.give(order(job, attempt))

    @rule(job=JOBS, attempt=ATTEMPTS)
    def stop(self, job: str, attempt: int) -> None:
        if self.worker.attempt and self.worker.attempt.key == (job, attempt):
            self.stops.add((job, attempt))
        self.give(stop(job, attempt))

    @precondition(lambda self: self.alive)
    @rule()
    def child_loads(self) -> None:
        self.give(ready(self.child))

    @precondition(lambda self: self.alive and self.worker.child.phase is ChildPhase.LOADING)
    @rule()
    def child_cannot_load(self) -> None:
        self.give(unloadable(self.child))

    @precondition(lambda self: self.alive)
    @rule()
    def heart_beats(self) -> None:
        self.give(heartbeat(self.child, self.now))

    @precondition(lambda self: self.running)
    @rule(how=some.sampled_from([done, failed, stopped]))
    def child_ends_the_attempt(self, how: Any) -> None:
        assert self.running
        key, self.running = self.running, None
        self.give(how(self.child, *key))

    @precondition(lambda self: self.alive)
    @rule()
    def child_dies(self) -> None:
        self.alive, self.running = False, None
        self.give(gone(self.child))

    @precondition(lambda self: self.uploading)
    @rule(how=some.sampled_from([stored, not_stored]))
    def upload_ends(self, how: Any) -> None:
        assert self.uploading
        key, self.uploading = self.uploading, None
        self.give(how(*key))

    @precondition(lambda self: self.dropped)
    @rule(how=some.sampled_from([stored, not_stored]))
    def a_dropped_upload_had_ended_already(self, how: Any) -> None:
        assert self.dropped
        self.give(how(*self.dropped))

    @precondition(lambda self: self.unacked)
    @rule()
    def ack(self) -> None:
        self.give(Acked(self.unacked.pop(0)))

    @rule(now=some.booleans())
    @precondition(lambda self: self.now > 30_000)
    def drain(self, now: bool) -> None:
        self.give(drain(now=now))

    @precondition(lambda self: self.now > 30_000)
    @rule()
    def leave(self) -> None:
        self.give(Leave())

    @precondition(lambda self: self.past)
    @rule(data=some.data())
    def something_old_arrives_again(self, data: some.DataObject) -> None:
        old = data.draw(some.sampled_from(self.past))
        repeats = not isinstance(old, Tick | Leave)
        # Within a session a child's number is never used again; what the living one says comes once, in order.
        if repeats and getattr(old, "child", None) != self.child:
            self.give(old)

    @invariant()
    def each_attempt_ends_at_most_once(self) -> None:
        assert all(len(verdicts) == 1 for verdicts in self.verdicts.values())
        assert len(self.cleaned) == len(set(self.cleaned))
        assert set(self.verdicts) <= set(self.taken)

    @invariant()
    def each_that_is_over_has_a_verdict_or_was_stopped(self) -> None:
        for key in self.cleaned:
            assert key in self.verdicts or key in self.stops, key

    def teardown(self) -> None:
        """Faults stop: whatever was taken gets its end within bounded time, and the worker is ready or gone."""
        for _ in range(200):
            if self.exits:
                return
            self.now += 1000
            self.give(Tick())
            while self.unacked:
                self.give(Acked(self.unacked.pop(0)))
            if self.alive and self.worker.child.phase is ChildPhase.DYING:
                self.child_dies()
            if self.alive and not self.exits:
                self.give(ready(self.child))
                self.heart_beats()
            if self.running and not self.exits:
                self.child_ends_the_attempt(done)
            if self.uploading and not self.exits:
                self.upload_ends(stored)
        while self.unacked:
            self.give(Acked(self.unacked.pop(0)))
        assert self.worker.state is WorkerState.READY
        assert sorted(self.cleaned) == sorted(self.taken)


World.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestWorkerMachine = World.TestCase
