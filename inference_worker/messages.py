"""What the worker's parent and its child say to each other. Both come from one installation: there are no versions.

An attempt is named by (job id, attempt) in every message about it, so that a late one is recognised. All times are
milliseconds of the child's monotonic clock, counted from the attempt's start.
"""

from pathlib import Path

from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest
from schemas.shape import shape


@shape
class Generate:
    """Parent → child: make this video; its files go into ``directory``, which exists and is empty."""

    job_id: str
    attempt: int
    request: GenerationRequest
    directory: Path


@shape
class Stop:
    """Parent → child: end this attempt at the next step. One that is not running is ignored."""

    job_id: str
    attempt: int


@shape
class Exit:
    """Parent → child: stop whatever runs, then end with exit code 0."""


@shape
class Loading:
    """Child → parent: part ``step`` of ``steps`` of the model is in memory."""

    engine: str
    step: int
    steps: int


@shape
class Ready:
    """Child → parent, once: the model is loaded. ``device`` is for an operator to read."""

    engine: str
    device: str


@shape
class Unloadable:
    """Child → parent: the model can't be loaded, and why. The child ends."""

    engine: str
    code: FailureCode
    message: str


@shape
class Heartbeat:
    """Child → parent, every second from a thread: the process lives.

    ``progress`` grows with every step of every attempt; a child whose heart beats while it stands still is stuck.
    """

    progress: int


@shape
class Progress:
    """Child → parent: ``step`` of ``steps`` of a phase is done. ``phase_ms`` is since that phase began."""

    job_id: str
    attempt: int
    phase: Phase
    step: int
    steps: int
    elapsed_ms: int
    phase_ms: int


@shape
class Preview:
    """Child → parent: how the video looks by now. ``jpeg`` travels as the frame's body, not in its JSON."""

    job_id: str
    attempt: int
    step: int
    steps: int
    jpeg: bytes


@shape
class MediaFile:
    """A finished file on this machine's disk. ``sha256`` is hexadecimal."""

    path: Path
    bytes: int
    sha256: str
    media_type: str


@shape
class Media:
    """A finished video and its pictures. ``width`` × ``height`` are the video's, ``duration`` is in seconds."""

    video: MediaFile
    poster: MediaFile
    thumbnail: MediaFile
    width: int
    height: int
    frames: int
    fps: float
    duration: float


@shape
class Done:
    """Child → parent: the attempt's files are in its directory."""

    job_id: str
    attempt: int
    media: Media


@shape
class Failed:
    """Child → parent: the attempt failed. ``message`` never holds the prompt."""

    job_id: str
    attempt: int
    code: FailureCode
    message: str


@shape
class AttemptStopped:
    """Child → parent: the attempt ended because ``Stop`` said so. Its directory may hold leftovers."""

    job_id: str
    attempt: int


ToChild = Generate | Stop | Exit
FromChild = Loading | Ready | Unloadable | Heartbeat | Progress | Preview | Done | Failed | AttemptStopped
PipeMessage = ToChild | FromChild
