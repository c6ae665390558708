"""How much may lie before the readers of a topic: a little more than they work off in a moment.

A replay writes to topics that live traffic goes through, too. What it puts before them delays everybody who comes after
it, so it watches how fast they are, and never has much more waiting than that.
"""

from collections.abc import Mapping

SPARE = 8  # records, also before readers of whom nothing is known yet
MOMENT_S = 0.3  # what they say of themselves is about as old as that
LEARNS = 0.5  # of what was seen last, in what is taken for their speed


Places = Mapping[tuple[str, int], int]  # topic and partition


class KeepingUp:
    """``limit``: how many records may wait; ``still_s``: for how long none was applied although some wait."""

    def __init__(self) -> None:
        self.limit = SPARE
        self.still_s = 0.0
        self._a_second = 0.0
        self._seen_at: float | None = None
        self._applied: Places = {}

    def look(self, now_s: float, ends: Places, applied: Places) -> None:
        """``ends``: behind the last record that was written to each partition; ``applied``: the last offset that its
        reader has applied."""
        if self._seen_at is not None and now_s > self._seen_at:
            passed_s = now_s - self._seen_at
            done = sum(max(0, applied.get(at, -1) - self._applied.get(at, applied.get(at, -1))) for at in ends)
            waits = self._behind(ends) > 0
            self.still_s = self.still_s + passed_s if waits and not done else 0.0
            if waits or done:  # with nothing to do nobody shows how fast they are
                self._a_second += LEARNS * (done / passed_s - self._a_second)
        self._seen_at, self._applied = now_s, dict(applied)
        self.limit = SPARE + int(self._a_second * MOMENT_S)

    def allows_more(self, ends: Places) -> bool:
        """By what was seen last."""
        return self._behind(ends) <= self.limit

    def _behind(self, ends: Places) -> int:
        return sum(max(0, end - 1 - self._applied.get(at, -1)) for at, end in ends.items())
