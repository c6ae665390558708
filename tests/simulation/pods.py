"""Workers that are not ours, and the gateways that hold their polls: RunPod's worker protocol as the scheduler sees it.

A ``Pod`` asks a gateway for a job, runs it, says every ten seconds that it does, and says how it ended; each time by
whichever gateway it meets. A ``Gateway`` makes slots' messages of that, by a clock of its own, and is killed at times.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from repo.ports import Unavailable
from schemas.codec import Message, encode
from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded
from schemas.dispatch import (
    AssignmentDeclined,
    RunAttempt,
    StopAttempt,
    WorkerBeat,
    WorkerGone,
    WorkerKind,
    WorkerState,
)
from schemas.failures import FailureCode
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from schemas.slots import Slot, slot_of
from schemas.topics import ASSIGNMENTS
from tests.simulation.processes import Servers, read
from tests.simulation.servers import LogPort
from tests.simulation.world import Process, Signal, World

ENDPOINT = "echo"
SAY_AGAIN_MS = 15_000
PING_MS = 10_000
KNOWN_WITHIN_MS = 10_000


@dataclass
class Poll:
    """A request for a job that waits for its answer. ``left``: whoever asked is gone."""

    pod: "Pod"
    slot: Slot
    poll_id: str
    answer: Signal = field(default_factory=Signal)
    said: bool = False
    left: bool = False


class Gateway:
    """One gateway, from its start to its end. Another one after it has another id, and other slots."""

    def __init__(self, world: World, servers: Servers, pool: str, number: int) -> None:
        self.process = Process(world, f"gateway{number}")
        self.number = number
        self._id = f"{number:012x}"
        self._world, self._servers, self._pool = world, servers, pool
        self._log = LogPort(servers.broker)
        self._skew = world.between(-20_000, 20_000)
        self._spoken = 0
        self._polls: dict[str, Poll] = {}
        self._taken: dict[str, tuple[str, int]] = {}
        self._followed: set[int] = set()
        self._open: list[Signal] = []
        self._ids = count(1)

    def die(self) -> None:
        """SIGKILL: its connections break."""
        self._world.note(self.process.name, "killed", "", f"{len(self._polls)} polls")
        self.process.kill()
        for answer in self._open:
            self._broken(answer)

    def call(self, program: Callable[[], Coroutine[Signal, Any, Any]]) -> Signal:
        """A request to it; its answer, or that the connection broke."""
        answer = Signal()
        if not self.process.alive:
            self._broken(answer)
            return answer
        self._open = [one for one in self._open if not one.given]
        self._open.append(answer)

        async def serve() -> None:
            await self._world.sleep(self._world.between(1, 10))
            try:
                answer.give(await program())
            except Unavailable as away:
                answer.give(error=away)

        self.process.spawn(serve())
        return answer

    async def take(self, pod: "Pod") -> RunAttempt | None:
        """``job-take``: held until there is a job for a free slot of this pod, or for a while."""
        poll = Poll(pod, self._free_slot(pod), f"{self._id}-{next(self._ids)}")
        self._polls[poll.slot.worker_id] = poll
        await self._follow(self._log.partition_of(ASSIGNMENTS.name, poll.slot.worker_id.encode()))
        self.process.spawn(self._say_ready(poll))
        self._world.at(self._world.between(20_000, 90_000), lambda: self.close(poll))
        order: RunAttempt | None = await poll.answer
        return order

    def close(self, poll: Poll) -> None:
        """It ended without a job, or its connection broke: the slot says so."""
        if poll.answer.given or not self.process.alive:
            return
        poll.answer.give(None)
        self._polls.pop(poll.slot.worker_id, None)
        gone = WorkerGone(pool=self._pool, worker_id=poll.slot.worker_id, session=self._id, sequence=self._number())
        self.process.spawn(self._say_somehow(gone))

    def left(self, pod: "Pod") -> None:
        """The pod died. A broken connection is noticed soon, or only when the poll ends."""
        for poll in list(self._polls.values()):
            if poll.pod is pod:
                poll.left = True
                if self._world.random.random() < 0.7:
                    self._world.at(self._world.between(10, 3_000), lambda poll=poll: self.close(poll))  # type: ignore[misc]

    async def ping(self, pod: "Pod", job_ids: list[str]) -> None:
        """It runs these, it says: each is a beat of the slot that the job's document names."""
        for job_id in job_ids:
            job = self._servers.database.jobs.get(job_id)
            if job is not None and _runs_on(job, pod):
                beat = WorkerBeat(
                    pool=self._pool,
                    worker_id=job.worker_id or "",
                    session=(job.worker_id or "").split(":")[3],
                    sequence=self._number(),
                    state=WorkerState.BUSY,
                    kind=WorkerKind.SDK,
                    job_id=job.job_id,
                    attempt=job.attempt,
                )
                await self._say(beat)

    async def done(self, pod: "Pod", job_id: str, *, failed: bool) -> None:
        """``job-done``: a report of the attempt that the document names, as soon as it says that this pod has it."""
        until = self._world.now + KNOWN_WITHIN_MS
        while self._world.now < until:
            job = self._servers.database.jobs.get(job_id)
            if job is not None and _runs_on(job, pod):
                await self._report(job, failed=failed)
                self._taken = {slot: had for slot, had in self._taken.items() if had != (job_id, job.attempt)}
                return
            if job is None or job.state is not State.QUEUED:
                return
            await self._world.sleep(200)

    async def _report(self, job: Job, *, failed: bool) -> None:
        named: dict[str, Any] = {
            "command_id": f"{job.job_id}:{job.attempt}:{job.worker_id}:{'failed' if failed else 'done'}",
            "user_id": job.user_id,
            "job_id": job.job_id,
            "attempt": job.attempt,
            "worker_id": job.worker_id,
        }
        self._world.note(self.process.name, "reports", job.job_id, named["command_id"])
        if failed:
            word = Output(value='{"error":"no"}')
            await self._say(AttemptFailed(**named, code=FailureCode.HANDLER_ERROR, message="no", output=word))
        else:
            await self._say(AttemptSucceeded(**named, output=Output(value='{"output":1}')))

    async def _say_ready(self, poll: Poll) -> None:
        while not poll.answer.given:
            ready = WorkerBeat(
                pool=self._pool,
                worker_id=poll.slot.worker_id,
                session=self._id,
                sequence=self._number(),
                state=WorkerState.READY,
                kind=WorkerKind.SDK,
                poll_id=poll.poll_id,
            )
            try:
                await self._say(ready)
            except Unavailable:
                await self._world.sleep(1_000)
                continue
            poll.said = True
            await self._world.sleep(SAY_AGAIN_MS)

    async def _follow(self, partition: int) -> None:
        """Know where orders will be before a slot asks for one."""
        if partition in self._followed:
            return
        start = (await self._log.ends(ASSIGNMENTS.name))[partition]
        if partition not in self._followed:
            self._followed.add(partition)
            self.process.spawn(self._read(partition, start))

    async def _read(self, partition: int, offset: int) -> None:
        broker = self._servers.broker
        while True:
            lane = broker.lanes[ASSIGNMENTS.name, partition]
            if broker.away:
                await self._world.sleep(broker.away_until - self._world.now)
            elif offset < len(lane):
                record, offset = lane[offset], offset + 1
                message = read(record)
                if isinstance(message, RunAttempt | StopAttempt) and message.session == self._id:
                    self.process.spawn(self._obey(message))
            else:
                await broker.grown(ASSIGNMENTS.name, partition)
                await self._world.sleep(self._world.between(0, 5))

    async def _obey(self, order: RunAttempt | StopAttempt) -> None:
        if isinstance(order, StopAttempt):
            for pod in self._servers.pods:
                slot = slot_of(order.worker_id)
                if slot is not None and pod.name == slot.pod_id:
                    pod.stop(order.job_id, order.attempt)
            return
        poll = self._polls.get(order.worker_id)
        if poll is None or poll.answer.given or poll.poll_id != order.poll_id:
            await self._decline(order)
            return
        self._polls.pop(order.worker_id)
        try:
            await self._say(
                AttemptStarted(
                    command_id=f"{order.job_id}:{order.attempt}:{order.worker_id}:started",
                    user_id=order.user_id,
                    job_id=order.job_id,
                    attempt=order.attempt,
                    worker_id=order.worker_id,
                )
            )
        except Unavailable:
            poll.answer.give(None)  # it may have landed, or not: nobody runs the job
            await self._decline(order)
            return
        self._taken[order.worker_id] = order.job_id, order.attempt
        lost = poll.left or self._servers.broker.plan.strikes("answer_lost")
        self._world.note(self.process.name, "lost answer" if lost else "answers", order.job_id, order.worker_id)
        poll.answer.give(None if lost else order)

    async def _decline(self, order: RunAttempt) -> None:
        declined = AssignmentDeclined(
            pool=self._pool,
            worker_id=order.worker_id,
            session=self._id,
            sequence=self._number(),
            job_id=order.job_id,
            attempt=order.attempt,
        )
        await self._say_somehow(declined)

    def _free_slot(self, pod: "Pod") -> Slot:
        for number in count(1):
            slot = Slot(ENDPOINT, pod.name, self._id, number)
            had = self._taken.get(slot.worker_id)
            job = self._servers.database.jobs.get(had[0]) if had else None
            over = (
                had is None or job is None or job.attempt != had[1] or job.state not in (State.QUEUED, State.PROCESSING)
            )
            if over and slot.worker_id not in self._polls:
                return slot
        raise AssertionError

    def _number(self) -> int:
        self._spoken = max(self._spoken + 1, self._world.now + self._skew)
        return self._spoken

    async def _say(self, message: Message) -> None:
        await self._log.append(encode(message, source="/openv/gateway", at=self._world.now))

    async def _say_somehow(self, message: Message) -> None:
        with suppress(Unavailable):  # its silence says it too
            await self._say(message)

    def _broken(self, answer: Signal) -> None:
        self._world.at(self._world.between(1, 500), lambda: answer.give(error=Unavailable("gateway", "broken")))


def _runs_on(job: Job, pod: "Pod") -> bool:
    slot = slot_of(job.worker_id)
    return job.state is State.PROCESSING and slot is not None and slot.pod_id == pod.name


class Pod:
    """A worker built on RunPod's SDK, started again where it dies. ``at_once``: how many jobs it runs at a time."""

    def __init__(self, world: World, servers: Servers, gateways: list[Gateway], name: str, pool: str) -> None:
        self.name, self.pool = name, pool
        self._world, self._servers, self._gateways = world, servers, gateways
        self._at_once = world.random.choice((1, 1, 2))
        self._start()

    @property
    def is_ready(self) -> bool:
        """Whether it asks, and its gateway has said so."""
        return self.process.alive and any(
            poll.pod is self and poll.said and not poll.answer.given
            for gateway in self._gateways
            for poll in gateway._polls.values()
            if gateway.process.alive
        )

    def kill(self) -> None:
        if self.process.alive:
            self._world.note(self.process.name, "killed", " ".join(self._running))
            self.process.kill()
            for gateway in self._gateways:
                gateway.left(self)
            self._world.at(self._world.between(500, 20_000), self._start)

    def hang(self, for_ms: int) -> None:
        if self.process.alive:
            self._world.note(self.process.name, "hangs", f"{for_ms} ms", " ".join(self._running))
            self.process.stand_still(for_ms)

    def stop(self, job_id: str, attempt: int) -> None:
        """``job-stop``, which knows jobs only: its gateway has compared the attempt with what was taken."""
        if self._running.get(job_id) == attempt:
            self._world.at(self._world.between(1, 1_000), lambda: self._stopped.add((job_id, attempt)))

    def _start(self) -> None:
        self.process = Process(self._world, self.name)
        self._running: dict[str, int] = {}
        self._stopped: set[tuple[str, int]] = set()
        for _ in range(self._at_once):
            self.process.spawn(self._work())
        self.process.spawn(self._ping())

    async def _meet(self) -> Gateway:
        while True:
            alive = [gateway for gateway in self._gateways if gateway.process.alive]
            if alive:
                return self._world.random.choice(alive)
            await self._world.sleep(500)

    async def _work(self) -> None:
        while True:
            gateway = await self._meet()
            try:
                order: RunAttempt | None = await gateway.call(partial(gateway.take, self))
            except Unavailable:
                await self._world.sleep(self._world.between(100, 2_000))
                continue
            if order is not None:
                await self._run(order)

    async def _run(self, order: RunAttempt) -> None:
        self._running[order.job_id] = order.attempt
        self._world.note(self.process.name, "runs", order.job_id, f"attempt {order.attempt}")
        for _ in range(self._world.random.choice((0, 0, 1, 5, 25))):
            await self._world.sleep(self._world.between(300, 1_000))
            if (order.job_id, order.attempt) in self._stopped:
                break
        else:
            await self._answer(order.job_id, failed=self._servers.broker.plan.strikes("handler_fails"))
        if self._running.get(order.job_id) == order.attempt:
            del self._running[order.job_id]

    async def _answer(self, job_id: str, *, failed: bool) -> None:
        """Three tries, as the SDK has them."""
        for _ in range(3):
            gateway = await self._meet()
            try:
                await gateway.call(partial(gateway.done, self, job_id, failed=failed))
            except Unavailable:
                await self._world.sleep(self._world.between(500, 3_000))
                continue
            return

    async def _ping(self) -> None:
        while True:
            await self._world.sleep(PING_MS)
            gateway = await self._meet()
            try:
                await gateway.call(partial(gateway.ping, self, list(self._running)))
            except Unavailable:
                continue
