"""Topic ``openv.progress``: what a watcher sees between two job events. Key: the user id. Only the newest counts."""

from typing import ClassVar

from schemas.ids import Name, PoolName
from schemas.instants import Instant
from schemas.numbers import Count
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


@shape
class WorkerUpdate(ProgressMessage):
    """External worker → watchers: its own word on how it is getting on, any JSON as text (``progress_update``)."""

    TYPE: ClassVar[str] = "dev.openv.progress.update.v1"
    attempt: int
    worker_id: Name
    value: str

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.worker_id}:{self.sequence}:update"


@shape
class PoolShown:
    """Scheduler → gateways: the workers of a pool as they are now. Key: the pool; only the newest counts.

    ``idle`` wait for a job, ``running`` have one, ``starting`` load their model, ``draining`` take no more.
    ``shown_at``: the scheduler's now.
    """

    TYPE: ClassVar[str] = "dev.openv.progress.pool.v1"
    pool: PoolName
    idle: Count
    running: Count
    starting: Count
    draining: Count
    shown_at: Instant

    @property
    def message_id(self) -> str:
        return f"{self.pool}:{self.shown_at}:pool"

    @property
    def key(self) -> str:
        return self.pool

    @property
    def subject(self) -> str:
        return self.pool


AnyProgress = AttemptProgress | AttemptPreview | QueuePlace | WorkerUpdate | PoolShown
