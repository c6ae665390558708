"""A fleet of slots over memory twins and a fake RunPod; a test plays scheduler and ledger to it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from inference_worker.core.limits import Limits
from inference_worker.encode import encode
from inference_worker.files import FileStore
from inference_worker.parent import Surroundings
from inference_worker.remote.fleet import Fleet, Shape
from inference_worker.remote.settings import RunPodSettings, Signing
from inference_worker.remote.wiring import desk_of
from inference_worker.work_dir import WorkDir
from repo.clock import now_ms
from repo.memory import MemoryDatabase, MemoryEventLog, MemoryObjectStore
from repo.stores import ObjectStores
from schemas.codec import Message
from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded
from schemas.dispatch import RemoteMoved, RunAttempt, StopAttempt, WorkerBeat, WorkerState
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.remote_runs import RemoteRun
from tests.gateway.world import job
from tests.inference_worker.parent_world import read, send
from tests.inference_worker.remote.fake_runpod import ENDPOINT, KEY, FakeRunPod, fake_runpod

T = TypeVar("T")
DEADLINE_S = 60.0
POOL = "mochi-1"
QUICK = {"poll_s": 0.05, "poll_most_s": 0.2, "adopt_s": 0.5, "sweep_s": 0.2, "slots": 1}


def a_video(folder: Path, frames: int = 7) -> bytes:
    """A small MP4."""
    folder.mkdir(exist_ok=True)
    pictures = np.zeros((frames, 64, 96, 3), dtype=np.uint8)
    return encode(iter([pictures]), folder, fps=24, expected=frames, progress=lambda _: None).video.path.read_bytes()


async def until(look: Callable[[], T | Awaitable[T | None] | None], what: str) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = look()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"not seen within {DEADLINE_S:g} s: {what}")


class World:
    """What outlives a process of ours: the log, the stores, RunPod."""

    def __init__(self, root: Path, fake: FakeRunPod) -> None:
        self.root = root
        self.fake = fake
        self.log = MemoryEventLog()
        self.objects = MemoryObjectStore()
        self.database = MemoryDatabase()
        self._began = 0
        self._calls = itertools.count()

    @asynccontextmanager
    async def process(self, name: str = "w", *, kill: bool = False, **settings: Any) -> AsyncIterator[Fleet]:
        """One process of slots; ended as by kill -9, or by a signal."""
        told = {"url": self.fake.url, "endpoint": ENDPOINT, "api_key": KEY, "result_allow_http": True}
        chosen = RunPodSettings(**{**told, "result_networks": "127.0.0.0/8", **QUICK, **settings})
        async with AsyncExitStack() as stack:
            work = stack.enter_context(WorkDir(self.root / "work"))
            desk = await stack.enter_async_context(desk_of(chosen, Signing(webhook_secret="s" * 32), self.database))
            desk = replace(desk, patience=replace(desk.patience, lost_ms=200, cancel_ms=20))
            files = FileStore(ObjectStores(self.objects))
            needs = [("Kafka", self.log.ping), ("MongoDB", self.database.jobs.ping)]
            around = Surroundings(event_log=self.log, files=files, work=work, start_child=_no_child, needs=needs)
            fleet = Fleet(Shape(POOL, name, chosen.slots, chosen.sweep_s), desk, around, Limits(beat_ms=200))
            self._began = len(self.said("dispatch"))
            running = asyncio.create_task(fleet.run())
            try:
                yield fleet
            finally:
                if not kill:
                    fleet.leave()
                    async with asyncio.timeout(DEADLINE_S):
                        await running
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def said(self, topic: str) -> list[Message]:
        return read(self.log.records(f"openv.{topic}"))

    def beats(self, worker_id: str = "w.1") -> list[WorkerBeat]:
        """Of the newest process."""
        said = self.said("dispatch")[self._began :]
        return [one for one in said if isinstance(one, WorkerBeat) and one.worker_id == worker_id]

    async def ready(self, worker_id: str = "w.1") -> str:
        """The session, in the newest process, that says it is ready."""

        def look() -> str | None:
            beats = self.beats(worker_id)
            return beats[-1].session if beats and beats[-1].state is WorkerState.READY else None

        return await until(look, f"{worker_id} ready")

    async def order(self, worker_id: str = "w.1", *, of: Job | None = None, **changes: Any) -> Job:
        """Give an attempt to a slot, as the scheduler does; the ledger's document is there before."""
        session = await self.ready(worker_id)
        made = of or job(f"job-{now_ms()}-{len(self.fake.asked)}", state=State.QUEUED, pool=POOL)
        made = replace(made, **changes)
        await self.store(made)
        await send(
            self.log,
            RunAttempt(
                worker_id=worker_id,
                session=session,
                pool=POOL,
                job_id=made.job_id,
                user_id=made.user_id,
                run=made.run,
                attempt=made.attempt,
                request=made.request,
                execution_timeout_ms=made.execution_timeout_ms,
                assigned_at=now_ms(),
            ),
        )
        await until(lambda: self.reports(made, AttemptStarted), "started")
        return await self.store(replace(made, state=State.PROCESSING, worker_id=worker_id, started_at=now_ms()))

    async def store(self, made: Job) -> Job:
        known = await self.database.jobs.job(made.job_id)
        expected = known.version if known else 0
        stored = replace(made, version=expected + 1)
        assert await self.database.jobs.store_job(stored, expected)
        return stored

    async def stop(self, made: Job, worker_id: str = "w.1") -> None:
        session = self.beats(worker_id)[-1].session
        stop = StopAttempt(worker_id=worker_id, session=session, job_id=made.job_id, attempt=made.attempt)
        await send(self.log, stop)

    async def ring(
        self, made: Job, remote_id: str | None = None, worker_id: str = "w.1", *, signed_attempt: int | None = 1
    ) -> None:
        about = {"job_id": made.job_id, "attempt": made.attempt, "call_id": f"c-{next(self._calls)}"}
        call = RemoteMoved(
            worker_id=worker_id, session="x", remote_id=remote_id, signed_attempt=signed_attempt, **about
        )
        await send(self.log, call)

    def reports(self, made: Job, kind: type[T]) -> list[T]:
        mine = [one for one in self.said("commands") if getattr(one, "job_id", "") == made.job_id]
        return [one for one in mine if isinstance(one, kind) and getattr(one, "attempt", 0) == made.attempt]

    async def succeeded(self, made: Job) -> AttemptSucceeded:
        return (await until(lambda: self.reports(made, AttemptSucceeded) or self._failed(made), "succeeded"))[0]

    def _failed(self, made: Job) -> None:
        assert not self.reports(made, AttemptFailed), self.reports(made, AttemptFailed)

    async def failed(self, made: Job) -> AttemptFailed:
        return (await until(lambda: self.reports(made, AttemptFailed), "failed"))[0]

    async def remembered(self, made: Job) -> RemoteRun | None:
        return await self.database.remote_runs.remote_run(made.job_id, made.run, f"{self.fake.url}/{ENDPOINT}")

    async def submitted(self, count: int = 1) -> None:
        await until(lambda: len(self.fake.jobs) >= count, f"{count} submitted")


async def _no_child() -> Any:
    raise AssertionError("each slot starts its own")


@asynccontextmanager
async def remote_world(root: Path) -> AsyncIterator[World]:
    async with fake_runpod() as fake:
        yield World(root, fake)
