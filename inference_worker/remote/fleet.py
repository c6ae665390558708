"""The slots of one process: each is a worker of the scheduler's, under the process's name and a number.

A slot that begins with a run which its last session left says so in its first beat, and keeps the lease. There may be
more such runs than slots, where there are fewer slots than there were: those go on in slots that take nothing after.
"""

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import structlog

from inference_worker.core.inputs import Input, Resume
from inference_worker.core.limits import Identity, Limits
from inference_worker.core.remote_plans import resumes
from inference_worker.keeper import ChildPort
from inference_worker.parent import Parent, Surroundings
from inference_worker.remote.cancelling import Steward
from inference_worker.remote.desk import Desk
from inference_worker.remote.slot import Slot
from repo.core.documents import DamagedDocumentError
from schemas.dispatch import DrainSession, RunAttempt
from schemas.jobs import Job

FINISH_S = 0.7  # after the last slot has ended: for answers and cancellations on their way

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Shape:
    """``name`` is the process's, ``slots`` how many attempts it runs at a time."""

    pool: str
    name: str
    slots: int
    sweep_s: float


class Fleet:
    """``await run()`` returns the exit code. ``leave()`` is what a signal calls."""

    def __init__(self, shape: Shape, desk: Desk, around: Surroundings, limits: Limits) -> None:
        self._shape = shape
        self._desk = desk
        self._around = around
        self._limits = limits
        self._steward = Steward(desk)
        self._parents: list[Parent] = []
        self._told = asyncio.Event()

    async def run(self) -> int:
        """Work until told to leave. Raises what any slot raised."""
        looking, told = asyncio.create_task(self._left_behind()), asyncio.create_task(self._told.wait())
        tasks: list[asyncio.Task[Any]] = [looking, told]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                return 0  # nothing was begun
            resumed = looking.result()
            names = [slot_name(self._shape.name, number) for number in range(1, self._shape.slots + 1)]
            self._parents = [self._parent(one, resumed.get(one)) for one in dict.fromkeys([*names, *resumed])]
            if self._told.is_set():
                self.leave()
            tasks.append(asyncio.create_task(self._sweep()))
            running = [asyncio.create_task(parent.run()) for parent in self._parents]
            tasks += running
            return max(await asyncio.gather(*running))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._desk.errands.finish(FINISH_S)

    def leave(self) -> None:
        """SIGTERM or SIGINT."""
        self._told.set()
        for parent in self._parents:
            parent.leave()

    def _parent(self, worker_id: str, job: Job | None) -> Parent:
        identity = Identity(pool=self._shape.pool, worker_id=worker_id, session=uuid4().hex)
        first: list[Input] = []
        if job is not None:
            log.info("remote_resumed", worker_id=worker_id, job_id=job.job_id, attempt=job.attempt)
            now = self._desk.now()
            first.append(Resume(order_of(job, identity, now), max(0, now - (job.started_at or now))))
        if number_of(self._shape.name, worker_id) > self._shape.slots:
            first.append(DrainSession(worker_id=worker_id, session=identity.session))
        trusted = job is not None

        async def start() -> ChildPort:
            nonlocal trusted
            slot = Slot(self._desk, self._steward, worker_id, trusted=trusted)
            trusted = False
            return slot

        around = replace(self._around, start_child=start, first=first, remote_moved=self._desk.calls.moved)
        return Parent(identity, around, self._limits)

    async def _left_behind(self) -> dict[str, Job]:
        """By slot: the job that its last session had, and has still."""
        found: dict[str, Job] = {}
        for remote in await self._desk.book.all():
            if number_of(self._shape.name, remote.worker_id) == 0:
                continue
            job = await self._desk.book.job(remote.job_id)
            if job is not None and job.pool == self._shape.pool and resumes(remote, job):
                found[remote.worker_id] = job
        return found

    async def _sweep(self) -> None:
        while True:
            try:
                await self._steward.sweep()
            except DamagedDocumentError as damage:  # one that nobody can read is no reason to stop working
                log.error("remote_runs_damaged", reason=str(damage))
            await asyncio.sleep(self._shape.sweep_s)


def slot_name(name: str, number: int) -> str:
    """As the scheduler knows it."""
    return f"{name}.{number}"


def number_of(name: str, worker_id: str) -> int:
    """The number of a slot of this process; 0: it is none."""
    found = re.fullmatch(re.escape(name) + r"\.([1-9][0-9]{0,3})", worker_id)
    return int(found[1]) if found else 0


def order_of(job: Job, identity: Identity, now: int) -> RunAttempt:
    """As the scheduler gave it to the session before."""
    return RunAttempt(
        worker_id=identity.worker_id,
        session=identity.session,
        pool=job.pool,
        job_id=job.job_id,
        user_id=job.user_id,
        run=job.run,
        attempt=job.attempt,
        request=job.request,
        execution_timeout_ms=job.execution_timeout_ms,
        assigned_at=job.started_at or now,
    )
