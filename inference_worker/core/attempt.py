"""One attempt in a worker's hands: which happening moves it from which stage to which. The only copy of these rules.

A row that is missing a happening means that it changes nothing there. An attempt ends here without a report where the
ledger has decided already (a stop), else with exactly one: ``verdict``. It is over when every report is acknowledged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict

from inference_worker.core.effects import WorkerReport
from inference_worker.core.limits import Identity
from inference_worker.core.progress import Track
from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptStarted, AttemptSucceeded
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode
from schemas.jobs import Output

WORDS_MAX = 1_000


class Stage(StrEnum):
    GENERATING = "generating"  # the child makes the video
    STOPPING = "stopping"  # the child was told to end it, and has not answered
    UPLOADING = "uploading"  # the video is made; its files are on their way
    ENDING = "ending"  # nothing left to do but to have the reports acknowledged


class Happening(StrEnum):
    MADE = "made"  # the child has finished the files
    REFUSED = "refused"  # the child says that it failed, or that it has stopped
    CRASHED = "crashed"  # the child died, or was killed because it was stuck
    STOP = "stop"  # the scheduler says: nothing that it makes will be used
    OVERTIME = "overtime"  # it ran longer than it may
    IMPATIENCE = "impatience"  # the child did not stop in time and was killed
    LEAVE = "leave"  # this process ends now
    STORED = "stored"  # the files are in the object store
    NOT_STORED = "not stored"  # they could not be stored


S, H = Stage, Happening

STAGES: Mapping[Stage, Mapping[Happening, Stage]] = MappingProxyType(
    {
        S.GENERATING: {
            H.MADE: S.UPLOADING,
            H.REFUSED: S.ENDING,
            H.CRASHED: S.ENDING,
            H.STOP: S.STOPPING,
            H.OVERTIME: S.STOPPING,
            H.LEAVE: S.ENDING,
        },
        S.STOPPING: {
            H.MADE: S.ENDING,
            H.REFUSED: S.ENDING,
            H.CRASHED: S.ENDING,
            H.STOP: S.STOPPING,
            H.IMPATIENCE: S.ENDING,
            H.LEAVE: S.ENDING,
        },
        S.UPLOADING: {
            H.STORED: S.ENDING,
            H.NOT_STORED: S.ENDING,
            H.STOP: S.ENDING,
            H.LEAVE: S.ENDING,
        },
        S.ENDING: {},
    }
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of the running attempt. ``verdict``: the report that it will end with; None: none.

    ``waits_for``: the server without which it does not get on; None while it does.
    """

    order: RunAttempt
    stage: Stage
    began_at: int
    track: Track
    unacked: tuple[str, ...] = ()
    verdict: WorkerReport | None = None
    stop_by: int = 0
    waits_for: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.order.job_id, self.order.attempt

    @property
    def with_child(self) -> bool:
        """Whether the child has work for it."""
        return self.stage in (Stage.GENERATING, Stage.STOPPING)


def after(stage: Stage, happening: Happening) -> Stage | None:
    """The next stage, or None where the happening changes nothing."""
    return STAGES[stage].get(happening)


class _Token(TypedDict):
    user_id: str
    job_id: str
    attempt: int
    worker_id: str


class Reports:
    """The reports of one attempt. Their ids are made of what they say, so that a repeated one is the same command."""

    def __init__(self, identity: Identity, order: RunAttempt) -> None:
        self._identity = identity
        self._order = order

    def started(self) -> AttemptStarted:
        return AttemptStarted(command_id=self._id("started"), **self._token())

    def succeeded(self, output: Output) -> AttemptSucceeded:
        return AttemptSucceeded(command_id=self._id("succeeded"), output=output, **self._token())

    def failed(self, code: FailureCode, words: str) -> AttemptFailed:
        return AttemptFailed(command_id=self._id("failed"), code=code, message=words[:WORDS_MAX], **self._token())

    def handed_back(self, reason: str) -> AttemptHandedBack:
        return AttemptHandedBack(command_id=self._id("handed_back"), reason=reason, **self._token())

    def _id(self, what: str) -> str:
        order = self._order
        return f"{order.job_id}:{order.attempt}:{self._identity.worker_id}:{self._identity.session}:{what}"

    def _token(self) -> _Token:
        order = self._order
        return {
            "user_id": order.user_id,
            "job_id": order.job_id,
            "attempt": order.attempt,
            "worker_id": self._identity.worker_id,
        }
