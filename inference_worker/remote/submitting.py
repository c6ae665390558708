"""How an attempt gets its run on RunPod: one that is there already, or one that is submitted now, once.

The intent is stored before anything is sent and the id as soon as it is known; that last step is finished even where
the attempt is stopped or the process told to end meanwhile. Whoever finds an intent without an id waits for a call.
"""

import asyncio
from dataclasses import dataclass

import structlog

from inference_worker.core.remote_plans import Asker, Await, Follow, GiveUp, Submit, moved, plan, sent_now
from inference_worker.core.runpod_answers import (
    Accepted,
    Broken,
    NotTaken,
    Refused,
    Submission,
    Unclear,
    body_of,
    read_submission,
)
from inference_worker.remote.calls import Bell
from inference_worker.remote.cancelling import cancelled_there
from inference_worker.remote.desk import Desk
from schemas.failures import FailureCode
from schemas.jobs import Failure, Job
from schemas.remote_runs import RemoteFact, RemoteRun

LOSES = "RunPod did not keep what it was given."

log = structlog.get_logger()


class Unusable(Exception):
    """This worker's settings are at fault: no other attempt would fare better here."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An attempt and when its time is over (ms)."""

    job: Job
    worker_id: str
    until: int


class Submitter:
    """For one attempt. ``await obtain()`` gives the run to follow, or why there is none."""

    def __init__(self, desk: Desk, taken: Taken, bell: Bell) -> None:
        self._desk = desk
        self._taken = taken
        self._bell = bell
        self._unanswered = False
        self._log = log.bind(job_id=taken.job.job_id, attempt=taken.job.attempt)

    async def obtain(self) -> RemoteRun | Broken:
        """Raises ``Unusable``."""
        job, desk = self._taken.job, self._desk
        while True:
            known = await desk.book.known(job.job_id, job.run)
            match plan(known, self._asker(), desk.now()):
                case GiveUp(failure):
                    return broken_by(failure)
                case Follow(remote, takes_over):
                    if not takes_over or await desk.book.put(remote):
                        self._log.info("remote_followed", remote_id=remote.remote_id, taken_over=takes_over)
                        return remote
                case Await(remote, until):
                    await self._called(remote, until)
                case Submit(intent):
                    found = await self._submitted(intent)
                    if found is not None:
                        return found

    def _asker(self) -> Asker:
        job, desk = self._taken.job, self._desk
        # Without a webhook nobody would call, but another process's submission may still be on its way.
        hopeless = self._unanswered and desk.webhook is None
        return Asker(
            job_id=job.job_id,
            run=job.run,
            attempt=job.attempt,
            worker_id=self._taken.worker_id,
            target=desk.book.target,
            wait_ms=0 if hopeless else desk.patience.adopt_ms,
        )

    async def _called(self, remote: RemoteRun, until: int) -> None:
        """Wait for a call that says the id. One about an earlier attempt's submission says another run's."""
        left_s = (until - self._desk.now()) / 1000
        self._log.info("remote_unanswered", waits_s=round(left_s, 1))
        await self._bell.wait(left_s)
        remote_id = self._bell.remote_id(remote.attempt)
        if remote_id is not None:
            await self._desk.book.put(moved(remote, RemoteFact.ACCEPTED, remote_id=remote_id))

    async def _submitted(self, intent: RemoteRun) -> RemoteRun | Broken | None:
        """None: look again at what is remembered."""
        desk, tries = self._desk, 0
        while await desk.book.put(intent):
            self._bell.forget()
            outcome = await asyncio.shield(desk.errands.begin(self._sent(intent)))
            match outcome:
                case RemoteRun() | None:
                    return outcome
                case NotTaken(words, retry_after_ms):
                    if tries == 0:
                        self._log.warning("remote_not_taken", reason=words)
                    await asyncio.sleep(desk.pause_s(tries, retry_after_ms))
                    tries += 1
                    intent = sent_now(intent, desk.now())
                case Unclear(words):
                    self._log.warning("remote_unanswered", reason=words)
                    self._unanswered = True
                    await asyncio.sleep(desk.pause_s(intent.submissions - 1))
                    return None
                case Refused(code, words, here):
                    return await self._refused(intent, code, words, here=here)
        return None

    async def _sent(self, intent: RemoteRun) -> RemoteRun | Submission | None:
        """Send it, and write down what came of it."""
        desk, taken = self._desk, self._taken
        left_ms = max(0, taken.until - desk.now())
        address = desk.address(intent.job_id, intent.attempt, taken.worker_id, left_ms)
        said = read_submission(await desk.service.run(body_of(taken.job.request, address, left_ms)))
        if not isinstance(said, Accepted):
            return said
        self._log.info("remote_submitted", remote_id=said.remote_id)
        accepted = moved(intent, RemoteFact.ACCEPTED, remote_id=said.remote_id)
        if await desk.book.put(accepted):
            return accepted
        known = await desk.book.known(intent.job_id, intent.run)
        if known is None or known.remote_id != said.remote_id:
            # It was given up, or is somebody else's, while the answer was on its way.
            await cancelled_there(desk, said.remote_id)
        return None

    async def _refused(self, intent: RemoteRun, code: FailureCode, words: str, *, here: bool) -> Broken:
        if here:  # not the request's fault: nothing is remembered of it, and the worker looks at its endpoint
            await self._desk.book.forget(intent)
            raise Unusable(words)
        failure = Failure(code=code, message=words)
        await self._desk.book.put(moved(intent, RemoteFact.REFUSED, failure=failure))
        return Broken(code, words)


def broken_by(failure: Failure | None) -> Broken:
    """As an attempt's end."""
    if failure is None:
        return Broken(FailureCode.TRANSIENT_ERROR, LOSES)
    return Broken(failure.code, failure.message)
