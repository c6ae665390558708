"""One attempt inside the child: run the engine, encode what it yields, say how far it is, and name how it ended."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import structlog

from inference_worker.encode import Frames, Picture, encode, preview_jpeg
from inference_worker.engines.protocol import Engine, EngineFailure, Step, Stopped
from inference_worker.messages import AttemptStopped, Done, Failed, FromChild, Generate, Media, Preview, Progress
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import whole_frames

SHOWN_CALLS = 12

log = structlog.get_logger()


class AttemptRun:
    """Runs once. ``fatal`` tells afterwards whether the process must be replaced."""

    def __init__(
        self,
        engine: Engine,
        asked: Generate,
        stop: Callable[[], bool],
        send: Callable[[FromChild], None],
        count_step: Callable[[], None],
        preview_ms: int,
    ) -> None:
        self.fatal = False
        self._engine = engine
        self._asked = asked
        self._stop = stop
        self._send = send
        self._count_step = count_step
        self._preview_ms = preview_ms
        self._frames = whole_frames(asked.request.num_frames)
        self._phase: Phase | None = None
        self._began = self._phase_began = _now()
        self._previewed = self._began - preview_ms  # the first picture waits for nothing
        self._decoded = False
        self._encoded = 0

    def run(self) -> Done | Failed | AttemptStopped:
        """Make the video. Never raises an ``Exception``: every end is a message."""
        job_id, attempt = self._asked.job_id, self._asked.attempt
        structlog.contextvars.bind_contextvars(job_id=job_id, attempt=attempt)  # until the next attempt
        try:
            return Done(job_id=job_id, attempt=attempt, media=self._make())
        except Stopped:
            return AttemptStopped(job_id=job_id, attempt=attempt)
        except Exception as error:  # noqa: BLE001 - it is told and logged, and the child lives on
            code, message = self._explained(error)
            return Failed(job_id=job_id, attempt=attempt, code=code, message=message)

    def _make(self) -> Media:
        request = self._asked.request
        with closing(self._engine.generate(request, self._report, self._stop)) as video:
            return encode(
                self._watched(video),
                self._asked.directory,
                fps=request.fps,
                expected=self._frames,
                progress=self._on_encoded,
            )

    def _watched(self, video: Iterator[Frames]) -> Iterator[Frames]:
        """The engine's chunks; notes when the last one has come, and shows the newest."""
        made = 0
        for chunk in video:
            made += len(chunk)
            yield chunk
            self._show(partial(_last_frame, chunk), made, self._frames)
        self._decoded = True
        self._report(Step(Phase.ENCODE, min(self._encoded, self._frames), self._frames))

    def _on_encoded(self, encoded: int) -> None:
        """Encoding goes along with decoding; as a phase it begins when decoding is over, so phases never go back."""
        if self._stop():
            raise Stopped
        self._encoded = encoded
        if self._decoded:
            self._report(Step(Phase.ENCODE, min(encoded, self._frames), self._frames))

    def _report(self, step: Step) -> None:
        self._count_step()
        now = _now()
        if step.phase is not self._phase:
            self._phase, self._phase_began = step.phase, now
        self._send(
            Progress(
                job_id=self._asked.job_id,
                attempt=self._asked.attempt,
                phase=step.phase,
                step=step.step,
                steps=step.steps,
                elapsed_ms=now - self._began,
                phase_ms=now - self._phase_began,
            )
        )
        if step.preview:
            self._show(step.preview, step.step, step.steps)

    def _show(self, picture: Callable[[], Picture], step: int, steps: int) -> None:
        """Send a preview, unless the last one was a moment ago."""
        now = _now()
        if now - self._previewed < self._preview_ms:
            return
        self._previewed = now
        job_id, attempt = self._asked.job_id, self._asked.attempt
        self._send(Preview(job_id=job_id, attempt=attempt, step=step, steps=steps, jpeg=preview_jpeg(picture())))

    def _explained(self, error: Exception) -> tuple[FailureCode, str]:
        """Code and words for an error. A library's own words may quote the prompt: they are neither sent nor logged."""
        code, message = FailureCode.ENGINE_ERROR, f"The model failed with {type(error).__name__}."
        match error:
            case EngineFailure():
                code, message, self.fatal = error.code, error.message, error.fatal
            case MemoryError():
                code, message = FailureCode.OUT_OF_MEMORY, "The worker ran out of memory."
            case OSError():
                reason = os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
                code, message = FailureCode.TRANSIENT_ERROR, f"The worker could not write the video: {reason}."
        calls = traceback.extract_tb(error.__traceback__)[-SHOWN_CALLS:]
        log.error(
            "attempt_failed",
            job_id=self._asked.job_id,
            attempt=self._asked.attempt,
            code=code,
            error=type(error).__name__,
            calls=[f"{call.filename}:{call.lineno} {call.name}" for call in calls],
        )
        return code, message


def _last_frame(chunk: Frames) -> Picture:
    last: Picture = chunk[-1]
    return last


def _now() -> int:
    """Milliseconds of the monotonic clock."""
    return time.monotonic_ns() // 1_000_000
