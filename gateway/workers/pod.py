"""One SDK worker (a pod, as RunPod says) at this gateway: its slots, the orders in them, and what was said of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.slots import Seat
from gateway.workers.polls import JobPoll
from schemas.dispatch import RunAttempt
from schemas.slots import Slot

BEAT_S = 15.0
# The SDK asks again at once, or after a second when it counts itself full, which it does while new jobs wait in it.
KEPT_S = 2.5
AT_ONCE_S = 0.25  # between two polls of a worker that was nowhere else meanwhile


@dataclass(slots=True)
class Ask:
    """What a slot asks, from when it begins to wait until it is given something: ``name`` is its poll id to the
    scheduler, one for as many polls as the worker waits in. ``said_at``: on the loop's clock, the last READY."""

    name: str
    said_at: float


@dataclass(slots=True, eq=False)
class Pod:
    """One worker, as long as anything of it is here. ``slot`` is the wheel's.

    On the loop's clock: ``kept`` is when a slot's next poll is too late, ``given`` when the job of a slot has run for
    longer than it may, ``left_at`` when its last poll ended.
    """

    endpoint_id: str
    pod_id: str
    pool: str
    late: Callable[["Pod", float], float | None]
    seats: dict[int, Seat] = field(default_factory=dict)
    orders: dict[int, RunAttempt] = field(default_factory=dict)
    asks: dict[int, Ask] = field(default_factory=dict)
    kept: dict[int, float] = field(default_factory=dict)
    given: dict[int, float] = field(default_factory=dict)
    poll: JobPoll | None = None
    left_at: float = float("-inf")
    sequence: int = 0
    slot: int | None = None

    def tick(self, now: float) -> float | None:
        """See ``Timed.tick``."""
        return self.late(self, now)

    def at(self, gateway: str, number: int) -> Slot:
        """Its slot of that number."""
        return Slot(self.endpoint_id, self.pod_id, gateway, number)

    def next(self, now: int) -> int:
        """The next sequence of its words; ``now`` in ms."""
        self.sequence = max(self.sequence + 1, now)
        return self.sequence

    def put(self, number: int, seat: Seat, now: float) -> None:
        """The slot stands there now."""
        if seat is not Seat.WAITING and seat is not Seat.KEPT:
            self.asks.pop(number, None)  # what it asked is answered, or asked no more
        if seat is Seat.KEPT:
            self.kept[number] = now + KEPT_S
        elif seat is not Seat.HELD:
            self.kept.pop(number, None)
        if seat is not Seat.RUNNING:
            self.given.pop(number, None)
        if seat is Seat.FREE:
            self.seats.pop(number, None)
            self.orders.pop(number, None)
        else:
            self.seats[number] = seat

    def keep(self, now: float) -> None:
        """A poll has ended: whatever waits for the next one has the whole time for it."""
        self.left_at = now
        for number in self.kept:
            self.kept[number] = now + KEPT_S

    def gaps(self, now: float) -> bool:
        """Whether it may have asked elsewhere since its last poll here."""
        return now - self.left_at > AT_ONCE_S
