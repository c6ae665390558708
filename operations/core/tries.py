"""How often somebody failed of late, by where they come from: a sliding window, of the newest places only. Pure."""

from collections import OrderedDict, deque

PLACES_MAX = 10_000


class Tries:
    """``limit`` failures in ``window_ms``; after that a place has to wait."""

    def __init__(self, limit: int, window_ms: int) -> None:
        self._limit = limit
        self._window_ms = window_ms
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def failed(self, place: str, now: int) -> None:
        """Note a failure at ``now`` (ms)."""
        times = self._failures.setdefault(place, deque(maxlen=self._limit))
        self._failures.move_to_end(place)
        times.append(now)
        if len(self._failures) > PLACES_MAX:
            self._failures.popitem(last=False)

    def wait_ms(self, place: str, now: int) -> int:
        """How long this place has to wait; 0: not at all."""
        times = self._failures.get(place)
        if times is None or len(times) < self._limit:
            return 0
        return max(0, times[0] + self._window_ms - now)
