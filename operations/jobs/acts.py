"""What an operator does to one job: requeue it, kill its attempt, cancel it, delete it.

Each command names what it means (job and run, or job, attempt and worker), so that it means nothing where somebody was
quicker: an attempt that ended meanwhile stays as it ended, and is said to have. Reports are not answered, so the
document is watched: what it says once it has moved is what holds.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from operations.audit.recording import Action, Actor, audited
from operations.core.job_acts import FULFILLED, Verb, Way, refusal, standing, way_of, why_not
from operations.desk import Desk
from operations.jobs.life import stored_job
from operations.jobs.watching import reported
from repo.clock import now_ms
from schemas.commands import (
    AttemptFailed,
    AttemptHandedBack,
    AttemptLost,
    AttemptReport,
    CancelJob,
    DeleteJob,
    RetryJob,
)
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, Job

APPEND_WITHIN_MS = 60_000
STOPPED = "Stopped by an operator."


@dataclass(frozen=True, slots=True)
class Act:
    """What came of it. ``done``: what was asked for is so. ``decided`` False: it is recorded, and no ledger has decided
    it in time. ``words``: a sentence for a person. ``job``: the document as it is then."""

    job: Job
    done: bool
    decided: bool
    words: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Why, and with ``final`` that a killed attempt is not tried again."""

    reason: str = ""
    final: bool = False


async def act(desk: Desk, actor: Actor, verb: Verb, job_id: str, asked: Asked = Asked()) -> Act:
    """Do it, if the job's state has a way to. Raises ``StackError`` for an unknown job, ``Unavailable``."""
    job = await stored_job(desk, job_id)
    way = way_of(verb, job)
    if way is None:
        return Act(job, done=FULFILLED.get(verb) is job.state, decided=True, words=why_not(verb, job))
    detail = {"user": job.user_id, "state": str(job.state), "run": str(job.run), "attempt": str(job.attempt)}
    if job.worker_id is not None:
        detail["worker"] = job.worker_id
    async with audited(desk.log, actor, f"jobs.{verb}", target=job_id, reason=asked.reason, detail=detail) as action:
        came = await _WAYS[way](desk, job, asked)
        _note(action, came)
    return came


def _note(action: Action, came: Act) -> None:
    outcome = "done" if came.done else "changed nothing" if came.decided else "not decided yet"
    action.detail.update({"outcome": outcome, "state": str(came.job.state), "version": str(came.job.version)})


async def _hand_back(desk: Desk, job: Job, asked: Asked) -> Act:
    token = _token(job)
    return await _end(desk, job, AttemptHandedBack(**token, reason=asked.reason or STOPPED), AttemptEnd.HANDED_BACK)


async def _lose(desk: Desk, job: Job, asked: Asked) -> Act:
    """Not ``FAILED``, as long as it may be tried again: if its worker delivers after all, while the next attempt still
    waits, the user has the video."""
    if not asked.final:
        return await _end(desk, job, AttemptLost(**_token(job), reason=asked.reason or STOPPED), AttemptEnd.LOST)
    code = FailureCode.INVALID_INPUT  # of those that are not tried again the one that no text turns into another
    return await _end(
        desk, job, AttemptFailed(**_token(job), code=code, message=asked.reason or STOPPED), AttemptEnd.FAILED
    )


def _token(job: Job) -> dict[str, Any]:
    """What fences the report: it counts for this attempt on this worker alone."""
    return {
        "command_id": str(uuid4()),
        "user_id": job.user_id,
        "job_id": job.job_id,
        "attempt": job.attempt,
        "worker_id": job.worker_id or "",
    }


async def _end(desk: Desk, job: Job, report: AttemptReport, end: AttemptEnd) -> Act:
    after = await reported(desk, job, report)
    if after is None:
        return Act(job, done=False, decided=False, words=_RECORDED)
    ended = next((one for one in after.earlier_attempts if one.attempt == job.attempt), None)
    if ended is None or after.attempt < job.attempt:
        return Act(after, done=False, decided=True, words=f"It ended meanwhile by itself: {standing(after)}")
    stops = f"{job.worker_id} is told to stop"
    if ended.end is end:
        return Act(
            after, done=True, decided=True, words=f"Attempt {job.attempt} is {_ENDED[end]}: {standing(after)} {stops}."
        )
    words = f"Attempt {job.attempt} is {_ENDED.get(ended.end, ended.end)}, not by this word: {standing(after)}"
    return Act(after, done=False, decided=True, words=words)


_ENDED: Mapping[AttemptEnd, str] = MappingProxyType(
    {AttemptEnd.HANDED_BACK: "handed back", AttemptEnd.LOST: "given up", AttemptEnd.FAILED: "ended for good"}
)
_RECORDED = (
    "Recorded, not decided yet: no ledger answered in time. It will be carried out when `openv streams` runs; "
    "`openv jobs show` tells."
)


async def _retry(desk: Desk, job: Job, _: Asked) -> Act:
    """The endpoint's limits as they are now measure the run, as when its user asks; where it is gone, those before."""
    endpoint = await desk.database.endpoints.endpoint(job.endpoint) if job.endpoint else None
    known = endpoint is not None and endpoint.deleted_at is None
    command = RetryJob(
        command_id=str(uuid4()),
        user_id=job.user_id,
        job_id=job.job_id,
        run=job.run,
        append_by=now_ms() + APPEND_WITHIN_MS,
        endpoint=job.endpoint if known else None,
        limits=endpoint.limits if endpoint is not None and known else None,
    )
    return await _commanded(desk, job, command)


async def _cancel(desk: Desk, job: Job, _: Asked) -> Act:
    return await _commanded(
        desk, job, CancelJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id, run=job.run)
    )


async def _delete(desk: Desk, job: Job, _: Asked) -> Act:
    return await _commanded(desk, job, DeleteJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id))


async def _commanded(desk: Desk, job: Job, command: RetryJob | CancelJob | DeleteJob) -> Act:
    answer = await desk.ask(command)
    if answer is None:
        return Act(job, done=False, decided=False, words=_RECORDED)
    after = await stored_job(desk, job.job_id)
    if answer.outcome is Outcome.REFUSED:
        return Act(after, done=False, decided=True, words=refusal(answer))
    if answer.outcome in (Outcome.DONE, Outcome.ADMITTED):
        stops = f" {job.worker_id} is told to stop." if job.worker_id and after.state is not job.state else ""
        return Act(after, done=True, decided=True, words=f"Done: {standing(after)}{stops}")
    return Act(after, done=False, decided=True, words=f"Nothing was changed, it moved meanwhile: {standing(after)}")


_WAYS: Mapping[Way, Callable[[Desk, Job, Asked], Coroutine[Any, Any, Act]]] = MappingProxyType(
    {Way.HAND_BACK: _hand_back, Way.END: _lose, Way.RETRY: _retry, Way.CANCEL: _cancel, Way.DELETE: _delete}
)
