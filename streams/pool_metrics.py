"""The pools that a process schedules, for operators: looked at when Prometheus asks, each once."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from repo.metrics import Sample, steady
from streams.core.pool_numbers import PoolNumbers, pool_numbers
from streams.core.pool_state import PoolState

POOLS_MOST = 200  # an operator makes one for each endpoint; of more, the first by name are shown


class PoolMetrics(Collector):
    """``states``: the newest of each pool, which no step changes in place. ``now``: ms."""

    def __init__(self, states: Callable[[], list[PoolState]], now: Callable[[], int]) -> None:
        self._states = states
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """The names, so that the registry refuses one that is there twice."""
        return self._families({})

    def collect(self) -> Iterator[Metric]:
        """All pools."""
        found: dict[str, PoolNumbers] = {}

        def look() -> Iterator[Sample]:
            for state in sorted(self._states(), key=lambda one: one.pool)[:POOLS_MOST]:
                found[state.pool] = pool_numbers(state, self._now())
            yield (), len(found)

        steady(look)
        yield from self._families(found)

    def _families(self, found: dict[str, PoolNumbers]) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("openv_queue_jobs", "Jobs that wait (due, later) or run.", labels=("pool", "state"))
        oldest = GaugeMetricFamily(
            "openv_queue_oldest_due_seconds", "For how long the oldest due job waits.", labels=("pool",)
        )
        workers = GaugeMetricFamily(
            "openv_pool_workers", "Workers as the scheduler sees them.", labels=("pool", "state")
        )
        for pool, numbers in found.items():
            jobs.add_metric((pool, "due"), numbers.due)
            jobs.add_metric((pool, "later"), numbers.later)
            jobs.add_metric((pool, "running"), numbers.running)
            oldest.add_metric((pool,), numbers.oldest_ms / 1000)
            for state, count in numbers.workers.items():
                workers.add_metric((pool, state), count)
        yield from (jobs, oldest, workers)
