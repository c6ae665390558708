"""What a worker counts of its attempts, its child and its uploads, and what its GPU says (``docs/observability.md``).

A process with many slots (``OPENV_ENGINE=runpod``) has one of these for all of them.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram

from inference_worker.core.effects import Effect, Report, StartChild
from inference_worker.core.inputs import ChildGone, Heard, Input
from inference_worker.core.worker import Worker
from inference_worker.messages import AttemptStopped, Done, Failed, Progress
from repo.metrics import LONG_S, Beat, Read, Sample, show_beat
from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptSucceeded
from schemas.dispatch import WorkerState

SERVERS = ("kafka", "mongodb", "s3")


class WorkerMetrics:
    """One process's."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """``registry``: the process's; None: one that nobody asks."""
        self.registry = CollectorRegistry(auto_describe=True) if registry is None else registry
        self.beat = Beat()
        self._workers: list[Callable[[], Worker]] = []
        self._phases: dict[tuple[str, int], tuple[str, int]] = {}
        self._phase = Histogram(
            "openv_worker_phase_seconds",
            "The phases of attempts, as the model goes through them.",
            ("phase",),
            buckets=LONG_S,
            registry=self.registry,
        )
        self._attempts = self._counter("openv_worker_attempts_total", "Attempts that ended here.", "outcome", "code")
        self._starts = self._counter("openv_worker_child_starts_total", "Starts of the model's process.")
        self._ends = self._counter("openv_worker_child_ends_total", "Its ends, wanted or not.")
        self._retries = self._counter("openv_worker_send_retries_total", "Messages that Kafka did not take.", "outbox")
        self._uploads = Histogram(
            "openv_worker_upload_seconds",
            "From the finished video to its place in a store, waits for stores included.",
            ("result",),
            buckets=LONG_S,
            registry=self.registry,
        )
        for result in ("stored", "failed"):
            self._uploads.labels(result)  # a series that begins with 1 has never risen
        self._uploaded = self._counter("openv_worker_uploaded_bytes_total", "Stored of videos and their pictures.")
        self._show(Read(self.registry))

    def watch(self, worker: Callable[[], Worker]) -> None:
        """Show this one's state, too."""
        self._workers.append(worker)

    def heard(self, given: Input) -> None:
        """A worker took this in."""
        match given:
            case ChildGone():
                self._ends.inc()
            case Heard(message=Progress() as told):
                self._progressed((told.job_id, told.attempt), told.phase, told.phase_ms)
            case Heard(message=Done() | Failed() | AttemptStopped() as told):
                self._phase_over(self._phases.pop((told.job_id, told.attempt), None))

    def performed(self, effect: Effect) -> None:
        """A worker does this."""
        match effect:
            case StartChild():
                self._starts.inc()
            case Report(command=AttemptSucceeded()):
                self._attempts.labels("succeeded", "").inc()
            case Report(command=AttemptFailed() as failed):
                self._attempts.labels("failed", failed.code).inc()
            case Report(command=AttemptHandedBack()):
                self._attempts.labels("handed_back", "").inc()

    def uploaded(self, size: int, seconds: float) -> None:
        """All files of an attempt are in a store; ``size`` in bytes."""
        self._uploads.labels("stored").observe(seconds)
        self._uploaded.inc(size)

    def not_uploaded(self, seconds: float) -> None:
        """They are not, and it was given up."""
        self._uploads.labels("failed").observe(seconds)

    def retried(self, outbox: str) -> None:
        """Kafka did not take a message of this outbox; it is sent again."""
        self._retries.labels(outbox).inc()

    def _progressed(self, key: tuple[str, int], phase: str, phase_ms: int) -> None:
        known = self._phases.get(key)
        if known is not None and known[0] != phase:
            self._phase_over(known)
        elif known is None and len(self._phases) > len(self._workers):
            self._phases.clear()  # of attempts whose child died
        self._phases[key] = (phase, phase_ms)

    def _phase_over(self, known: tuple[str, int] | None) -> None:
        if known is not None:
            self._phase.labels(known[0]).observe(known[1] / 1000)

    def _show(self, read: Read) -> None:
        show_beat(self.registry, self.beat.age)
        read.gauge("openv_worker_state", "Workers of this process in this state.", self._states, ("state",))
        read.gauge(
            "openv_worker_info",
            "Which pool they work for, with which engine on what.",
            self._engines,
            ("pool", "engine", "device"),
        )
        read.gauge("openv_worker_waiting_for_server", "Attempts that wait for it.", self._waits, ("server",))

    def _states(self) -> Iterator[Sample]:
        states = Tally(worker().state for worker in list(self._workers))
        for state in WorkerState:
            yield (str(state),), states[state]

    def _engines(self) -> Iterator[Sample]:
        workers = [worker() for worker in list(self._workers)]
        found = Tally((one.identity.pool, one.engine, one.device) for one in workers if one.engine)
        yield from found.items()

    def _waits(self) -> Iterator[Sample]:
        attempts = [worker().attempt for worker in list(self._workers)]
        waits = Tally(attempt.waits_for for attempt in attempts if attempt is not None)
        for server in SERVERS:
            yield (server,), waits[server]

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self.registry)
