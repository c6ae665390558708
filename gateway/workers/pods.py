"""The SDK workers that this gateway serves: their slots, moved by ``gateway/core/slots.py``, and their polls.

A worker has one poll for jobs at a time, whatever number of jobs it asks for; a second one ends the first, which its
client has long given up, or which another worker of the same name holds. An order to one of its slots that no poll
took is given to the next, or to one that waits in other slots of it: which number runs what is all one to the worker.
"""

import asyncio
from collections.abc import Callable

from gateway.core.handouts import HandOut, HandOuts
from gateway.core.poll_places import PollPlaces
from gateway.core.slots import AFTER, Say, Seat, Sign, numbers_for
from gateway.live.wheel import Wheel
from gateway.workers.outbox import Outbox
from gateway.workers.pod import BEAT_S, Ask, Pod
from gateway.workers.polls import End, JobPoll
from gateway.workers.words import Words
from schemas.dispatch import RunAttempt
from schemas.endpoints import ServerlessEndpoint
from schemas.slots import Slot, slot_of

JOIN_S = 0.005  # how long a poll for several jobs waits for more once it has one
LOOK_S = 60.0  # how often slots are looked at whose jobs nobody may ever tell the end of
OVERDUE_S = 60.0  # after a job's execution timeout


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
    ) -> None:
        self.gateway = gateway
        self.wheel = wheel
        self.is_open = False  # the position on ``openv.assignments`` is known: no order can be missed
        self.leaving = False
        self.places = PollPlaces(polls_max)
        self._words = Words(outbox, handed, now)
        self._handed = handed
        self._now = now
        self._poll_s = poll_s
        self._pods: dict[tuple[str, str], Pod] = {}
        self._named = 0

    def poll(self, endpoint: ServerlessEndpoint, pod_id: str, wanted: int) -> JobPoll:
        """A worker asks for so many jobs. An order that waits for it is in the poll at once."""
        key = (endpoint.endpoint_id, pod_id)
        pod = self._pods.get(key)
        if pod is None:
            pod = self._pods[key] = Pod(*key, endpoint.pool, self._late)
        pod.pool = endpoint.pool
        if pod.poll is not None:
            self._leave(pod, pod.poll, Sign.PAUSED)
        time = _time()
        numbers = numbers_for(pod.seats, wanted)
        poll = JobPoll(time + self._poll_s, self._now(), numbers, lambda poll: self._again(pod, poll))
        self.places.take(endpoint.endpoint_id)
        pod.poll = poll
        if pod.gaps(time):
            self._unsay(pod)
        for number in numbers:
            self._move(pod, number, Sign.POLLED)
        poll.orders += [pod.orders[number] for number in numbers if number in pod.orders]
        if poll.orders:
            poll.wake(End.FOUND)
        else:
            self._say_first(pod, poll, time)
            poll.beat_at = self._beat_at(pod, poll)
            self.wheel.set(poll, min(poll.ends_at, poll.beat_at))
        return poll

    def finish(self, endpoint_id: str, pod_id: str, poll: JobPoll, *, gone: bool = False) -> None:
        """Its request is over: what was not given is withdrawn, and its slots wait a moment for the next poll."""
        self.places.leave(endpoint_id)
        pod = self._pods.get((endpoint_id, pod_id))
        if pod is None:
            return
        for order in poll.orders:
            self.withdrawn(order)
        if pod.poll is poll:
            self._leave(pod, poll, Sign.GONE if gone else Sign.PAUSED)
        self._tidy(pod)

    def ordered(self, slot: Slot, order: RunAttempt) -> None:
        """The scheduler gives a slot an attempt: ours, or one of another gateway, whose poll was ours since."""
        pod = self._pods.get((slot.endpoint_id, slot.pod_id))
        poll = pod.poll if pod is not None else None
        if slot.gateway != self.gateway:
            # Given while its worker waited here, nobody can have waited there. An older one may have been handed out
            # there before its worker came, and is read late here.
            if poll is not None and poll.end is None and order.assigned_at > poll.began_at:
                self._words.decline(slot, order, self._now())
            return
        if pod is None:
            self._words.decline(slot, order, self._now())
            return
        goes_in = poll is not None and poll.has_room
        if not goes_in:
            self._move(pod, slot.number, Sign.PAUSED)  # the answer of its poll is made already: it is the next one's
        self._move(pod, slot.number, Sign.ORDER, order)
        if goes_in and pod.seats.get(slot.number) is Seat.HELD:
            self._move(pod, slot.number, Sign.POLLED)
        if poll is not None and goes_in and self._has(pod, slot.number, Seat.ORDERED, order):
            poll.orders.append(order)
            if len(poll.orders) == len(poll.numbers):
                poll.wake(End.FOUND)
            elif len(poll.orders) == 1:
                asyncio.get_running_loop().call_later(JOIN_S, poll.wake, End.FOUND)
        elif pod.seats.get(slot.number) is Seat.HELD:
            self.wheel.set(pod, pod.kept[slot.number])

    def given(self, order: RunAttempt) -> None:
        """The poll is answered with it."""
        if (found := self._where(order)) is None:
            return
        pod, number = found
        self._move(pod, number, Sign.GIVEN)
        if pod.seats.get(number) is Seat.RUNNING:
            pod.given[number] = _time() + order.execution_timeout_ms / 1_000 + OVERDUE_S
            self.wheel.set(pod, _time() + LOOK_S)

    def withdrawn(self, order: RunAttempt) -> None:
        """It could not be handed over; nothing where it was."""
        if (found := self._where(order)) is not None:
            self._move(*found, Sign.WITHDRAWN)

    def ended(self, handed: HandOut, slot: Slot) -> None:
        """The job is over there, or no longer this attempt's."""
        pod = self._pods.get((slot.endpoint_id, slot.pod_id))
        order = pod.orders.get(slot.number) if pod is not None and slot.gateway == self.gateway else None
        if pod is not None and order is not None and (order.job_id, order.attempt) == (handed.job_id, handed.attempt):
            self._move(pod, slot.number, Sign.ENDED)
            self._tidy(pod)

    def open(self) -> None:
        """From now on every order is read: all who wait say READY."""
        if not self.is_open and not self.leaving:
            self.is_open = True
            self.again()

    def again(self) -> None:
        """What was said of waiting slots may be lost: say it once more."""
        for pod in self._pods.values():
            self._unsay(pod)
            if pod.poll is not None and pod.poll.end is None:
                self._again(pod, pod.poll)

    def leave(self) -> None:
        """The gateway ends: every poll is answered, every slot that waits says good-bye; what runs goes on."""
        self.leaving, self.is_open = True, False
        for pod in list(self._pods.values()):
            if pod.poll is not None:
                pod.poll.wake(End.OVER)
            for number, seat in list(pod.seats.items()):
                if seat is Seat.HELD:
                    self._move(pod, number, Sign.GONE)
                if seat in {Seat.WAITING, Seat.KEPT, Seat.HELD}:
                    self._words.gone(pod.at(self.gateway, number), pod.pool, pod.next(self._now()))

    def sequence(self, slot: Slot) -> int:
        """The next one of a slot of ours or of another gateway's."""
        pod = self._pods.get((slot.endpoint_id, slot.pod_id))
        return pod.next(self._now()) if pod is not None and slot.gateway == self.gateway else self._now()

    def __len__(self) -> int:
        return len(self._pods)

    def _leave(self, pod: Pod, poll: JobPoll, sign: Sign) -> None:
        """The pod's poll ends; those of its slots that got nothing go where the sign says."""
        pod.poll = None
        poll.wake(End.REPLACED)
        for number in poll.numbers:
            if pod.seats.get(number) is Seat.WAITING:
                self._move(pod, number, sign)
        taken = sum(self._where(order) is not None for order in poll.orders)
        if taken and 2 * taken >= len(poll.numbers):
            self._pause(pod)
        pod.keep(_time())
        if pod.kept:
            self.wheel.set(pod, min(pod.kept.values()))

    def _pause(self, pod: Pod) -> None:
        """The SDK counts jobs that have just come twice. Full by that count, it comes back after a second only: others
        come first meanwhile, and what is under way to its slots waits for it."""
        for number, seat in pod.seats.items():
            if seat is Seat.KEPT and pod.asks.pop(number, None) is not None and self.is_open:
                self._words.away(pod.at(self.gateway, number), pod.pool, pod.next(self._now()))

    def _late(self, pod: Pod, now: float) -> float | None:
        """Slots that no next poll took in time, and slots whose jobs are forgotten or must have ended."""
        is_answered = pod.poll is not None and pod.poll.end is not None  # then a next poll can't have come
        for number, until in list(pod.kept.items()):
            if until <= now and not is_answered:
                self._move(pod, number, Sign.GONE)
        for number, until in list(pod.given.items()):
            if until <= now or not self._is_known(pod, pod.orders[number]):
                self._move(pod, number, Sign.ENDED)
        self._tidy(pod)
        soon = [] if is_answered else list(pod.kept.values())
        return min([*soon, *([now + LOOK_S] if pod.given else [])], default=None)

    def _is_known(self, pod: Pod, order: RunAttempt) -> bool:
        handed = self._handed.find(pod.endpoint_id, pod.pod_id, order.job_id)
        return handed is not None and (handed.attempt, handed.worker_id) == (order.attempt, order.worker_id)

    def _again(self, pod: Pod, poll: JobPoll) -> float:
        now = _time()
        for number in poll.numbers:
            ask = pod.asks.get(number)
            if pod.seats.get(number) is Seat.WAITING and (ask is None or now - ask.said_at >= BEAT_S / 2):
                self._ready(pod, number, now)
        return self._beat_at(pod, poll)

    def _beat_at(self, pod: Pod, poll: JobPoll) -> float:
        """When the first of its slots is to be heard of again."""
        said = [pod.asks[number].said_at for number in poll.numbers if number in pod.asks]
        return max(min(said, default=_time()), _time() - BEAT_S / 2) + BEAT_S

    def _unsay(self, pod: Pod) -> None:
        for ask in pod.asks.values():
            ask.said_at = float("-inf")

    def _say_first(self, pod: Pod, poll: JobPoll, now: float) -> None:
        """One slot of each poll is heard of at least: the scheduler may have heard that its worker asks elsewhere."""
        waiting = [number for number in poll.numbers if pod.seats.get(number) is Seat.WAITING]
        if waiting and all(number in pod.asks and pod.asks[number].said_at < now for number in waiting):
            self._ready(pod, waiting[0], now)

    def _where(self, order: RunAttempt) -> tuple[Pod, int] | None:
        """The slot that has this order; None: it has it no more."""
        slot = slot_of(order.worker_id)
        pod = self._pods.get((slot.endpoint_id, slot.pod_id)) if slot is not None else None
        if slot is None or pod is None or pod.orders.get(slot.number) is not order:
            return None
        return pod, slot.number

    def _has(self, pod: Pod, number: int, seat: Seat, order: RunAttempt) -> bool:
        return pod.seats.get(number) is seat and pod.orders.get(number) is order

    def _move(self, pod: Pod, number: int, sign: Sign, order: RunAttempt | None = None) -> None:
        """By the table; the only writer of ``seats`` and ``orders``."""
        row = AFTER[pod.seats.get(number, Seat.FREE)].get(sign)
        if row is None:
            return
        seat, words = row
        now, meant, slot = _time(), order or pod.orders.get(number), pod.at(self.gateway, number)
        if order is not None and Say.DECLINED not in words:
            pod.orders[number] = order
        is_told = pod.seats.get(number) is Seat.KEPT and number not in pod.asks
        pod.put(number, seat, now)
        for say in words:
            if say is Say.DECLINED and meant is not None:
                self._words.decline(slot, meant, pod.next(self._now()))
            elif say is Say.READY and not self._is_said(pod, number, now):
                self._ready(pod, number, now)
            elif say is Say.AWAY and self.is_open and not is_told:
                self._words.away(slot, pod.pool, pod.next(self._now()))

    def _is_said(self, pod: Pod, number: int, now: float) -> bool:
        """Whether the scheduler knows already what the slot asks: it would hear the same again."""
        ask = pod.asks.get(number)
        return ask is not None and now - ask.said_at < BEAT_S / 2

    def _ready(self, pod: Pod, number: int, now: float) -> None:
        ask = pod.asks.get(number)
        if ask is None:
            self._named += 1
            ask = pod.asks[number] = Ask(f"{self.gateway}:{self._named}", float("-inf"))
        if self.is_open:
            ask.said_at = now
            self._words.ready(pod.at(self.gateway, number), pod.pool, pod.next(self._now()), ask.name)

    def _tidy(self, pod: Pod) -> None:
        key = (pod.endpoint_id, pod.pod_id)
        # One that came under this name since is another: the wheel may remember this one for longer.
        if pod.poll is None and not pod.seats and self._pods.get(key) is pod:
            del self._pods[key]


def _time() -> float:
    return asyncio.get_running_loop().time()
