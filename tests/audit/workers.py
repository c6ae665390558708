"""Scripted workers: they ask, take what they are given, and report on it as good and bad workers do."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptStarted, AttemptSucceeded, Report
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat, WorkerState
from schemas.failures import FailureCode
from schemas.jobs import Output
from tests.audit.post import Post
from tests.streams.submissions import new_id

BEAT_S = 1.0
MADE = Output(width=848, height=480, frames=7)


class ScriptedWorker:
    """One worker. ``diligent``: from now on it delivers whatever it is given."""

    def __init__(self, post: Post, pool: str, chance: Random) -> None:
        self.worker_id = new_id("worker-")
        self.session = new_id()
        self.orders: asyncio.Queue[RunAttempt] = asyncio.Queue()
        self.diligent = False
        self._post = post
        self._pool = pool
        self._chance = chance
        self._sequence = 0
        self._said: deque[Report] = deque(maxlen=20)
        self._ways: list[tuple[float, Callable[[RunAttempt], Coroutine[Any, Any, None]]]] = [
            (0.55, self._deliver),
            (0.12, self._fail),
            (0.10, self._hand_back),
            (0.08, self._hand_back_and_deliver),
            (0.07, self._decline),
            (0.05, self._start_anew),
            (0.03, self._forget),
        ]

    async def run(self) -> None:
        """Ask and work for ever."""
        while True:
            await self._beat(WorkerState.READY)
            try:
                async with asyncio.timeout(BEAT_S):
                    run = await self.orders.get()
            except TimeoutError:
                continue
            if run.session == self.session:
                await self._work(run)

    async def _work(self, run: RunAttempt) -> None:
        if self.diligent:
            await self._deliver(run)
            return
        weights = [weight for weight, _ in self._ways]
        ((_, way),) = self._chance.choices(self._ways, weights)
        await way(run)
        if self._said and self._chance.random() < 0.1:
            await self._post.send(self._chance.choice(self._said))  # told again, late

    async def _deliver(self, run: RunAttempt) -> None:
        await self._begin(run)
        await self._report(AttemptSucceeded(**self._of(run), output=MADE))

    async def _fail(self, run: RunAttempt) -> None:
        await self._begin(run)
        code = self._chance.choice([FailureCode.WORKER_CRASHED, FailureCode.TRANSIENT_ERROR, FailureCode.OUT_OF_MEMORY])
        await self._report(AttemptFailed(**self._of(run), code=code))

    async def _hand_back(self, run: RunAttempt) -> None:
        await self._begin(run)
        await self._report(AttemptHandedBack(**self._of(run), reason="scripted"))

    async def _hand_back_and_deliver(self, run: RunAttempt) -> None:
        """The late success of an attempt that was given back."""
        await self._hand_back(run)
        await asyncio.sleep(self._chance.uniform(0.0, 0.3))
        await self._report(AttemptSucceeded(**self._of(run), output=MADE))

    async def _decline(self, run: RunAttempt) -> None:
        self._sequence += 1
        await self._post.send(
            AssignmentDeclined(
                pool=self._pool,
                worker_id=self.worker_id,
                session=self.session,
                sequence=self._sequence,
                job_id=run.job_id,
                attempt=run.attempt,
            )
        )

    async def _start_anew(self, run: RunAttempt) -> None:
        """It dies in the middle and comes back as another session: the scheduler has to call the attempt lost."""
        await self._begin(run)
        self.session, self._sequence = new_id(), 0

    async def _forget(self, run: RunAttempt) -> None:
        """It says nothing about the attempt, ever; the scheduler takes it back after its time."""

    async def _begin(self, run: RunAttempt) -> None:
        await self._beat(WorkerState.BUSY, run)
        await self._report(AttemptStarted(**self._of(run)))
        await asyncio.sleep(self._chance.uniform(0.02, 0.3))

    async def _beat(self, state: WorkerState, run: RunAttempt | None = None) -> None:
        self._sequence += 1
        beat = WorkerBeat(
            pool=self._pool,
            worker_id=self.worker_id,
            session=self.session,
            sequence=self._sequence,
            state=state,
            job_id=run.job_id if run else None,
            attempt=run.attempt if run else None,
        )
        await self._post.send(beat)

    async def _report(self, report: Report) -> None:
        self._said.append(report)
        await self._post.send(*[report] * (2 if self._chance.random() < 0.1 else 1))

    def _of(self, run: RunAttempt) -> dict[str, Any]:
        return {
            "command_id": new_id(),
            "user_id": run.user_id,
            "job_id": run.job_id,
            "attempt": run.attempt,
            "worker_id": self.worker_id,
        }
