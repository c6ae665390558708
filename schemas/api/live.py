"""Frames and close codes of the live edges: the WebSocket ``/ws`` and the event stream ``GET /api/live/events``.

WebSocket, ``/ws`` or ``/ws?ticket=…``
    Before the upgrade: 403 for a browser's ``Origin`` that is neither ours nor allowed, 429 (``Retry-After``) for an
    address that has or makes too many, 503 (``Retry-After``) while the gateway is full or stops. Messages are JSON
    text; only previews may be binary.

    From the client:

    - ``{"type":"auth","token":"…"}`` first: an API key, a session token or a ticket; without ``token`` the cookie of
      the handshake counts. Not needed with ``?ticket=``. Sent again it renews: a later token of the same user, which
      ``welcome`` answers. One that is not good is an ``error`` (``unauthorized``) and the old one stays; another
      user's ends the socket.
    - ``{"type":"subscribe","position"?:"…","jobId"?:"…","previews"?:"json"|"binary"|"none"}``: all of the user's jobs
      or one; ``previews`` is ``json`` if left out. Sent again it starts over with what it says.
    - ``{"type":"ping"}``, answered by ``pong``; ``{"type":"pong"}``, the answer to ours.

    From the server, after ``welcome``, and after each ``subscribe`` a ``snapshot`` or ``resumed``:

    - ``{"type":"welcome","userId":"…","heartbeatMs":20000,"expiresInMs"?:60000}``: the longest silence, and when the
      credential ends, if it does.
    - ``{"type":"snapshot","recovered":false,"jobs":[…],"position"?:"…"}``: replaces what the client knew.
    - ``{"type":"resumed","recovered":true}``: every event after the client's position follows, in order.
    - ``{"type":"event","event":"dev.openv.job.….v1","position":"…","data":{the job document}}``
    - ``{"type":"progress"|"preview"|"place","data":{…}}``: of ``schemas/progress.py``; only the newest of a job waits.
      ``data.jpeg`` of a preview is base64. A binary preview is one binary message: a big-endian u32 of *n*, *n* bytes
      of JSON (the same frame without ``data.jpeg``), then the JPEG up to the end.
    - ``{"type":"expiring","expiresInMs":20000}``: the credential ends then; send ``auth`` with a later one. It comes
      20 s before, or a third of the credential's life if that is less. Five seconds after the end: 4006.
    - ``{"type":"ping","position"?:"…"}``, ``{"type":"pong"}``
    - ``{"type":"error","code":"bad_message"|"unauthorized"|"unavailable","message":"…"}``: five of them
      end the socket (4500).

    A client keeps the newest ``position`` that any frame carried and gives it back with its next ``subscribe``, to any
    gateway. The server is silent for at most ``heartbeatMs``; after twice that the connection is dead. The other way
    round the server counts on what a client has shown: one that has answered a ``ping`` by a ``pong`` is closed (4007)
    after three heartbeats without a message; any other is judged by the protocol's own pings alone (1011).

Server-sent events, ``GET /api/live/events``
    The same frames for clients that only listen. The caller is shown by header or cookie, or by ``?ticket=…``;
    ``?jobId=…``, ``?position=…`` (the header ``Last-Event-ID`` goes before it) and ``?previews=json|none`` are the
    subscription. Each event is named as its frame's type, its ``data`` is the frame, its ``id`` the frame's position
    where it has one. First come ``retry: 2000`` and ``welcome``, then ``snapshot`` or ``resumed``. The last is
    ``close``: ``{"type":"close","code":4001,"reason":"…","reconnect":true}``. A credential can't be renewed here: at
    its end the stream ends with 4006 and the client comes back with a later one.

    An ``EventSource`` comes back by itself after the end of a stream, but gives up for good on any status but 200. So
    what would not help again is a status (400, 401, 403, 429, 500), and what may is told inside a stream of one
    ``close``. A ticket is good once: whoever came with one asks for another, and opens a new ``EventSource`` with it.

Close codes 4000-4499 mean *connect again with your position*, 4500-4999 mean *do not* (``CloseCode``, ``CLOSE_WORDS``).
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace

TOKEN_MAX = 8192
POSITION_MAX = 100
JOB_ID_MAX = 128


class CloseCode(IntEnum):
    """Why a socket was closed. 4000-4499: connect again (with the position); 4500-4999: it would not help."""

    RESTARTING = 4000
    SLOW = 4001
    GAP = 4002
    NOT_READY = 4003
    AUTH_LATE = 4004
    BUSY = 4005
    EXPIRED = 4006
    SILENT = 4007
    PROTOCOL = 4500
    UNAUTHORIZED = 4501
    REVOKED = 4502
    TOO_MANY = 4503
    TERMS = 4504
    ACCOUNT = 4505
    SCOPE = 4506
    DAMAGED = 4507


CLOSE_WORDS: Mapping[CloseCode, str] = MappingProxyType(
    {
        CloseCode.RESTARTING: "The gateway is restarting; connect again.",
        CloseCode.SLOW: "You read more slowly than events arrive; connect again with your position.",
        CloseCode.GAP: "Some events could not be read; connect again for a fresh snapshot.",
        CloseCode.NOT_READY: "The gateway is not ready yet; connect again soon.",
        CloseCode.AUTH_LATE: "No auth message arrived in time; connect again.",
        CloseCode.BUSY: "Too many messages in a short time; connect again later.",
        CloseCode.EXPIRED: "Your token has expired; connect again with a later one.",
        CloseCode.SILENT: "You answered no heartbeat; connect again.",
        CloseCode.PROTOCOL: "These messages are not what this socket understands.",
        CloseCode.UNAUTHORIZED: "The first message must be an auth message with a valid key, token or ticket.",
        CloseCode.REVOKED: "The key was revoked.",
        CloseCode.TOO_MANY: "Too many sockets are open for this user.",
        CloseCode.TERMS: "The terms of use have to be accepted first: POST /api/terms/accept.",
        CloseCode.ACCOUNT: "This account was deleted or blocked.",
        CloseCode.SCOPE: "This key is not for watching; make one with the scope read.",
        CloseCode.DAMAGED: "Something stored of this can't be read; tell the operator: `openv doctor` names it.",
    }
)


def may_reconnect(code: int) -> bool:
    """What a client does after a close: any code but ours of 4500-4999 (a lost connection is 1006) is worth a retry."""
    return not 4500 <= code <= 4999


class _Frame(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class AuthFrame(_Frame):
    """The first message. ``token`` is a key, a session token or a ticket; without it the handshake's cookie counts."""

    type: Literal["auth"]
    token: str | None = Field(default=None, max_length=TOKEN_MAX)


class Previews(StrEnum):
    """How a watcher wants previews."""

    JSON = "json"  # base64 in a JSON frame
    BINARY = "binary"  # a binary message; not in event streams
    NONE = "none"


class SubscribeFrame(_Frame):
    """Watch the user's jobs (or one). With ``position``: everything after it, in order, if that can be shown whole."""

    type: Literal["subscribe"]
    position: str | None = Field(default=None, max_length=POSITION_MAX)
    job_id: str | None = Field(default=None, max_length=JOB_ID_MAX)
    previews: Previews = Field(default=Previews.JSON, strict=False)


class PingFrame(_Frame):
    """Answered by a ``pong``."""

    type: Literal["ping"]


class PongFrame(_Frame):
    """The answer to the server's ``ping``."""

    type: Literal["pong"]


ClientFrame = AuthFrame | SubscribeFrame | PingFrame | PongFrame
_CLIENT: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Why a client's message can't be read, in words for its author; never quotes it, for it may hold a key."""

    reason: str


def read_client_frame(text: str) -> ClientFrame | BadFrame:
    """A client's message, or why not."""
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"].startswith("json"):
            return BadFrame("not JSON")
        if first["type"].startswith("union_tag") or not first["loc"]:
            return BadFrame('not an object with "type" of auth, subscribe, ping or pong')
        return BadFrame(f'"{first["loc"][-1]}": {first["msg"]}')


def _text(**members: Any) -> bytes:
    return orjson.dumps({name: value for name, value in members.items() if value is not None})


def welcome(user_id: str, heartbeat_ms: int, expires_in_ms: int | None = None) -> bytes:
    """Authenticated. The server is silent for at most ``heartbeat_ms``; after twice that the connection is dead."""
    return _text(type="welcome", userId=user_id, heartbeatMs=heartbeat_ms, expiresInMs=expires_in_ms)


def expiring(expires_in_ms: int) -> bytes:
    """The credential ends then; a later one of the same user keeps the socket."""
    return _text(type="expiring", expiresInMs=expires_in_ms)


def snapshot(jobs: Sequence[Mapping[str, Any]], position: str | None) -> bytes:
    """The jobs as they are, newest first; events up to ``position`` are in it. Replaces what the client knew."""
    return _text(type="snapshot", recovered=False, jobs=list(jobs), position=position)


def resumed() -> bytes:
    """Every event after the client's position follows, in order, then live ones. Carries no position: each event
    carries its own, so that a client that is cut off halfway asks again for the rest."""
    return _text(type="resumed", recovered=True)


def event(event_type: str, position: str, stored: bytes) -> bytes:
    """A job event; ``data`` is the job document, spliced in as it was stored."""
    return b'{"type":"event","event":"%b","position":"%b","data":%b}' % (event_type.encode(), position.encode(), stored)


PROGRESS_FRAMES: Mapping[str, str] = MappingProxyType(
    {AttemptProgress.TYPE: "progress", AttemptPreview.TYPE: "preview", QueuePlace.TYPE: "place"}
)
PREVIEW = PROGRESS_FRAMES[AttemptPreview.TYPE]


def progress(event_type: str, stored: bytes) -> bytes:
    """A progress message, spliced in as it was stored. KeyError for another type."""
    return b'{"type":"%b","data":%b}' % (PROGRESS_FRAMES[event_type].encode(), stored)


def binary_preview(frame: bytes) -> bytes | None:
    """A ``preview`` frame as a binary message; None if its ``jpeg`` is not base64."""
    data = orjson.loads(frame)["data"]
    try:
        jpeg = b64decode(data.pop("jpeg"), validate=True)
    except (KeyError, TypeError, ValueError):
        return None
    header = _text(type=PREVIEW, data=data)
    return len(header).to_bytes(4, "big") + header + jpeg


def ping(position: str | None) -> bytes:
    """The server's heartbeat; ``position``: all events up to there were sent."""
    return _text(type="ping", position=position)


def pong() -> bytes:
    """The answer to a client's ``ping``."""
    return _text(type="pong")


def error(code: str, message: str) -> bytes:
    """A message of the client could not be understood or done; the socket stays open."""
    return _text(type="error", code=code, message=message)


def close(code: CloseCode) -> bytes:
    """The last event of an event stream; sockets have close codes of their own."""
    return _text(type="close", code=int(code), reason=CLOSE_WORDS[code], reconnect=may_reconnect(code))
