"""The SDK workers at this gateway, and their slots, moved by the table of ``gateway/core/slots.py`` and counted.

An endpoint has so many slots here at most: each is a worker to the scheduler and says so again and again. Without a
bound, whoever holds a worker's key could make the scheduler slow for every pool. A worker has at least one while it
waits or runs something; with the slots its workers are bounded too.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from gateway.core.slots import AFTER, OPEN, Say, Seat, Sign
from gateway.workers.asking import Asking
from gateway.workers.pod import Pod
from gateway.workers.words import Words
from schemas.dispatch import RunAttempt
from schemas.slots import slot_of


class Seating:
    """One a process; the only writer of ``seats`` and ``orders``. ``slots_max``: of one endpoint."""

    def __init__(self, gateway: str, words: Words, asking: Asking, now: Callable[[], int], slots_max: int) -> None:
        self._gateway = gateway
        self._words = words
        self._asking = asking
        self._now = now
        self._slots_max = slots_max
        self._taken: Counter[str] = Counter()
        self.pods: dict[tuple[str, str], Pod] = {}

    def room(self, endpoint_id: str, pod_id: str) -> int:
        """How many jobs this worker may ask for: in slots that it has, and in as many new ones as its endpoint may."""
        pod = self.pods.get((endpoint_id, pod_id))
        own = 0 if pod is None else sum(seat in OPEN for seat in pod.seats.values())
        return own + max(0, self._slots_max - self._taken[endpoint_id])

    def move(self, pod: Pod, number: int, sign: Sign, order: RunAttempt | None = None) -> None:
        """What happened in a slot; by the table."""
        row = AFTER[pod.seats.get(number, Seat.FREE)].get(sign)
        if row is None:
            return
        seat, words = row
        meant, slot = order or pod.orders.get(number), pod.at(self._gateway, number)
        if order is not None and Say.DECLINED not in words:
            pod.orders[number] = order
        is_told = pod.seats.get(number) is Seat.KEPT and number not in pod.asks
        self._put(pod, number, seat)
        for say in words:
            if say is Say.DECLINED and meant is not None:
                self._words.decline(slot, meant, pod.next(self._now()))
            elif say is Say.READY:
                self._asking.ready(pod, number)
            elif say is Say.AWAY and not is_told:
                self._asking.away(pod, number)

    def where(self, order: RunAttempt) -> tuple[Pod, int] | None:
        """The slot that has this order; None: it has it no more."""
        slot = slot_of(order.worker_id)
        pod = self.pods.get((slot.endpoint_id, slot.pod_id)) if slot is not None else None
        if slot is None or pod is None or pod.orders.get(slot.number) is not order:
            return None
        return pod, slot.number

    def tidy(self, pod: Pod) -> None:
        """Forget it, if nothing of it is here any more."""
        key = (pod.endpoint_id, pod.pod_id)
        # One that came under this name since is another: the wheel may remember this one for longer.
        if pod.poll is None and not pod.seats and self.pods.get(key) is pod:
            del self.pods[key]

    def _put(self, pod: Pod, number: int, seat: Seat) -> None:
        before = len(pod.seats)
        pod.put(number, seat, asyncio.get_running_loop().time())
        self._taken[pod.endpoint_id] += len(pod.seats) - before
        if not self._taken[pod.endpoint_id]:
            del self._taken[pod.endpoint_id]
