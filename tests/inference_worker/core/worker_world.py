"""Makers of inputs and a driver, shared by the tests of the worker's core."""

from pathlib import Path
from typing import Any, TypeVar

from inference_worker.core.effects import Effect, Report, Say
from inference_worker.core.inputs import Acked, ChildGone, Heard, Input, NotStored, Stored, StoredSome, Tick
from inference_worker.core.limits import Identity, Limits
from inference_worker.core.step import step
from inference_worker.core.worker import Worker, new_worker
from inference_worker.messages import (
    AttemptStopped,
    Done,
    Failed,
    Heartbeat,
    Loading,
    Media,
    MediaFile,
    Preview,
    Progress,
    Ready,
    Unloadable,
)
from schemas.commands import AttemptFailed
from schemas.dispatch import DrainSession, RunAttempt, StopAttempt, WorkerBeat
from schemas.failures import FailureCode
from schemas.jobs import Output
from schemas.phases import Phase
from schemas.requests import GenerationRequest

ME = Identity(pool="mochi-1", worker_id="w1", session="s1")
LIMITS = Limits()
T = TypeVar("T")


def order(job_id: str = "j1", attempt: int = 1, **members: Any) -> RunAttempt:
    known: dict[str, Any] = {
        "worker_id": ME.worker_id,
        "session": ME.session,
        "pool": ME.pool,
        "job_id": job_id,
        "user_id": "u1",
        "run": 1,
        "attempt": attempt,
        "request": GenerationRequest(prompt="a corgi"),
        "execution_timeout_ms": 600_000,
        "assigned_at": 0,
    }
    return RunAttempt(**{**known, **members})


def stop(job_id: str = "j1", attempt: int = 1, session: str = ME.session) -> StopAttempt:
    return StopAttempt(worker_id=ME.worker_id, session=session, job_id=job_id, attempt=attempt)


def drain(*, now: bool = False) -> DrainSession:
    return DrainSession(worker_id=ME.worker_id, session=ME.session, now=now)


def media() -> Media:
    def one(name: str, kind: str) -> MediaFile:
        return MediaFile(path=Path(name), bytes=3, sha256="00", media_type=kind)

    return Media(
        video=one("video.mp4", "video/mp4"),
        poster=one("poster.jpg", "image/jpeg"),
        thumbnail=one("thumbnail.webp", "image/webp"),
        width=96,
        height=64,
        frames=7,
        fps=24,
        duration=7 / 24,
    )


def ready(child: int = 1) -> Heard:
    return Heard(child, Ready(engine="tiny", device="CPU, 2 threads"))


def loading(child: int = 1) -> Heard:
    return Heard(child, Loading(engine="tiny", step=1, steps=2))


def unloadable(child: int = 1) -> Heard:
    return Heard(child, Unloadable(engine="tiny", code=FailureCode.MODEL_UNAVAILABLE, message="no weights"))


def heartbeat(child: int = 1, progress: int = 0) -> Heard:
    return Heard(child, Heartbeat(progress=progress))


def progress(
    step_: int = 1, steps: int = 10, phase: Phase = Phase.DENOISE, child: int = 1, job_id: str = "j1"
) -> Heard:
    message = Progress(
        job_id=job_id, attempt=1, phase=phase, step=step_, steps=steps, elapsed_ms=step_ * 100, phase_ms=step_ * 100
    )
    return Heard(child, message)


def preview(child: int = 1, job_id: str = "j1") -> Heard:
    return Heard(child, Preview(job_id=job_id, attempt=1, step=1, steps=10, jpeg=b"\xff\xd8"))


def done(child: int = 1, job_id: str = "j1", attempt: int = 1) -> Heard:
    return Heard(child, Done(job_id=job_id, attempt=attempt, media=media()))


def failed(child: int = 1, job_id: str = "j1", attempt: int = 1, code: FailureCode = FailureCode.ENGINE_ERROR) -> Heard:
    return Heard(child, Failed(job_id=job_id, attempt=attempt, code=code, message="it failed"))


def stopped(child: int = 1, job_id: str = "j1", attempt: int = 1) -> Heard:
    return Heard(child, AttemptStopped(job_id=job_id, attempt=attempt))


def gone(child: int = 1) -> ChildGone:
    return ChildGone(child, "The model's process was killed by SIGKILL.")


def stored(job_id: str = "j1", attempt: int = 1) -> Stored:
    return Stored(job_id, attempt, Output(width=96, height=64))


def stored_some(step_: int = 1) -> StoredSome:
    return StoredSome("j1", 1, step_, 3)


def not_stored(job_id: str = "j1", attempt: int = 1) -> NotStored:
    return NotStored(job_id, attempt, FailureCode.STORAGE_UNAVAILABLE, "S3 does not answer")


class Driver:
    """A worker that is fed inputs; keeps every effect. ``acking``: each report is acknowledged at once."""

    def __init__(self, *, acking: bool = True, limits: Limits = LIMITS) -> None:
        self.now = 1_000
        self.worker: Worker = new_worker(ME, limits, self.now)
        self.effects: list[Effect] = []
        self.acking = acking

    def feed(self, *inputs: Input) -> list[Effect]:
        """What these inputs brought about."""
        begin = len(self.effects)
        for given in inputs:
            self.worker, effects = step(self.worker, given, self.now)
            self.effects += effects
            for effect in effects:
                if self.acking and isinstance(effect, Report):
                    self.feed(Acked(effect.command.command_id))
        return self.effects[begin:]

    def wait(self, ms: int, heart: bool = True) -> list[Effect]:
        """Let time pass in ticks of 250 ms; the child's heart beats and counts steps, unless told otherwise."""
        begin = len(self.effects)
        for at in range(self.now + 250, self.now + ms + 1, 250):
            self.now = at
            if heart and self.worker.child.here:
                self.feed(heartbeat(self.worker.child.number, at))
            self.feed(Tick())
        return self.effects[begin:]

    def ready(self) -> "Driver":
        self.feed(Tick(), ready())
        return self

    def busy(self) -> "Driver":
        self.ready().feed(order())
        return self

    def uploading(self) -> "Driver":
        self.busy().feed(done())
        return self

    def reports(self) -> list[str]:
        return [effect.command.command_id.rsplit(":", 1)[1] for effect in self.effects if isinstance(effect, Report)]

    def beats(self) -> list[WorkerBeat]:
        return of(WorkerBeat, [effect.message for effect in self.effects if isinstance(effect, Say)])


def of(kind: type[T], items: list[Any]) -> list[T]:
    return [item for item in items if isinstance(item, kind)]


def said(effects: list) -> list:
    return [effect.message for effect in effects if isinstance(effect, Say)]


def failures(driver: Driver) -> list[FailureCode]:
    return [report.command.code for report in of(Report, driver.effects) if isinstance(report.command, AttemptFailed)]
