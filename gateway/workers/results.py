"""What a worker posts as the end of a job, turned into a report to the ledger, whose fencing decides.

A report is answered when Kafka has it. The SDK tries three times within seconds and then forgets the result, so an
outage is waited out inside the request for as long as ``PATIENCE_S``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from itertools import count
from typing import TypeVar
from uuid import uuid4

from gateway.core.handouts import HandOut
from gateway.core.worker_words import Result
from gateway.decisions import Decisions
from gateway.workers.fencing import Fencing, Pod
from gateway.workers.room import Room
from repo.ports import Unavailable
from repo.stores import ObjectStores
from repo.values import output_of
from schemas.commands import AttemptFailed, AttemptReport, AttemptSucceeded
from schemas.failures import FailureCode

PATIENCE_S = 45.0
RETRY_S = 0.5
T = TypeVar("T")


class Taken(Enum):
    """What became of a result."""

    RECORDED = auto()  # or it was before, or it changes nothing any more
    NOT_ITS_JOB = auto()
    BEING_TAKEN = auto()  # the same worker sent it twice at once


class Results:
    """One a process."""

    def __init__(self, room: Room, fencing: Fencing, objects: ObjectStores, decisions: Decisions) -> None:
        self._room = room
        self._fencing = fencing
        self._objects = objects
        self._decisions = decisions
        self._numbers = count(1)

    async def take(self, pod: Pod, job_id: str, result: Result | str) -> Taken:
        """A result, or words on why what was posted is none: the job has failed then, for nothing else will come.

        Raises ``Unavailable`` where it could not be recorded; the worker may send it again.
        """
        handed = await _patiently(lambda: self._fencing.find(pod, job_id))
        if handed is None:
            return Taken.NOT_ITS_JOB
        if handed.settled:
            return Taken.RECORDED
        if handed.settling:
            return Taken.BEING_TAKEN
        handed.settling = True
        try:
            report = await self._report(handed, result)
            await _patiently(lambda: self._decisions.record(report))
            handed.answered = True
        finally:
            handed.settling = False
        self._room.ended(pod, handed)
        return Taken.RECORDED

    async def _report(self, handed: HandOut, result: Result | str) -> AttemptReport:
        token = {
            "command_id": str(uuid4()),
            "user_id": handed.user_id,
            "job_id": handed.job_id,
            "attempt": handed.attempt,
            "worker_id": handed.worker_id,
        }
        if isinstance(result, str):
            return AttemptFailed(**token, code=FailureCode.HANDLER_ERROR, message=result)  # type: ignore[arg-type]
        # A name of its own for each result, so that none overwrites one that may be visible.
        session = f"{self._room.gateway}-{next(self._numbers)}"
        output = await _patiently(
            lambda: output_of(
                self._objects,
                handed.user_id,
                handed.job_id,
                handed.attempt,
                handed.worker_id,
                session,
                result.text,
            )
        )
        if result.failed:
            return AttemptFailed(**token, code=FailureCode.HANDLER_ERROR, output=output)  # type: ignore[arg-type]
        return AttemptSucceeded(**token, output=output)  # type: ignore[arg-type]


async def _patiently(do: Callable[[], Awaitable[T]]) -> T:
    """Until it succeeds, or servers were away for too long: the last ``Unavailable`` is raised then."""
    give_up = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            return await do()
        except Unavailable:
            if asyncio.get_running_loop().time() >= give_up:
                raise
            await asyncio.sleep(RETRY_S)
