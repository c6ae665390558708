"""Topic ``openv.progress``: what a watcher sees between two job events. Key: the user id. Only the newest counts."""

from typing import ClassVar

from schemas.ids import Name
from schemas.phases import Phase
from schemas.shape import shape


@shape
class ProgressMessage:
    """What all progress messages share. ``sequence`` grows within a session of a worker (or of a scheduler)."""

    user_id: str
    job_id: str
    sequence: int

    @property
    def key(self) -> str:
        return self.user_id

    @property
    def subject(self) -> str:
        return self.job_id


@shape
class AttemptProgress(ProgressMessage):
    """Worker → watchers: phase, step of steps in it, the attempt's fraction (0–1, never falling), times in ms.

    ``waits_for``: the server (``s3``) that is away and is tried again, while the attempt stands still.
    """

    TYPE: ClassVar[str] = "dev.openv.progress.attempt.v1"
    attempt: int
    worker_id: Name
    phase: Phase
    step: int
    steps: int
    fraction: float
    elapsed_ms: int
    eta_ms: int | None = None
    waits_for: str | None = None

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.worker_id}:{self.sequence}"


@shape
class AttemptPreview(ProgressMessage):
    """Worker → watchers: what the video looks like so far. ``jpeg`` is base64 in JSON (a few KiB)."""

    TYPE: ClassVar[str] = "dev.openv.progress.preview.v1"
    attempt: int
    worker_id: Name
    step: int
    steps: int
    jpeg: str

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.worker_id}:{self.sequence}:preview"


@shape
class QueuePlace(ProgressMessage):
    """Scheduler → watchers: the place in the queue (1 is next) and the estimated wait in ms."""

    TYPE: ClassVar[str] = "dev.openv.progress.place.v1"
    attempt: int
    place: int
    eta_ms: int | None = None

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.sequence}:place"


AnyProgress = AttemptProgress | AttemptPreview | QueuePlace
