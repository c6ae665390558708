"""A run that nobody wants any more: cancelled on RunPod, then forgotten here. Repeated until RunPod has answered.

What was told to stop here ends there at once; besides, all that is remembered is looked through at the start and every
now and then, for runs whose process died before it could cancel them, and for those that nobody took over.
"""

import asyncio

import structlog

from inference_worker.core.remote_plans import Ask, End, Fate, fate, fate_after_stop
from inference_worker.core.runpod_answers import Reply, pause_ms
from inference_worker.remote.desk import Desk
from schemas.remote_runs import RemoteRun

TRIES = 12  # of one cancellation; then the next look through begins another
LOOK_AGAIN_S = 0.5

log = structlog.get_logger()


async def cancelled_there(desk: Desk, remote_id: str) -> bool:
    """Whether RunPod has heard of it; it may have ended there meanwhile, or be unknown."""
    for tries in range(TRIES):
        reply = await desk.service.cancel(remote_id)
        if _heard(reply):
            log.info("remote_cancelled", remote_id=remote_id, status=reply.status)
            return True
        if tries == 0:
            log.warning("remote_not_cancelled", remote_id=remote_id, status=reply.status, reason=reply.words)
        await asyncio.sleep(pause_ms(tries, reply.retry_after_ms, desk.patience.cancel_ms) / 1000)
    return False


def _heard(reply: Reply) -> bool:
    """Done, or nothing to do: 400 and 409 are said of what has ended, 404 of what is not there."""
    return reply.status is not None and (200 <= reply.status < 300 or reply.status in (400, 404, 409, 410))


class Steward:
    """Of one process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ending: set[str] = set()

    def release(self, job_id: str, run: int, attempt: int, worker_id: str) -> None:
        """The attempt was told to stop: see to its run."""
        self._desk.errands.begin(self._released(job_id, run, attempt, worker_id))

    async def _released(self, job_id: str, run: int, attempt: int, worker_id: str) -> None:
        book, stopped_at = self._desk.book, self._desk.now()
        while True:
            remote = await book.known(job_id, run)
            if remote is None:
                return
            job = await book.job(job_id)
            decided = fate_after_stop(remote, attempt, worker_id, job, stopped_at, self._desk.now())
            if not isinstance(decided, Ask) and await self._carried_out(remote, decided):
                return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def sweep(self) -> None:
        """Look through all that is remembered, once."""
        for remote in await self._desk.book.all():
            if (remote.job_id, remote.run) not in self._desk.following:
                decided = fate(remote, await self._desk.book.job(remote.job_id), self._desk.now())
                if isinstance(decided, End):
                    self._desk.errands.begin(self._carried_out(remote, decided))

    async def _carried_out(self, remote: RemoteRun, decided: Fate) -> bool:
        """False: it has moved meanwhile, look again."""
        if not isinstance(decided, End) or remote.key in self._ending:
            return True
        self._ending.add(remote.key)
        try:
            wanted = decided.cancel and remote.remote_id is not None
            if wanted and not await cancelled_there(self._desk, remote.remote_id or ""):
                return True  # the next look through goes on
            return await self._desk.book.forget(remote)
        finally:
            self._ending.discard(remote.key)
