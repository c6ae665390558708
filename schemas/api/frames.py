"""The frames that a gateway sends over its live edges, as shapes: what the functions of ``schemas/api/live.py`` write.

They describe: the AsyncAPI document is made of them, and tests hold what those functions write against it. A frame is
written by splicing stored bytes, so nothing here is built a frame.
"""

from typing import Literal

from schemas.api.answers import JobDocument, JobRecord
from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace
from schemas.shape import shape


@shape
class Welcome:
    """Authenticated. The server is silent for at most ``heartbeatMs``; ``expiresInMs``: when the credential ends."""

    type: Literal["welcome"]
    user_id: str
    heartbeat_ms: int
    expires_in_ms: int | None = None


@shape
class Snapshot:
    """The videos as they are, newest first; events up to ``position`` are in it. Replaces what the client knew."""

    type: Literal["snapshot"]
    recovered: Literal[False]
    jobs: tuple[JobDocument, ...]
    position: str | None = None


@shape
class Resumed:
    """Every event after the client's position follows, in order, then live ones."""

    type: Literal["resumed"]
    recovered: Literal[True]


@shape
class Event:
    """Something happened to a video; ``data`` is its row as it is since then, ``event`` the CloudEvents type."""

    type: Literal["event"]
    event: str
    position: str
    data: JobRecord


@shape
class Progress:
    """How far an attempt is. Only the newest of a video waits for a slow client."""

    type: Literal["progress"]
    data: AttemptProgress


@shape
class Preview:
    """What the video looks like so far: ``data.jpeg`` is base64.

    As a binary message: a big-endian u32 of *n*, *n* bytes of JSON (this frame without ``data.jpeg``), then the JPEG.
    """

    type: Literal["preview"]
    data: AttemptPreview


@shape
class Place:
    """The place in the queue."""

    type: Literal["place"]
    data: QueuePlace


@shape
class Expiring:
    """The credential ends in ``expiresInMs``: send ``auth`` with a later one."""

    type: Literal["expiring"]
    expires_in_ms: int


@shape
class Ping:
    """The server's heartbeat; ``position``: all events up to there were sent."""

    type: Literal["ping"]
    position: str | None = None


@shape
class Pong:
    """The answer to a client's ``ping``."""

    type: Literal["pong"]


@shape
class Error:
    """A message of the client could not be understood or done; the socket stays open."""

    type: Literal["error"]
    code: str
    message: str


@shape
class Close:
    """The end of an event stream: why, and whether coming back helps."""

    type: Literal["close"]
    code: int
    reason: str
    reconnect: bool


SOCKET_FRAMES = (Welcome, Snapshot, Resumed, Event, Progress, Preview, Place, Expiring, Ping, Pong, Error)
STREAM_FRAMES = (Welcome, Snapshot, Resumed, Event, Progress, Preview, Place, Expiring, Ping, Error, Close)
