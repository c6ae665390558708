"""What a gateway counts of its requests and decisions, and what it shows of the rest (``docs/observability.md``)."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.core.tally import Tally
from gateway.core.window import Window
from gateway.request_metrics import RequestMetrics
from repo.clock import now_ms
from repo.metrics import SHORT_S, Beat, Read, Sample, labelled, one, show_beat

KINDS = ("ws", "sse")
# A caller waits for two seconds: what the alert asks (1.5 s) and the end are bounds of their own.
DECISION_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0)


class GatewayMetrics:
    """One gateway's. ``tally`` is written by the live connections, ``beat`` runs in the loop."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """``registry``: the process's; None: one that nobody asks."""
        self.registry = CollectorRegistry(auto_describe=True) if registry is None else registry
        self.tally = Tally()
        self.beat = Beat()
        self.requests = RequestMetrics(self.registry)
        self._decisions = Counter(
            "openv_decisions_total", "Commands, by what their caller heard.", ("outcome",), registry=self.registry
        )
        self._deciding = Histogram(
            "openv_decision_wait_seconds", "How long the caller waited.", buckets=DECISION_S, registry=self.registry
        )
        self._delay = Histogram(
            "openv_socket_delay_seconds",
            "From an event's place in the log to its frame on the way, for events that somebody watches.",
            buckets=SHORT_S,
            registry=self.registry,
        )
        self._read = Read(self.registry)
        self._show_connections()

    def decided(self, outcome: str, seconds: float) -> None:
        """A command was answered, or its caller was told that it is late, or not recorded."""
        self._decisions.labels(outcome).inc()
        self._deciding.observe(seconds)

    def told(self, delay_ms: int) -> None:
        """An event was handed to those who watch it, so long after it was written down."""
        self._delay.observe(max(0, delay_ms) / 1000)

    def _show_connections(self) -> None:
        tally, counter = self.tally, self._read.counter
        show_beat(self.registry, self.beat.age)
        counter(
            "openv_sockets_opened_total",
            "Live connections: sockets and event streams.",
            lambda: [((kind,), tally.opened[kind]) for kind in KINDS],
            ("kind",),
        )
        counter(
            "openv_sockets_closed_total",
            "By the code that we closed it with; lost: by its client or the network.",
            lambda: labelled(tally.closed),
            ("code",),
        )
        counter("openv_socket_frames_total", "Frames sent.", lambda: one(tally.frames))
        counter("openv_socket_sent_bytes_total", "Bytes of these frames.", lambda: one(tally.bytes))
        counter("openv_socket_conflated_total", "Progress that a newer one replaced.", lambda: one(tally.conflated))
        counter(
            "openv_socket_replays_total",
            "Subscriptions: true, with all that was missed; false, with a snapshot.",
            lambda: [(("true",), tally.resumed), (("false",), tally.shown)],
            ("recovered",),
        )
        counter("openv_feed_gaps_total", "Records that this gateway never saw.", lambda: one(tally.gaps))

    def watch_open(self, open_by_kind: Callable[[], dict[str, int]]) -> None:
        """Show how many live connections there are. Once."""
        self._read.gauge("openv_sockets_open", "Live connections.", lambda: labelled(open_by_kind()), ("kind",))

    def watch_feed(self, window: Window, caught_up: Callable[[], bool]) -> None:
        """Show what is kept of the past. Once."""
        gauge = self._read.gauge
        gauge("openv_window_bytes", "Events in memory.", lambda: one(window.bytes))
        gauge(
            "openv_window_age_seconds",
            "How far back the events in memory reach.",
            lambda: one(0.0 if window.oldest is None else max(0.0, (now_ms() - window.oldest) / 1000)),
        )
        gauge("openv_feed_caught_up", "0: it reads what it missed, and is not ready.", lambda: one(float(caught_up())))

    def watch_servers(self, names: tuple[str, ...], missing: Callable[[], list[str]]) -> None:
        """Show which servers did not answer the last time. Once."""

        def look() -> Iterator[Sample]:
            away = missing()
            for name in names:
                yield (name,), float(name in away)

        self._read.gauge("openv_server_away", "1: it did not answer a moment ago.", look, ("server",))

    def watch_decisions(self, waiting: Callable[[], int]) -> None:
        """Show how many callers wait for the ledger. Once."""
        self._read.gauge("openv_decisions_waiting", "Callers that wait for the ledger.", lambda: one(waiting()))
