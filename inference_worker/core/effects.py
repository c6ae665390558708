"""What a worker's decision asks of the shell, as data. ``parent.py`` performs it, in order, without waiting."""

from dataclasses import dataclass

from inference_worker.messages import Media
from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptStarted, AttemptSucceeded
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat, WorkerGone
from schemas.progress import AttemptPreview, AttemptProgress

WorkerReport = AttemptStarted | AttemptSucceeded | AttemptFailed | AttemptHandedBack


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start the child of this number; ``Heard`` and ``ChildGone`` will name it."""

    child: int


@dataclass(frozen=True, slots=True)
class Generate:
    """Make an empty directory, and tell the child to make this video in it."""

    child: int
    order: RunAttempt


@dataclass(frozen=True, slots=True)
class StopChild:
    """Tell the child to end this attempt at its next step."""

    child: int
    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class KillChild:
    """SIGKILL. ``ChildGone`` follows."""

    child: int
    words: str


@dataclass(frozen=True, slots=True)
class Upload:
    """Store these files. ``StoredSome`` and then ``Stored`` or ``NotStored`` follow."""

    order: RunAttempt
    media: Media


@dataclass(frozen=True, slots=True)
class DropUpload:
    """End a running upload and delete what it has stored, as far as that works: nobody will know of these files."""

    order: RunAttempt


@dataclass(frozen=True, slots=True)
class Clean:
    """Delete the attempt's directory."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the ledger: in order, repeated until acknowledged, then ``Acked``."""

    command: WorkerReport


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the scheduler. Of beats that could not be sent, only the newest matters."""

    message: WorkerBeat | AssignmentDeclined | WorkerGone


@dataclass(frozen=True, slots=True)
class Show:
    """Tell watchers. Only the newest preview, and the newest step of each phase, matter."""

    message: AttemptProgress | AttemptPreview


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process; with code 0 after what was said is sent, else at once. Nothing follows."""

    code: int


Effect = StartChild | Generate | StopChild | KillChild | Upload | DropUpload | Clean | Report | Say | Show | Exit
