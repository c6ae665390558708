"""What an admin process counts: its requests, as the gateway does, and the long works that it carries out."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.request_metrics import RequestMetrics
from repo.metrics import LONG_S, Beat, show_beat
from schemas.works import WorkState

# How a work left this process: at its end, in other hands, or back in the queue since the process stops.
DEFECT, GIVEN_UP, LOST, RELEASED = "defect", "given_up", "lost", "released"
OUTCOMES = (str(WorkState.DONE), str(WorkState.FAILED), DEFECT, GIVEN_UP, LOST, RELEASED)


class AdminMetrics:
    """One process's. ``beat`` runs in its loop."""

    def __init__(self, registry: CollectorRegistry | None = None, kinds: Iterable[str] = ()) -> None:
        """``registry``: the process's; None: one that nobody asks. ``kinds``: of works, all of them."""
        self.registry = CollectorRegistry(auto_describe=True) if registry is None else registry
        self.requests = RequestMetrics(self.registry)
        self.beat = Beat()
        self._running = Gauge(
            "openv_admin_works_running", "Long works that this process carries out now.", registry=self.registry
        )
        self._ended = Counter(
            "openv_admin_works_ended_total",
            "Long works, by how they left this process.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self._took = Histogram(
            "openv_admin_work_seconds",
            "Of works that came to their end here, from when this process took them.",
            ("kind",),
            buckets=LONG_S,
            registry=self.registry,
        )
        for kind in kinds:
            for outcome in OUTCOMES:
                self._ended.labels(kind, outcome)  # a series that begins with 1 has never risen
        show_beat(self.registry, self.beat.age)

    def took(self) -> None:
        """This process carries out one more."""
        self._running.inc()

    def left(self, kind: str, outcome: str, seconds: float) -> None:
        """It does so no longer."""
        self._running.dec()
        self._ended.labels(kind, outcome).inc()
        if outcome in (WorkState.DONE, WorkState.FAILED, DEFECT):
            self._took.labels(kind).observe(seconds)

    def left_out(self, kind: str, outcome: str) -> None:
        """One was ended without being taken: others had begun it, and it can't be begun again, or is not to be."""
        self._ended.labels(kind, outcome).inc()
