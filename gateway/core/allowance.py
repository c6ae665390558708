"""How often a key (a user, a socket) may do something: a sliding window of times, kept for the busiest keys only.

This sheds load before it reaches Kafka, at ten times the ledger's limits; the limits themselves are the ledger's.
"""

from collections import OrderedDict, deque


class Allowance:
    """``limit`` times in ``window_ms``. Remembers at most ``keys_max`` keys, the longest unused are forgotten first."""

    def __init__(self, limit: int, window_ms: int, keys_max: int = 10_000) -> None:
        self._limit = limit
        self._window_ms = window_ms
        self._keys_max = keys_max
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def take(self, key: str, now: int) -> int:
        """Count one at ``now`` (ms) and return 0; or count nothing and return how many ms to wait, at least 1."""
        times = self._times.setdefault(key, deque())
        self._times.move_to_end(key)
        while len(self._times) > self._keys_max:
            self._times.popitem(last=False)
        while times and times[0] <= now - self._window_ms:
            times.popleft()
        if len(times) >= self._limit:
            return max(1, times[0] + self._window_ms - now)
        times.append(now)
        return 0
