"""What happens to a worker, as data: what its child says, what the scheduler orders, what its own errands came to."""

from dataclasses import dataclass

from inference_worker.messages import FromChild
from schemas.dispatch import DrainSession, RunAttempt, StopAttempt
from schemas.failures import FailureCode
from schemas.jobs import Output


@dataclass(frozen=True, slots=True)
class Heard:
    """The child of this number said something."""

    child: int
    message: FromChild


@dataclass(frozen=True, slots=True)
class ChildGone:
    """The child of this number is gone, or could not be started; ``words`` say how, for a person."""

    child: int
    words: str


@dataclass(frozen=True, slots=True)
class StoredSome:
    """``step`` of ``steps`` files of this attempt are in the object store."""

    job_id: str
    attempt: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class StoreAway:
    """A file of this attempt was not taken; it is tried again, until ``StoredSome`` or ``NotStored`` says otherwise."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Stored:
    """All files of this attempt are in the object store."""

    job_id: str
    attempt: int
    output: Output


@dataclass(frozen=True, slots=True)
class NotStored:
    """The files could not be stored, however often it was tried."""

    job_id: str
    attempt: int
    code: FailureCode
    words: str


@dataclass(frozen=True, slots=True)
class Acked:
    """The event log has this report for good."""

    command_id: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Comes a few times a second."""


@dataclass(frozen=True, slots=True)
class Leave:
    """SIGTERM or SIGINT; a second one ends the process at once."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Before anything else: an attempt that a former session of this worker began, and that goes on somewhere.

    ``age_ms``: how long ago it began. Its order is as the scheduler would repeat it to this session.
    """

    order: RunAttempt
    age_ms: int


Order = RunAttempt | StopAttempt | DrainSession
Input = Resume | Heard | ChildGone | StoredSome | StoreAway | Stored | NotStored | Acked | Tick | Leave | Order
