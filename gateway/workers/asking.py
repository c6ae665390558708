"""What the slots of SDK workers ask of the scheduler, and when it is to hear that again.

A slot asks under one name from when it begins to wait until it is given something, in as many polls as that takes. It
says so at once, then once in ``BEAT_S``; a poll of several slots that all said it a moment ago says it for one of them.
"""

import asyncio
from collections.abc import Callable

from gateway.core.slots import Seat
from gateway.workers.pod import BEAT_S, Ask, Pod
from gateway.workers.polls import JobPoll
from gateway.workers.words import Words


class Asking:
    """One a process. ``gateway`` is this start's id."""

    def __init__(self, gateway: str, words: Words, now: Callable[[], int]) -> None:
        self.is_open = False  # the position on ``openv.assignments`` is known: no order can be missed
        self._gateway = gateway
        self._words = words
        self._now = now
        self._named = 0

    def ready(self, pod: Pod, number: int) -> None:
        """It waits for a job. The scheduler hears it, unless it heard the same a moment ago."""
        now = _time()
        if self._is_due(pod, number, now):
            self._say(pod, number, now)

    def away(self, pod: Pod, number: int) -> None:
        """It waits for none."""
        if self.is_open:
            self._words.away(pod.at(self._gateway, number), pod.pool, pod.next(self._now()))

    def rest(self, pod: Pod) -> None:
        """Its slots that nobody polls in ask for nothing until somebody does."""
        for number, seat in pod.seats.items():
            if seat is Seat.KEPT and pod.asks.pop(number, None) is not None:
                self.away(pod, number)

    def first(self, pod: Pod, poll: JobPoll, since: float) -> None:
        """One slot of each poll is heard of at least: the scheduler may have heard that its worker asks elsewhere.

        ``since``: when the poll came, on the loop's clock.
        """
        waiting = [number for number in poll.numbers if pod.seats.get(number) is Seat.WAITING]
        if waiting and all(number in pod.asks and pod.asks[number].said_at < since for number in waiting):
            self._say(pod, waiting[0], _time())

    def again(self, pod: Pod, poll: JobPoll) -> float:
        """Its slots that wait are heard of once more where it is time; when it is time for the next of them."""
        now = _time()
        for number in poll.numbers:
            if pod.seats.get(number) is Seat.WAITING and self._is_due(pod, number, now):
                self._say(pod, number, now)
        return self.next_at(pod, poll)

    def next_at(self, pod: Pod, poll: JobPoll) -> float:
        """When the first of its slots is to be heard of again."""
        now = _time()
        said = [pod.asks[number].said_at for number in poll.numbers if number in pod.asks]
        return max(min(said, default=now), now - BEAT_S / 2) + BEAT_S

    def unsay(self, pod: Pod) -> None:
        """What was said of its slots may be lost, or overtaken."""
        for ask in pod.asks.values():
            ask.said_at = float("-inf")

    def _is_due(self, pod: Pod, number: int, now: float) -> bool:
        ask = pod.asks.get(number)
        return ask is None or now - ask.said_at >= BEAT_S / 2

    def _say(self, pod: Pod, number: int, now: float) -> None:
        ask = pod.asks.get(number)
        if ask is None:
            self._named += 1
            ask = pod.asks[number] = Ask(f"{self._gateway}:{self._named}", float("-inf"))
        if self.is_open:
            ask.said_at = now
            self._words.ready(pod.at(self._gateway, number), pod.pool, pod.next(self._now()), ask.name)


def _time() -> float:
    return asyncio.get_running_loop().time()
