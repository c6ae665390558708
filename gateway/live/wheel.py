"""One timer for all live connections: each is put where its next moment comes, and asked what is due when it has."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Protocol

import structlog

STEP_S = 0.05
logger = structlog.get_logger()


class Timed(Protocol):
    """What the wheel needs of a connection. ``slot`` is the wheel's own note: where it was put last."""

    slot: int | None

    def tick(self, now: float) -> float | None:
        """Do what is due; the next moment (on the loop's clock), or None for never again."""
        ...


class Wheel:
    """Moments are rounded up to ``STEP_S``. ``clock`` is the loop's; a timer runs only while somebody waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: dict[int, list[Timed]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def set(self, timed: Timed, when: float) -> None:
        """Ask it at that moment, or sooner if it was to be asked sooner."""
        slot = int(when / STEP_S) + 1
        if timed.slot is not None and timed.slot <= slot:
            return
        timed.slot = slot
        if slot not in self._slots:
            self._slots[slot] = []
            heapq.heappush(self._order, slot)
            if self._order[0] == slot:
                self._arm()
        self._slots[slot].append(timed)

    def stop(self) -> None:
        """Nobody is asked any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()
        self._order.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._order[0] * STEP_S, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = self._clock()
        while self._order and self._order[0] * STEP_S <= now:
            slot = heapq.heappop(self._order)
            for timed in self._slots.pop(slot):
                if timed.slot == slot:  # else it was put elsewhere since
                    timed.slot = None
                    self._ask(timed, now)
        if self._order:
            self._arm()

    def _ask(self, timed: Timed, now: float) -> None:
        try:
            when = timed.tick(now)
        except Exception:  # one connection's defect must not stop the clock of all others
            logger.exception("tick_failed")
            return
        if when is not None:
            self.set(timed, max(when, now))
