"""Places for polls that wait at one gateway, shared by its endpoints: none can fill them all.

An endpoint may have ``SHARE`` times as many as are still free, so that one alone has four fifths, two have four ninths
each, and whoever comes next always finds some.
"""

from collections import Counter

SHARE = 4


class PollPlaces:
    """``most``: of all endpoints together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._all = 0

    def is_full(self, endpoint_id: str) -> bool:
        """Whether one more poll of this endpoint is too many."""
        return self._taken[endpoint_id] >= SHARE * (self._most - self._all)

    def take(self, endpoint_id: str) -> None:
        """One waits."""
        self._taken[endpoint_id] += 1
        self._all += 1

    def leave(self, endpoint_id: str) -> None:
        """One waits no more."""
        self._all -= 1
        self._taken[endpoint_id] -= 1
        if self._taken[endpoint_id] <= 0:
            del self._taken[endpoint_id]

    def __len__(self) -> int:
        return self._all
