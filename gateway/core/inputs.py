"""What can happen to a watcher: the inputs of its subscription."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.frame import Frame
from gateway.core.window import Cursor, Entry, Replay
from schemas.api.live import CloseCode, Previews


@dataclass(frozen=True, slots=True)
class Granted:
    """The credential is good, until ``expires_in_ms`` from now. A second one renews; another user's is the end."""

    user_id: str
    heartbeat_ms: int
    expires_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The client subscribed, to all its jobs or to one."""

    job_id: str | None
    previews: Previews = Previews.JSON


@dataclass(frozen=True, slots=True)
class Resumed:
    """The replay from the client's position."""

    replay: Replay


@dataclass(frozen=True, slots=True)
class Shown:
    """The jobs as the store has them, read after ``position`` was taken; ``versions`` by job id."""

    jobs: tuple[Mapping[str, Any], ...]
    versions: Mapping[str, int]
    position: Cursor | None


@dataclass(frozen=True, slots=True)
class Event:
    """A job event from the log and its frame, built once for all watchers."""

    entry: Entry
    frame: Frame


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress, preview or place of a job; only the newest counts."""

    job_id: str
    kind: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Pinged:
    """The client asks for a sign of life."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Time for a heartbeat. ``head``: how far the watcher's partition has been read."""

    head: Cursor | None


@dataclass(frozen=True, slots=True)
class Expiring:
    """The credential ends soon."""

    in_ms: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A message that can't be understood."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Close: for whatever reason, from whichever side."""

    code: CloseCode


Input = Granted | Asked | Resumed | Shown | Event | Progress | Pinged | Beat | Expiring | Mistake | Ended
