"""When a part that died is started again. Pure."""

from dataclasses import dataclass

FIRST_DELAY_MS = 500
LONGEST_DELAY_MS = 30_000
HEALTHY_AFTER_MS = 60_000


@dataclass(frozen=True)
class Restarts:
    """How often in a row a part has died without having been healthy for a minute in between."""

    deaths: int = 0

    def after_death(self, healthy_ms: int) -> tuple["Restarts", int]:
        """The next count and the milliseconds to wait: 500, doubling to 30,000, from the start after a healthy minute.

        ``healthy_ms`` is how long the part had been ready when it died; 0 if it never was.
        """
        before = 0 if healthy_ms >= HEALTHY_AFTER_MS else self.deaths
        # The exponent is bounded first: a part that dies all night must not compute 2 to the thousands.
        delay = min(FIRST_DELAY_MS << min(before, 10), LONGEST_DELAY_MS)
        return Restarts(before + 1), delay
