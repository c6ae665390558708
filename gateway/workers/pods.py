"""The SDK workers that this gateway serves: their polls, and how they come and go.

A worker has one poll for jobs at a time, whatever number of jobs it asks for; a second one ends the first, which its
client has long given up, or which another worker of the same name holds. ``seating.py`` moves its slots, ``asking.py``
says what they ask, ``orders.py`` puts jobs into them.
"""

import asyncio
from collections.abc import Callable

from gateway.core.handouts import HandOuts
from gateway.core.poll_places import PollPlaces
from gateway.core.slots import Seat, Sign, numbers_for
from gateway.live.wheel import Wheel
from gateway.workers.asking import Asking
from gateway.workers.orders import Orders
from gateway.workers.outbox import Outbox
from gateway.workers.pod import Pod
from gateway.workers.polls import End, JobPoll
from gateway.workers.seating import Seating
from gateway.workers.words import Words
from schemas.endpoints import ServerlessEndpoint
from schemas.slots import Slot


class Pods:
    """One a process. ``gateway`` is this start's id, the session of its slots. Nothing here waits."""

    def __init__(
        self,
        gateway: str,
        outbox: Outbox,
        handed: HandOuts,
        wheel: Wheel,
        now: Callable[[], int],
        *,
        poll_s: float,
        polls_max: int,
        slots_max: int,
    ) -> None:
        self.gateway = gateway
        self.wheel = wheel
        self.leaving = False
        self.places = PollPlaces(polls_max)
        self._words = Words(outbox, handed, now)
        self._asking = Asking(gateway, self._words, now)
        self._seating = Seating(gateway, self._words, self._asking, now, slots_max)
        self.orders = Orders(gateway, self._seating, self._words, handed, wheel, now)
        self._now = now
        self._poll_s = poll_s

    def room(self, endpoint_id: str, pod_id: str) -> int:
        """How many jobs this worker may ask for now."""
        return self._seating.room(endpoint_id, pod_id)

    def poll(self, endpoint: ServerlessEndpoint, pod_id: str, wanted: int) -> JobPoll:
        """A worker asks for so many jobs (``room`` at most). An order that waits for it is in the poll at once."""
        key = (endpoint.endpoint_id, pod_id)
        pod = self._seating.pods.get(key)
        if pod is None:
            pod = self._seating.pods[key] = Pod(*key, endpoint.pool, self._late)
        pod.pool = endpoint.pool
        if pod.poll is not None:
            self._leave(pod, pod.poll, Sign.PAUSED)
        time = _time()
        numbers = numbers_for(pod.seats, wanted)
        poll = JobPoll(time + self._poll_s, self._now(), numbers, lambda poll: self._asking.again(pod, poll))
        self.places.take(endpoint.endpoint_id)
        pod.poll = poll
        if pod.gaps(time):
            self._asking.unsay(pod)
        for number in numbers:
            self._seating.move(pod, number, Sign.POLLED)
        poll.orders += [pod.orders[number] for number in numbers if number in pod.orders]
        if poll.orders:
            poll.wake(End.FOUND)
        else:
            self._asking.first(pod, poll, time)
            poll.beat_at = self._asking.next_at(pod, poll)
            self.wheel.set(poll, min(poll.ends_at, poll.beat_at))
        return poll

    def finish(self, endpoint_id: str, pod_id: str, poll: JobPoll, *, gone: bool = False) -> None:
        """Its request is over: what was not given is withdrawn, and its slots wait a moment for the next poll."""
        self.places.leave(endpoint_id)
        pod = self._seating.pods.get((endpoint_id, pod_id))
        if pod is None:
            return
        for order in poll.orders:
            self.orders.withdrawn(order)
        if pod.poll is poll:
            self._leave(pod, poll, Sign.GONE if gone else Sign.PAUSED)
        self._seating.tidy(pod)

    @property
    def is_open(self) -> bool:
        """Whether every order is read, so that who waits may say so."""
        return self._asking.is_open

    def open(self) -> None:
        """From now on every order is read: all who wait say READY."""
        if not self.is_open and not self.leaving:
            self._asking.is_open = True
            self.again()

    def again(self, endpoint_id: str | None = None) -> None:
        """What was said of waiting slots (None: of all endpoints) may be lost: say it once more."""
        for pod in self._seating.pods.values():
            if endpoint_id in (None, pod.endpoint_id):
                self._asking.unsay(pod)
                if pod.poll is not None and pod.poll.end is None:
                    self._asking.again(pod, pod.poll)

    def leave(self) -> None:
        """The gateway ends: every poll is answered, every slot that waits says good-bye; what runs goes on."""
        self.leaving, self._asking.is_open = True, False
        for pod in list(self._seating.pods.values()):
            if pod.poll is not None:
                pod.poll.wake(End.OVER)
            for number, seat in list(pod.seats.items()):
                if seat is Seat.HELD:
                    self._seating.move(pod, number, Sign.GONE)
                if seat in {Seat.WAITING, Seat.KEPT, Seat.HELD}:
                    self._words.gone(pod.at(self.gateway, number), pod.pool, pod.next(self._now()))

    def sequence(self, slot: Slot) -> int:
        """The next one of a slot of ours or of another gateway's."""
        pod = self._seating.pods.get((slot.endpoint_id, slot.pod_id))
        return pod.next(self._now()) if pod is not None and slot.gateway == self.gateway else self._now()

    def __len__(self) -> int:
        return len(self._seating.pods)

    def _leave(self, pod: Pod, poll: JobPoll, sign: Sign) -> None:
        """The pod's poll ends; those of its slots that got nothing go where the sign says."""
        pod.poll = None
        poll.wake(End.REPLACED)
        for number in poll.numbers:
            if pod.seats.get(number) is Seat.WAITING:
                self._seating.move(pod, number, sign)
        taken = sum(self._seating.where(order) is not None for order in poll.orders)
        if taken and 2 * taken >= len(poll.numbers):
            # The SDK counts jobs that have just come twice. Full by that count, it comes back after a second only:
            # others come first meanwhile, and what is under way to its slots waits for it.
            self._asking.rest(pod)
        pod.keep(_time())
        if pod.kept:
            self.wheel.set(pod, min(pod.kept.values()))

    def _late(self, pod: Pod, now: float) -> float | None:
        """Slots that no next poll took in time, and slots whose jobs are forgotten or must have ended."""
        is_answered = pod.poll is not None and pod.poll.end is not None  # then a next poll can't have come
        for number, until in list(pod.kept.items()):
            if until <= now and not is_answered:
                self._seating.move(pod, number, Sign.GONE)
        look_at = self.orders.give_up(pod, now)
        self._seating.tidy(pod)
        soon = [] if is_answered else list(pod.kept.values())
        return min([*soon, *([] if look_at is None else [look_at])], default=None)


def _time() -> float:
    return asyncio.get_running_loop().time()
