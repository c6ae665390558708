"""One slot's stand-in for a model's process: to the worker it is a child that makes videos; it asks RunPod for them.

It is ready once RunPod takes our key. What fails here and would fail again (the key, the endpoint) ends this child as
a model that does not load does: the worker says so, takes no jobs, and tries again every minute.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from inference_worker.child_process import ChildDied
from inference_worker.core.runpod_answers import Broken, Refused, refused
from inference_worker.messages import (
    AttemptStopped,
    Done,
    Failed,
    FromChild,
    Heartbeat,
    Loading,
    Ready,
    Unloadable,
)
from inference_worker.remote.cancelling import Steward
from inference_worker.remote.desk import Desk
from inference_worker.remote.following import Following, Overtaken
from inference_worker.remote.submitting import Taken, Unusable
from schemas.failures import FailureCode
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE
from schemas.requests import GenerationRequest

ENGINE = "runpod"
BEAT_S = 1.0
OVER = -15  # as a process that was told to end

log = structlog.get_logger()


class Slot:
    """Implements ``ChildPort``. ``trusted``: it has work already, so it does not ask first whether the key is good."""

    def __init__(self, desk: Desk, steward: Steward, worker_id: str, *, trusted: bool = False) -> None:
        self._desk = desk
        self._steward = steward
        self._worker_id = worker_id
        self._trusted = trusted
        self._said: asyncio.Queue[FromChild | ChildDied] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: tuple[str, int, asyncio.Task[None]] | None = None
        self._run: tuple[str, int, int] | None = None
        self._beats = 0

    async def messages(self) -> AsyncIterator[FromChild]:
        """What a child says; a heartbeat where nothing else is. Raises ``ChildDied`` at the end."""
        self._begin(self._load())
        while True:
            said: FromChild | ChildDied | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    said = await self._said.get()
            if isinstance(said, ChildDied):
                raise said
            if said is None:
                # Each one counts as a step: what is made elsewhere is not ours to call stuck.
                self._beats += 1
                said = Heartbeat(progress=self._beats)
            yield said

    async def generate(self, job_id: str, attempt: int, request: GenerationRequest, directory: Path) -> None:
        """See to a run on RunPod. The request is read from the document, with all that belongs to it."""
        del request
        self._running = (job_id, attempt, self._begin(self._make(job_id, attempt, directory)))

    async def stop(self, job_id: str, attempt: int) -> None:
        """End it here at once; whether it ends there too is for the steward to find out."""
        if self._running is None or self._running[:2] != (job_id, attempt):
            return
        self._running[2].cancel()
        self._say(AttemptStopped(job_id=job_id, attempt=attempt))
        if self._run is not None and self._run[:2] == (job_id, attempt):
            self._steward.release(job_id, self._run[2], attempt, self._worker_id)

    def kill(self) -> None:
        """The end. What runs on RunPod goes on there."""
        for task in self._tasks:
            task.cancel()
        self._said.put_nowait(ChildDied(OVER))

    async def close(self) -> None:
        """Wait for what is being ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _load(self) -> None:
        """Ask until RunPod says whether it takes our key."""
        tries = 0
        while not self._trusted:
            reply = await self._desk.service.health()
            if reply.status is not None and 200 <= reply.status < 300:
                break
            known = reply.status is not None and reply.status < 500 and reply.status not in (408, 429)
            if known and (why := refused(reply.status or 0)).here:
                self._unloadable(why)
                return
            if tries == 0:
                log.warning("waiting", server="runpod", reason=reply.words or f"it answered {reply.status}")
            self._say(Loading(engine=ENGINE, step=0, steps=1))
            await asyncio.sleep(self._desk.pause_s(tries, reply.retry_after_ms))
            tries += 1
        self._say(Ready(engine=ENGINE, device=self._desk.service.endpoint))

    async def _make(self, job_id: str, attempt: int, directory: Path) -> None:
        job = await self._desk.book.job(job_id)
        if job is None or job.state not in ACTIVE or job.attempt != attempt:
            # It has moved on since it was ordered; the order to stop is on its way, and no report of ours counts.
            words = "The job had moved on before it was begun."
            self._say(Failed(job_id=job_id, attempt=attempt, code=FailureCode.TRANSIENT_ERROR, message=words))
            return
        self._run = (job_id, attempt, job.run)
        followed = (job_id, job.run)
        self._desk.following.add(followed)
        try:
            self._say(await self._followed(job, directory))
        except Overtaken:
            await asyncio.Event().wait()  # for the order to stop: whoever took it over has the lease
        except Unusable as reason:
            broken = Broken(FailureCode.MODEL_UNAVAILABLE, str(reason))
            self._say(Failed(job_id=job_id, attempt=attempt, code=broken.code, message=broken.words))
            self._unloadable(Refused(broken.code, broken.words, here=True))
        finally:
            self._desk.following.discard(followed)

    async def _followed(self, job: Job, directory: Path) -> Done | Failed:
        began = job.started_at if job.worker_id == self._worker_id and job.started_at else self._desk.now()
        taken = Taken(job, self._worker_id, until=began + job.execution_timeout_ms)
        with self._desk.calls.bell(job.job_id) as bell:
            return await Following(self._desk, taken, directory, bell, self._say).run()

    def _unloadable(self, why: Refused) -> None:
        words = f"{why.words} Are OPENV_RUNPOD_URL, OPENV_RUNPOD_ENDPOINT and OPENV_RUNPOD_API_KEY right?"
        self._say(Unloadable(engine=ENGINE, code=why.code, message=words))
        self._said.put_nowait(ChildDied(1))

    def _say(self, message: FromChild) -> None:
        self._said.put_nowait(message)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        """A fault of ours ends this child as a crash ends a process."""
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            log.error("slot_fault", error=type(fault).__name__, worker_id=self._worker_id)
            self._said.put_nowait(ChildDied(1))
