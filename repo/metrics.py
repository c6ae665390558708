"""What every process measures of itself, and what the parts' own metrics are built of (Prometheus).

Each process has one registry of its own, made at its entry point and handed down; nothing is kept in a module, so that
two gateways of one test count apart. Names begin with ``openv_`` and end with their unit. Values of labels come from
closed lists: a route's template, a state, a code; never what a client sent, and never who a user is.

Numbers that somebody keeps anyway (how far a reader is, how many sockets are open) are read when Prometheus asks, by
the thread that answers it: ``Read``. It sees what the loop is changing, so it takes whole values and copies.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BEAT_S = 0.5
READ_AGAIN = 5  # the loop changed a mapping while we copied it
OTHER = "other"
# Seconds: from what a cache answers to what a worker is given for a video.
SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0)

Sample: TypeAlias = "tuple[Sequence[str], float]"
Look: TypeAlias = "Callable[[], Iterable[Sample]]"


class Read(Collector):
    """Numbers that are looked up when they are asked for: ``gauge`` and ``counter`` name one each.

    A look that fails (what it reads is changed under it, again and again) leaves its samples out this time.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._looks: list[tuple[Callable[[], Metric], Look]] = []
        registry.register(self)

    def gauge(self, name: str, words: str, look: Look, labels: Sequence[str] = ()) -> None:
        """``look()`` yields the labels' values with each number."""
        self._looks.append((lambda: GaugeMetricFamily(name, words, labels=labels), look))

    def counter(self, name: str, words: str, look: Look, labels: Sequence[str] = ()) -> None:
        """As ``gauge``, of what only grows; the name ends with ``_total``."""
        self._looks.append((lambda: CounterMetricFamily(name, words, labels=labels), look))

    def describe(self) -> Iterable[Metric]:
        """The names, so that the registry refuses one that is there twice."""
        return [family() for family, _ in self._looks]

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        for new, look in self._looks:
            family = new()
            for labels, value in steady(look):
                family.add_metric(labels, value)  # type: ignore[attr-defined]  # both kinds have it
            yield family


def one(value: float) -> list[Sample]:
    """The single sample of what has no labels."""
    return [((), value)]


def steady(look: Look) -> list[Sample]:
    """What it yields, of a world that another thread changes meanwhile; nothing where that does not come to an end."""
    for _ in range(READ_AGAIN):
        try:
            return list(look())
        except (RuntimeError, LookupError):  # a mapping changed its size; a deque was emptied between look and take
            continue
    return []


class Beat:
    """How long ago the event loop last had a turn. ``run`` it as a task of the loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()

    def age(self) -> float:
        """Seconds; no more than two beats while all is well. Asked by any thread."""
        return max(0.0, self._clock() - self._at)

    async def run(self) -> None:
        """For ever."""
        while True:
            self._at = self._clock()
            await asyncio.sleep(BEAT_S)


def show_beat(registry: CollectorRegistry, age: Callable[[], float]) -> None:
    """What every process shows of its loop."""
    Read(registry).gauge("openv_loop_beat_age_seconds", "Since the event loop last had a turn.", lambda: one(age()))


class Known:
    """Values for a label whose number nobody bounds: the first ``most`` are told apart, later ones are ``other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """The value, or ``other``."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._most:
            return OTHER
        self._seen.add(value)
        return value


def new_registry(part: str) -> CollectorRegistry:
    """The registry of a process: what the kernel and the interpreter say of it, and which OpenV it is."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a third more samples, for what the process's start says as well
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge("openv_build_info", "Which OpenV this is, and which part.", ("part", "version"), registry=registry)
    build.labels(part, openv_version()).set(1)
    return registry


def openv_version() -> str:
    """As it was installed; a checkout that never was has none."""
    try:
        return version("openv")
    except PackageNotFoundError:
        return "unknown"


def labelled(numbers: Mapping[str, float]) -> list[Sample]:
    """Samples of one label."""
    return [((name,), value) for name, value in list(numbers.items())]
