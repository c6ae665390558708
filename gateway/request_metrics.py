"""RED of HTTP: how many requests, how they were answered and how long that took, for every process that answers some.

The gateway and the admin API count alike, under the same names; Prometheus tells them apart by their job.
"""

from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram

from repo.metrics import SHORT_S, Read, one

NO_ROUTE = "none"  # nothing is at that address
# Lives as long as its client listens; how long that is says nothing about us.
STREAMS = frozenset({"/api/live/events"})
_Children: TypeAlias = "tuple[Counter, Histogram | None]"


class RequestMetrics:
    """One process's."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """``registry``: the process's; None: one that nobody asks."""
        shown = CollectorRegistry(auto_describe=True) if registry is None else registry
        self._requests = Counter(
            "openv_http_requests_total", "Answered.", ("route", "method", "status"), registry=shown
        )
        self._seconds = Histogram(
            "openv_http_request_duration_seconds",
            "From the head to the end of the answer; event streams are left out.",
            ("route", "method"),
            buckets=SHORT_S,
            registry=shown,
        )
        self._in_flight = 0
        self._children: dict[tuple[str, str, int], _Children] = {}
        Read(shown).gauge(
            "openv_http_requests_in_flight", "Being answered now, event streams too.", lambda: one(self._in_flight)
        )

    def began(self) -> None:
        """A request is here."""
        self._in_flight += 1

    def ended(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """It is over. ``route``: the template. ``status`` 0: its client did not wait for an answer."""
        self._in_flight -= 1
        key = (route or NO_ROUTE, method, status // 100)
        requests, duration = self._children.get(key) or self._new_children(key)
        requests.inc()
        if duration is not None:
            duration.observe(seconds)

    def _new_children(self, key: tuple[str, str, int]) -> _Children:
        route, method, hundreds = key
        status = f"{hundreds}xx" if hundreds else "gone"
        duration = None if route in STREAMS else self._seconds.labels(route, method)
        children = self._children[key] = (self._requests.labels(route, method, status), duration)
        return children
