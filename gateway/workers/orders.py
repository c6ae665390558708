"""Orders to the slots of SDK workers at this gateway: from the scheduler's word to the job's end.

An order to a slot of a worker that no poll took is given to its next poll, or to one that waits in other slots of it:
which number runs what is all one to the worker.
"""

import asyncio
from collections.abc import Callable

from gateway.core.handouts import HandOut, HandOuts
from gateway.core.slots import Seat, Sign
from gateway.live.wheel import Wheel
from gateway.workers.pod import Pod
from gateway.workers.polls import End
from gateway.workers.seating import Seating
from gateway.workers.words import Words
from schemas.dispatch import RunAttempt
from schemas.slots import Slot

JOIN_S = 0.005  # how long a poll for several jobs waits for more once it has one
LOOK_S = 60.0  # how often slots are looked at whose jobs nobody may ever tell the end of
OVERDUE_S = 60.0  # after a job's execution timeout


class Orders:
    """One a process. ``gateway`` is this start's id, the session of its slots. Nothing here waits."""

    def __init__(
        self, gateway: str, seating: Seating, words: Words, handed: HandOuts, wheel: Wheel, now: Callable[[], int]
    ) -> None:
        self._gateway = gateway
        self._seating = seating
        self._words = words
        self._handed = handed
        self._wheel = wheel
        self._now = now

    def ordered(self, slot: Slot, order: RunAttempt) -> None:
        """The scheduler gives a slot an attempt: ours, or one of another gateway, whose poll was ours since."""
        pod = self._seating.pods.get((slot.endpoint_id, slot.pod_id))
        poll = pod.poll if pod is not None else None
        if slot.gateway != self._gateway:
            # Given while its worker waited here, nobody can have waited there. An older one may have been handed out
            # there before its worker came, and is read late here.
            if poll is not None and poll.end is None and order.assigned_at > poll.began_at:
                self._words.decline(slot, order, self._now())
            return
        if pod is None:
            self._words.decline(slot, order, self._now())
            return
        goes_in = poll is not None and poll.has_room
        if not goes_in:  # the answer of its poll is made already: it is the next one's
            self._seating.move(pod, slot.number, Sign.PAUSED)
        self._seating.move(pod, slot.number, Sign.ORDER, order)
        if goes_in and pod.seats.get(slot.number) is Seat.HELD:
            self._seating.move(pod, slot.number, Sign.POLLED)
        if poll is not None and goes_in and _has(pod, slot.number, Seat.ORDERED, order):
            poll.orders.append(order)
            if len(poll.orders) == len(poll.numbers):
                poll.wake(End.FOUND)
            elif len(poll.orders) == 1:
                asyncio.get_running_loop().call_later(JOIN_S, poll.wake, End.FOUND)
        elif pod.seats.get(slot.number) is Seat.HELD:
            self._wheel.set(pod, pod.kept[slot.number])

    def given(self, order: RunAttempt) -> None:
        """The poll is answered with it."""
        if (found := self._seating.where(order)) is None:
            return
        pod, number = found
        self._seating.move(pod, number, Sign.GIVEN)
        if pod.seats.get(number) is Seat.RUNNING:
            pod.given[number] = _time() + order.execution_timeout_ms / 1_000 + OVERDUE_S
            self._wheel.set(pod, _time() + LOOK_S)

    def withdrawn(self, order: RunAttempt) -> None:
        """It could not be handed over; nothing where it was."""
        if (found := self._seating.where(order)) is not None:
            self._seating.move(*found, Sign.WITHDRAWN)

    def ended(self, handed: HandOut, slot: Slot) -> None:
        """The job is over there, or no longer this attempt's."""
        pod = self._seating.pods.get((slot.endpoint_id, slot.pod_id))
        order = pod.orders.get(slot.number) if pod is not None and slot.gateway == self._gateway else None
        if pod is not None and order is not None and (order.job_id, order.attempt) == (handed.job_id, handed.attempt):
            self._seating.move(pod, slot.number, Sign.ENDED)
            self._seating.tidy(pod)

    def give_up(self, pod: Pod, now: float) -> float | None:
        """Slots whose jobs are forgotten, or must have ended by now, are free; when to look again.

        On the loop's clock.
        """
        for number, until in list(pod.given.items()):
            if until <= now or not self._is_known(pod, pod.orders[number]):
                self._seating.move(pod, number, Sign.ENDED)
        return now + LOOK_S if pod.given else None

    def _is_known(self, pod: Pod, order: RunAttempt) -> bool:
        handed = self._handed.find(pod.endpoint_id, pod.pod_id, order.job_id)
        return handed is not None and (handed.attempt, handed.worker_id) == (order.attempt, order.worker_id)


def _has(pod: Pod, number: int, seat: Seat, order: RunAttempt) -> bool:
    return pod.seats.get(number) is seat and pod.orders.get(number) is order


def _time() -> float:
    return asyncio.get_running_loop().time()
