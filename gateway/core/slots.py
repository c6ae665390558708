"""One slot of an SDK worker as the gateway that holds its poll sees it, and what the scheduler is told of it.

``AFTER`` is the whole machine; what is not in a row changes nothing. A slot whose poll ended without a job is KEPT for
a moment, because the worker asks again at once: an order that was under way then waits for that next poll.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class Seat(StrEnum):
    """Where a slot stands."""

    FREE = "free"  # nobody's; its number may be used again
    WAITING = "waiting"  # a poll waits in it, and the scheduler was told READY
    KEPT = "kept"  # its poll is over, the next one is expected
    HELD = "held"  # as KEPT, and an order has come
    ORDERED = "ordered"  # an order is being handed to the poll
    RUNNING = "running"  # the worker has the job


class Sign(StrEnum):
    """What happened."""

    POLLED = "polled"  # a poll of the worker takes the slot
    ORDER = "order"  # the scheduler gave it an attempt
    PAUSED = "paused"  # its poll was answered without a job for it
    GONE = "gone"  # its client has gone, or the next poll did not come in time
    GIVEN = "given"  # the worker was answered with the job
    WITHDRAWN = "withdrawn"  # the job could not be handed over
    ENDED = "ended"  # the job is over, or is another's


class Say(StrEnum):
    """A word to the scheduler."""

    READY = "ready"  # it asks for a job
    AWAY = "away"  # it asks for none: nobody waits in it
    DECLINED = "declined"  # this attempt was not taken


S, G = Seat, Sign
_NOTHING: tuple[Say, ...] = ()

AFTER: Mapping[Seat, Mapping[Sign, tuple[Seat, tuple[Say, ...]]]] = MappingProxyType(
    {
        S.FREE: {
            G.POLLED: (S.WAITING, (Say.READY,)),
            G.ORDER: (S.FREE, (Say.DECLINED, Say.AWAY)),
        },
        S.WAITING: {
            G.POLLED: (S.WAITING, (Say.READY,)),
            G.ORDER: (S.ORDERED, _NOTHING),
            G.PAUSED: (S.KEPT, _NOTHING),
            G.GONE: (S.FREE, (Say.AWAY,)),
        },
        S.KEPT: {
            G.POLLED: (S.WAITING, (Say.READY,)),
            G.ORDER: (S.HELD, _NOTHING),
            G.GONE: (S.FREE, (Say.AWAY,)),
        },
        S.HELD: {
            G.POLLED: (S.ORDERED, _NOTHING),
            G.ORDER: (S.HELD, (Say.DECLINED,)),
            G.GONE: (S.FREE, (Say.DECLINED, Say.AWAY)),
        },
        S.ORDERED: {
            G.ORDER: (S.ORDERED, (Say.DECLINED,)),
            G.GIVEN: (S.RUNNING, _NOTHING),  # the offer was the end of its asking
            G.WITHDRAWN: (S.FREE, (Say.DECLINED, Say.AWAY)),
        },
        S.RUNNING: {
            G.ORDER: (S.RUNNING, (Say.DECLINED,)),
            G.ENDED: (S.FREE, _NOTHING),
        },
    }
)

# A poll may take these: nothing is going on in them.
OPEN = frozenset({Seat.FREE, Seat.WAITING, Seat.KEPT, Seat.HELD})
NUMBERS = 10_000  # of slots of one worker at one gateway: four digits


def numbers_for(seats: Mapping[int, Seat], wanted: int) -> list[int]:
    """Which slots a poll for so many jobs takes: those with an order first, then those kept, then the lowest free."""
    known: Iterable[int] = sorted(
        (number for number, seat in seats.items() if seat in OPEN), key=lambda number: (_RANK[seats[number]], number)
    )
    found = list(known)[:wanted]
    for number in range(NUMBERS):
        if len(found) >= wanted:
            break
        if number not in seats:
            found.append(number)
    return found


_RANK: Mapping[Seat, int] = MappingProxyType({Seat.HELD: 0, Seat.KEPT: 1, Seat.WAITING: 2, Seat.FREE: 3})
