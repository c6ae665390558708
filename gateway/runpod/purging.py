"""``/v2/{endpoint}/purge-queue``: all of a caller's queued jobs of an endpoint at once.

A purge may be 5,000 commands to the ledger, which other users' requests must not wait behind: a few of them are under
way at a time, a user has one purge at a time, and who asks while it goes on waits for that one.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.runpod.asked import Asked, asked
from gateway.runpod.commands import TOO_OFTEN, sent
from gateway.runpod.purge import Fate, Purge
from schemas.access import Scope
from schemas.commands import CancelJob
from schemas.events import Outcome
from schemas.jobs import Job
from schemas.lifecycle import State

PURGE_MAX = 5_000  # jobs of one purge; who has more calls again
# Of the 3 s that RunPod's clients wait. What is not decided by then goes on.
PURGE_S = 2.2
AT_ONCE = 32  # commands of one purge that wait for their decision
logger = structlog.get_logger()


async def purge(request: Request) -> Response:
    """200 ``{removed, status}``: the caller's queued jobs are cancelled; an admin's call cancels everybody's.

    ``removed`` counts those that are cancelled by then, see ``Purged`` for what ``status`` says of the others.
    """
    who = await asked(request, Scope.WRITE)
    shed(who.parts.serverless.requests, who.user_id, who.parts.now(), TOO_OFTEN)
    user_id = None if who.principal.may(Scope.ADMIN) else who.user_id
    clock = asyncio.get_running_loop().time
    until = clock() + PURGE_S
    while True:
        found, is_ours = await _under_way(who, user_id)
        await asyncio.wait([found.task], timeout=max(0.0, until - clock()))
        if is_ours or not found.task.done() or clock() >= until:
            break  # else it has ended, and knew nothing of jobs that came after its beginning
    if found.task.done():
        found.task.result()
    if found.jobs and found.fates[Fate.NOT_RECORDED] == found.jobs:
        raise Refused(Problem.NOT_RECORDED)
    status = found.status() if is_ours else "in_progress"
    return JSONResponse({"removed": found.fates[Fate.REMOVED], "status": status})


async def _under_way(who: Asked, user_id: str | None) -> tuple[Purge, bool]:
    """The purge that goes on of this queue, or a new one; whether it is new. Raises ``Unavailable``."""
    serverless, key = who.parts.serverless, (who.endpoint.endpoint_id, user_id)
    if key in serverless.purges:
        return serverless.purges[key], False
    jobs = await who.parts.store.endpoint_jobs(key[0], (State.QUEUED,), user_id=user_id, limit=PURGE_MAX + 1)
    if key in serverless.purges:
        return serverless.purges[key], False
    others = [one.task for one in serverless.purges.values() if one.user_id == user_id]
    fates = Counter[Fate]()
    going = asyncio.create_task(_carry_out(who, jobs[:PURGE_MAX], fates, others), name="purge")
    made = serverless.purges[key] = Purge(user_id, min(len(jobs), PURGE_MAX), len(jobs) > PURGE_MAX, fates, going)
    going.add_done_callback(lambda _: serverless.purges.pop(key))
    serverless.beside.add(going)  # it goes on where the client leaves meanwhile
    going.add_done_callback(serverless.ended_beside)
    return made, True


async def _carry_out(who: Asked, jobs: Sequence[Job], fates: Counter[Fate], others: "list[asyncio.Task[None]]") -> None:
    """Count what becomes of each; whatever is wrong with one, the others go on. ``others`` come first."""
    if others:
        await asyncio.wait(others)
    left, errors = iter(jobs), list[Exception]()

    async def some() -> None:
        for job in left:
            try:
                # Where so many were not, none of the rest would be: Kafka is away.
                away = fates[Fate.NOT_RECORDED] >= AT_ONCE
                fates[Fate.NOT_RECORDED if away else await _cancel(who, job)] += 1
            except Exception as error:  # noqa: BLE001 -- a defect, which is raised at the end
                errors.append(error)

    async with who.parts.serverless.purging:
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    if set(+fates) - {Fate.REMOVED, Fate.KEPT}:
        counts = {fate.name.lower(): number for fate, number in (+fates).items()}
        logger.warning("purge_not_decided", endpoint=who.endpoint.endpoint_id, **counts)
    if errors:
        raise errors[0]


async def _cancel(who: Asked, job: Job) -> Fate:
    command = CancelJob(command_id=str(uuid4()), user_id=job.user_id, job_id=job.job_id, run=job.run, queued_only=True)
    try:
        answer = await sent(who.parts, command)
    except Refused as refusal:
        return Fate.KEPT if refusal.problem is Problem.NO_JOB else Fate.NOT_RECORDED
    if answer is None:
        return Fate.RECORDED
    return Fate.KEPT if answer.outcome is Outcome.UNCHANGED else Fate.REMOVED
