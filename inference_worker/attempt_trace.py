"""The attempt in a worker's hands as spans: one for the attempt, below it one for each phase.

Both follow from what the core is told and decides, so that they say what happened whichever way it ended. Of a worker
that is killed, the phases that were over are known, and the trace goes on with the next attempt.
"""

from collections.abc import Iterable

import structlog

from inference_worker.core.effects import Effect, Generate, Report, Upload
from inference_worker.core.inputs import Heard, Input
from inference_worker.core.worker import Worker
from inference_worker.messages import Progress
from repo import tracing
from repo.spans import SILENT, Attributes, Kind, Span
from schemas.codec import Message
from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptStarted
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat
from schemas.phases import Phase
from schemas.topics import PROGRESS, TOPIC_OF
from schemas.traces import trace_id_of

ORDERS_MAX = 64  # that came and were not begun: there is one, or a few for slots that share a partition


class AttemptTrace:
    """One worker's. Every method costs nothing where tracing is off."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, int], str | None] = {}
        self._key: tuple[str, int] | None = None
        self._from: str | None = None
        self._attempt: Span = SILENT
        self._phase: Span = SILENT
        self._phase_name: Phase | None = None

    def ordered(self, order: object, traceparent: str | None) -> None:
        """An order came, and with it where it came from."""
        if tracing.is_on() and isinstance(order, RunAttempt):
            self._orders[order.job_id, order.attempt] = traceparent
            while len(self._orders) > ORDERS_MAX:
                del self._orders[next(iter(self._orders))]

    def heard(self, given: Input) -> None:
        """Before the core takes it in: which phase the child is in."""
        if self._key is None or not isinstance(given, Heard) or not isinstance(given.message, Progress):
            return
        said = given.message
        if (said.job_id, said.attempt) == self._key:
            self._enter(said.phase, said.phase_ms)

    def decided(self, effects: Iterable[Effect], worker: Worker) -> None:
        """Before the shell carries them out: what is reported of an attempt comes from it, also that it began."""
        if not tracing.is_on():
            return
        for effect in effects:
            if isinstance(effect, Generate):
                self._begin(effect.order, worker)
            elif isinstance(effect, Upload) and (effect.order.job_id, effect.order.attempt) == self._key:
                self._enter(Phase.UPLOAD, 0)

    def reported(self, effect: Effect) -> None:
        """After what was decided was put on its way: a verdict ends the attempt."""
        if self._key is None or not isinstance(effect, Report) or isinstance(effect.command, AttemptStarted):
            return
        command = effect.command
        if (command.job_id, command.attempt) != self._key:
            return
        if isinstance(command, AttemptFailed):
            self._attempt.fail(command.code.value)
        elif isinstance(command, AttemptHandedBack):
            self._attempt.set({"openv.handed_back": True})
        self._end()

    def after(self, worker: Worker) -> None:
        """Once an input is taken in: an attempt that ended without a report (a stop) is over as well."""
        if self._key is not None and (worker.attempt is None or worker.attempt.key != self._key):
            self._attempt.set({"openv.stopped": True})
            self._end()

    def traceparent(self, message: Message) -> str | None:
        """What a message of this worker carries; nothing what is said all the time (beats, progress)."""
        if not tracing.is_on() or isinstance(message, WorkerBeat) or TOPIC_OF[type(message)] is PROGRESS:
            return None
        job_id = getattr(message, "job_id", None)
        if job_id is None:
            return None
        key = (job_id, getattr(message, "attempt", None))
        if isinstance(message, AssignmentDeclined):
            return self._orders.pop((message.job_id, message.attempt), None) or tracing.traceparent(job_id)
        if key != self._key:
            return tracing.traceparent(job_id)
        # Should the worker die, its attempt is never told of, and what follows from its start would hang in the air.
        return self._from if isinstance(message, AttemptStarted) else self._attempt.traceparent

    def working(self, order: RunAttempt) -> Span:
        """The span that work of this order is part of. Also what every line of this task's log says from here on."""
        bound = {"job_id": order.job_id, "user_id": order.user_id, "attempt": order.attempt}
        if tracing.is_on():
            bound["trace_id"] = trace_id_of(order.job_id)
        structlog.contextvars.bind_contextvars(**bound)
        return self._phase if (order.job_id, order.attempt) == self._key else SILENT

    def _begin(self, order: RunAttempt, worker: Worker) -> None:
        self._end()
        parent = self._orders.pop((order.job_id, order.attempt), None)
        self._key = (order.job_id, order.attempt)
        self._from = parent or tracing.traceparent(order.job_id)
        attributes: Attributes = {
            "openv.attempt": order.attempt,
            "openv.worker": worker.identity.worker_id,
            "openv.pool": worker.identity.pool,
            "openv.engine": worker.engine,
            "openv.device": worker.device,
            "openv.video.frames": order.request.num_frames,
            "openv.video.width": order.request.width,
            "openv.video.height": order.request.height,
            "openv.video.steps": order.request.steps,
        }
        self._attempt = tracing.begin(
            "attempt", Kind.CONSUMER, job_id=order.job_id, parent=parent, attributes=attributes
        )

    def _enter(self, phase: Phase, since_ms: int) -> None:
        if phase is self._phase_name or self._key is None:
            return
        self._phase.end()
        self._phase_name = phase
        self._phase = tracing.begin(
            phase.value,
            job_id=self._key[0],
            parent=self._attempt.traceparent,
            attributes={"openv.attempt": self._key[1]},
            started_ns=tracing.now_ns() - since_ms * tracing.NS_PER_MS,
        )

    def _end(self) -> None:
        self._phase.end()
        self._attempt.end()
        self._attempt = self._phase = SILENT
        self._key = self._phase_name = None
