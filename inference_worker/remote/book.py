"""What a worker remembers of runs on RunPod, and the jobs they are of. An outage of MongoDB is waited out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from repo.ports import JobStore, Unavailable
from repo.remote_runs import RemoteRunStore
from schemas.jobs import Job
from schemas.remote_runs import RemoteRun

T = TypeVar("T")

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 5.0

log = structlog.get_logger()


class Book:
    """Of one target. Every method takes as long as MongoDB does."""

    def __init__(self, runs: RemoteRunStore, jobs: JobStore, target: str) -> None:
        self._runs = runs
        self._jobs = jobs
        self.target = target

    async def job(self, job_id: str) -> Job | None:
        """The document as it is now."""
        return await _answered(lambda: self._jobs.job(job_id))

    async def known(self, job_id: str, run: int) -> RemoteRun | None:
        """What is remembered."""
        return await _answered(lambda: self._runs.remote_run(job_id, run, self.target))

    async def all(self) -> list[RemoteRun]:
        """Whatever is remembered, whosever it is."""
        return await _answered(lambda: self._runs.remote_runs(self.target))

    async def put(self, remote: RemoteRun) -> bool:
        """Store the next version; False where somebody else was faster."""
        return await _answered(lambda: self._runs.store_remote_run(remote, remote.version - 1))

    async def forget(self, remote: RemoteRun) -> bool:
        """Unless it has moved."""
        return await _answered(lambda: self._runs.forget_remote_run(remote))


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await ask()
        except Unavailable as failure:
            if pause == FIRST_PAUSE_S:
                log.warning("waiting", server=failure.server, reason=failure.reason)
            await asyncio.sleep(pause)
            pause = min(LAST_PAUSE_S, pause * 2)
