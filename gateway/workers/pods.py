"""The SDK workers that this gateway serves: their slots, moved by ``gateway/core/slots.py``, and their polls.

A worker (a pod, as RunPod says) has one poll for jobs at a time, whatever number of jobs it asks for; a second one ends
the first, which its client has long given up, or which another worker of the same name holds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.handouts import HandOut, HandOuts
from gateway.core.slots import AFTER, Say, Seat, Sign, numbers_for
from gateway.live.wheel import Wheel
from gateway.workers.outbox import Outbox
from gateway.workers.polls import End, JobPoll
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.endpoints import ServerlessEndpoint
from schemas.slots import Slot, slot_of

BEAT_S = 15.0
KEPT_S = 1.0
JOIN_S = 0.005  # how long a poll for several jobs waits for more once it has one
ENGINE = "runpod-sdk"
_STATES = {Say.READY: WorkerState.READY, Say.TAKEN: WorkerState.BUSY, Say.AWAY: WorkerState.DEFUNCT}


@dataclass(slots=True, eq=False)
class Pod:
    """One worker, as long as anything of it is here. ``slot`` is the wheel's; ``kept_until`` on the loop's clock."""

    endpoint_id: str
    pod_id: str
    pool: str
    late: Callable[["Pod", float], float | None]
    seats: dict[int, Seat] = field(default_factory=dict)
    orders: dict[int, RunAttempt] = field(default_factory=dict)
    poll: JobPoll | None = None
    sequence: int = 0
    kept_until: float = 0.0
    slot: int | None = None

    def tick(self, now: float) -> float | None:
        """See ``Timed.tick``."""
        return self.late(self, now)


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
        self._outbox = outbox
        self._handed = handed
        self._now = now
        self._poll_s = poll_s
        self._polls_max = polls_max
        self._pods: dict[tuple[str, str], Pod] = {}
        self._polls = 0
        self._named = 0

    @property
    def full(self) -> bool:
        """Whether one more poll is too many."""
        return self._polls >= self._polls_max

    def poll(self, endpoint: ServerlessEndpoint, pod_id: str, wanted: int) -> JobPoll:
        """A worker asks for so many jobs. An order that waits for it is in the poll at once."""
        key = (endpoint.endpoint_id, pod_id)
        pod = self._pods.get(key)
        if pod is None:
            pod = self._pods[key] = Pod(*key, endpoint.pool, self._late)
        pod.pool = endpoint.pool
        if pod.poll is not None:
            self._leave(pod, pod.poll, Sign.PAUSED)
        self._named += 1
        time = _time()
        numbers = numbers_for(pod.seats, wanted)
        name = f"{self.gateway}:{self._named}"
        poll = JobPoll(time + self._poll_s, name, numbers, lambda poll: self._again(pod, poll))
        self._polls += 1
        pod.poll = poll
        for number in numbers:
            self._move(pod, number, Sign.POLLED)
        self._drop_others(pod, numbers)
        poll.orders += [pod.orders[number] for number in numbers if number in pod.orders]
        if poll.orders:
            poll.wake(End.FOUND)
        else:
            poll.beat_at = time + BEAT_S
            self.wheel.set(poll, min(poll.ends_at, poll.beat_at))
        return poll

    def finish(self, endpoint_id: str, pod_id: str, poll: JobPoll, *, gone: bool = False) -> None:
        """Its request is over: what was not given is withdrawn, and its slots wait a moment for the next poll."""
        self._polls -= 1
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
        if slot.gateway != self.gateway:
            if pod is not None and pod.poll is not None and pod.poll.end is None:
                self._decline(slot, order, self._now())  # it waits here, so that nobody can be waiting there
            return
        if pod is None:
            self._decline(slot, order, self._now())
            return
        self._move(pod, slot.number, Sign.ORDER, order)
        poll = pod.poll
        if pod.seats.get(slot.number) is Seat.ORDERED and poll is not None and order not in poll.orders:
            poll.orders.append(order)
            if len(poll.orders) == len(poll.numbers):
                poll.wake(End.FOUND)
            elif len(poll.orders) == 1:
                asyncio.get_running_loop().call_later(JOIN_S, poll.wake, End.FOUND)

    def given(self, order: RunAttempt) -> None:
        """The poll is answered with it."""
        self._on_order(order, Sign.GIVEN)

    def withdrawn(self, order: RunAttempt) -> None:
        """It could not be handed over; nothing where it was."""
        self._on_order(order, Sign.WITHDRAWN)

    def ended(self, handed: HandOut, slot: Slot) -> None:
        """The job is over there, or no longer this attempt's."""
        pod = self._pods.get((slot.endpoint_id, slot.pod_id))
        order = pod.orders.get(slot.number) if pod is not None and slot.gateway == self.gateway else None
        if pod is not None and order is not None and (order.job_id, order.attempt) == (handed.job_id, handed.attempt):
            self._move(pod, slot.number, Sign.ENDED)
            self._tidy(pod)

    def taken(self, order: RunAttempt) -> WorkerBeat | None:
        """The word that this slot asks for nothing now; None: the slot is not ours any more."""
        found = self._where(order)
        return None if found is None else self._beat(*found, Say.TAKEN)

    def open(self) -> None:
        """From now on every order is read: all who wait say READY."""
        if not self.is_open and not self.leaving:
            self.is_open = True
            self.again()

    def again(self) -> None:
        """What was said of waiting slots may be lost: say it once more."""
        for pod in self._pods.values():
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
                    slot = self._slot(pod, number)
                    self._outbox.say(
                        WorkerGone(
                            pool=pod.pool,
                            worker_id=slot.worker_id,
                            session=self.gateway,
                            sequence=self._next(pod),
                        )
                    )

    def sequence(self, slot: Slot) -> int:
        """The next one of a slot of ours or of another gateway's."""
        pod = self._pods.get((slot.endpoint_id, slot.pod_id))
        return self._next(pod) if pod is not None and slot.gateway == self.gateway else self._now()

    def __len__(self) -> int:
        return len(self._pods)

    def _leave(self, pod: Pod, poll: JobPoll, sign: Sign) -> None:
        """The pod's poll ends; those of its slots that got nothing go where the sign says."""
        pod.poll = None
        poll.wake(End.REPLACED)
        pod.kept_until = _time() + KEPT_S
        for number in poll.numbers:
            if pod.seats.get(number) is Seat.WAITING:
                self._move(pod, number, sign)
        self.wheel.set(pod, pod.kept_until)

    def _drop_others(self, pod: Pod, numbers: list[int]) -> None:
        """Slots that this poll did not take are not waited in: the worker has fewer places than before."""
        for number, seat in list(pod.seats.items()):
            if seat in {Seat.KEPT, Seat.HELD} and number not in numbers:
                self._move(pod, number, Sign.GONE)

    def _late(self, pod: Pod, now: float) -> float | None:
        """The next poll did not come in time."""
        if pod.poll is not None:
            return None
        if now < pod.kept_until:
            return pod.kept_until
        for number, seat in list(pod.seats.items()):
            if seat in {Seat.KEPT, Seat.HELD}:
                self._move(pod, number, Sign.GONE)
        self._tidy(pod)
        return None

    def _again(self, pod: Pod, poll: JobPoll) -> float:
        for number in poll.numbers:
            if pod.seats.get(number) is Seat.WAITING:
                self._say(pod, number, Say.READY)
        return _time() + BEAT_S

    def _on_order(self, order: RunAttempt, sign: Sign) -> None:
        if (found := self._where(order)) is not None:
            self._move(*found, sign)

    def _where(self, order: RunAttempt) -> tuple[Pod, int] | None:
        """The slot that has this order; None: it has it no more."""
        slot = slot_of(order.worker_id)
        pod = self._pods.get((slot.endpoint_id, slot.pod_id)) if slot is not None else None
        if slot is None or pod is None or pod.orders.get(slot.number) is not order:
            return None
        return pod, slot.number

    def _move(self, pod: Pod, number: int, sign: Sign, order: RunAttempt | None = None) -> None:
        """By the table; the only writer of ``seats`` and ``orders``."""
        row = AFTER[pod.seats.get(number, Seat.FREE)].get(sign)
        if row is None:
            return
        seat, words = row
        meant = order or pod.orders.get(number)
        if order is not None and Say.DECLINED not in words:
            pod.orders[number] = order
        for say in words:
            if say is not Say.DECLINED:
                self._say(pod, number, say)
            elif meant is not None:
                self._decline(self._slot(pod, number), meant, self._next(pod))
        if seat is Seat.FREE:
            pod.seats.pop(number, None)
            pod.orders.pop(number, None)
        else:
            pod.seats[number] = seat

    def _say(self, pod: Pod, number: int, say: Say) -> None:
        if self.is_open:
            self._outbox.say(self._beat(pod, number, say))

    def _beat(self, pod: Pod, number: int, say: Say) -> WorkerBeat:
        return WorkerBeat(
            pool=pod.pool,
            worker_id=self._slot(pod, number).worker_id,
            session=self.gateway,
            sequence=self._next(pod),
            state=_STATES[say],
            kind=WorkerKind.SDK,
            poll_id=pod.poll.name if pod.poll is not None and say is Say.READY else None,
            engine=ENGINE,
        )

    def _decline(self, slot: Slot, order: RunAttempt, sequence: int) -> None:
        self._handed.drop(slot.endpoint_id, slot.pod_id, order.job_id)
        self._outbox.say(
            AssignmentDeclined(
                pool=order.pool,
                worker_id=slot.worker_id,
                session=slot.gateway,
                sequence=sequence,
                job_id=order.job_id,
                attempt=order.attempt,
                reason="its poll was over",
            )
        )

    def _slot(self, pod: Pod, number: int) -> Slot:
        return Slot(pod.endpoint_id, pod.pod_id, self.gateway, number)

    def _next(self, pod: Pod) -> int:
        pod.sequence = max(pod.sequence + 1, self._now())
        return pod.sequence

    def _tidy(self, pod: Pod) -> None:
        key = (pod.endpoint_id, pod.pod_id)
        # One that came under this name since is another: the wheel may remember this one for longer.
        if pod.poll is None and not pod.seats and self._pods.get(key) is pod:
            del self._pods[key]


def _time() -> float:
    return asyncio.get_running_loop().time()
