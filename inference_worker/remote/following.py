"""One attempt whose video is made on RunPod: from the order to the finished files, or to why there are none.

RunPod is asked more and more seldom, and at once when it calls. What it says last is written down before it is acted
upon, so that whoever goes on after a crash, here or elsewhere, neither submits again nor asks for what has failed.
"""

from collections.abc import Callable
from pathlib import Path

import structlog

from inference_worker.core.remote_plans import moved
from inference_worker.core.runpod_answers import Broken, Later, Look, Made, Under, Unknown, read_status, step_of
from inference_worker.messages import Done, Failed, Media, Progress
from inference_worker.remote.calls import Bell
from inference_worker.remote.desk import Desk
from inference_worker.remote.fetching import NotFetched, fetched
from inference_worker.remote.submitting import Submitter, Taken
from schemas.failures import FailureCode
from schemas.jobs import Failure
from schemas.phases import Phase
from schemas.remote_runs import RemoteFact, RemoteRun, RemoteState

log = structlog.get_logger()


class Overtaken(Exception):
    """Somebody else follows the run now: nothing is said of it here any more."""


class Following:
    """``await run()`` ends with the attempt. ``say`` hears how far it is."""

    def __init__(self, desk: Desk, taken: Taken, folder: Path, bell: Bell, say: Callable[[Progress], None]) -> None:
        self._desk = desk
        self._taken = taken
        self._folder = folder
        self._bell = bell
        self._say = say
        self._submitter = Submitter(desk, taken, bell)
        self._began = self._phase_began = desk.now()
        self._phase: Phase | None = None
        self._log = log.bind(job_id=taken.job.job_id, attempt=taken.job.attempt)

    async def run(self) -> Done | Failed:
        """Raises ``Overtaken``, and ``Unusable`` where this worker can submit nothing."""
        job = self._taken.job
        self._show(Phase.LOAD, 0, 1)
        try:
            ended = await self._made()
        except OSError as error:
            ended = Broken(FailureCode.TRANSIENT_ERROR, f"The worker could not write the video: {error.strerror}.")
        if isinstance(ended, Broken):
            self._log.warning("attempt_failed", code=ended.code)
            return Failed(job_id=job.job_id, attempt=job.attempt, code=ended.code, message=ended.words)
        return Done(job_id=job.job_id, attempt=job.attempt, media=ended)

    async def _made(self) -> Media | Broken:
        while True:
            remote = await self._submitter.obtain()
            if isinstance(remote, Broken):
                return remote
            look, remote = await self._ended(remote)
            if isinstance(look, Made):
                return await self._fetched(remote, look.url)
            if isinstance(look, Broken):
                await self._note(remote, RemoteFact.BROKEN, Failure(code=look.code, message=look.words))
                return look
            self._log.warning("remote_lost", remote_id=remote.remote_id)
            await self._note(remote, RemoteFact.BROKEN)

    async def _ended(self, remote: RemoteRun) -> tuple[Made | Broken | Unknown, RemoteRun]:
        """Ask until it has ended there, or has been unknown for too long."""
        desk, quiet, known_at = self._desk, 0, self._desk.now()
        before: Look | None = None
        while True:
            look = read_status(await desk.service.status(remote.remote_id or ""))
            if isinstance(look, Made) and remote.state is RemoteState.SUBMITTED:
                remote = await self._note(remote, RemoteFact.COMPLETED)
            if isinstance(look, Made | Broken):
                return look, remote
            if not isinstance(look, Unknown):
                known_at = desk.now()
            elif desk.now() - known_at >= desk.patience.lost_ms:
                return look, remote
            self._watched(look, before)
            quiet = quiet + 1 if look == before and not isinstance(look, Unknown) else 0
            before = look
            pause = desk.pause_s(quiet, look.retry_after_ms if isinstance(look, Later) else None)
            if await self._bell.wait(pause):
                quiet = 0

    def _watched(self, look: Under | Unknown | Later, before: Look | None) -> None:
        if isinstance(look, Under):
            self._show(*step_of(look, self._taken.job.request.steps))
        elif isinstance(look, Later) and not isinstance(before, Later):
            self._log.warning("remote_not_asked", reason=look.words)

    async def _fetched(self, remote: RemoteRun, url: str) -> Media | Broken:
        self._show(Phase.ENCODE, 0, 1)
        got = await fetched(self._desk, url, self._folder)
        if isinstance(got, Media):
            self._show(Phase.ENCODE, 1, 1)
            return got
        return await self._unfetched(remote, got)

    async def _unfetched(self, remote: RemoteRun, why: NotFetched) -> Broken:
        if why.spent:
            await self._note(remote, RemoteFact.BROKEN, Failure(code=why.code, message=why.words))
        return Broken(why.code, why.words)

    async def _note(self, remote: RemoteRun, fact: RemoteFact, failure: Failure | None = None) -> RemoteRun:
        after = moved(remote, fact, failure=failure)
        if await self._desk.book.put(after):
            return after
        raise Overtaken

    def _show(self, phase: Phase, step: int, steps: int) -> None:
        now, job = self._desk.now(), self._taken.job
        if phase is not self._phase:
            self._phase, self._phase_began = phase, now
        self._say(
            Progress(
                job_id=job.job_id,
                attempt=job.attempt,
                phase=phase,
                step=step,
                steps=steps,
                elapsed_ms=now - self._began,
                phase_ms=now - self._phase_began,
            )
        )
