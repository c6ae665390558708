"""Frames and close codes of the WebSocket ``/ws`` (and, later, of server-sent events). All frames are JSON text.

Client to server: ``auth`` first, then ``subscribe``, ``ping``, ``pong``. Server to client: ``welcome``, then per
subscription ``snapshot`` or ``resumed``, then ``event``, ``progress``, ``preview``, ``place``, ``ping``, ``pong``,
``error``. A client keeps the newest ``position`` that any frame carried and gives it back with the next ``subscribe``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace


class CloseCode(IntEnum):
    """Why a socket was closed. 4000-4499: connect again (with the position); 4500-4999: it would not help."""

    RESTARTING = 4000
    SLOW = 4001
    GAP = 4002
    NOT_READY = 4003
    AUTH_LATE = 4004
    BUSY = 4005
    PROTOCOL = 4500
    UNAUTHORIZED = 4501
    REVOKED = 4502
    TOO_MANY = 4503


CLOSE_WORDS: Mapping[CloseCode, str] = MappingProxyType(
    {
        CloseCode.RESTARTING: "The gateway is restarting; connect again.",
        CloseCode.SLOW: "You read more slowly than events arrive; connect again with your position.",
        CloseCode.GAP: "Some events could not be read; connect again for a fresh snapshot.",
        CloseCode.NOT_READY: "The gateway is not ready yet; connect again soon.",
        CloseCode.AUTH_LATE: "No auth message arrived in time; connect again.",
        CloseCode.BUSY: "Too many subscriptions in a short time; connect again later.",
        CloseCode.PROTOCOL: "These messages are not what this socket understands.",
        CloseCode.UNAUTHORIZED: "The first message must be an auth message with a valid key.",
        CloseCode.REVOKED: "The key was revoked or has expired.",
        CloseCode.TOO_MANY: "Too many sockets are open for this user.",
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
    """The first message. ``token`` is an API key; without it the session cookie of the handshake counts."""

    type: Literal["auth"]
    token: str | None = Field(default=None, max_length=512)


class SubscribeFrame(_Frame):
    """Watch the user's jobs (or one). With ``position``: everything after it, in order, if that can be shown whole."""

    type: Literal["subscribe"]
    position: str | None = Field(default=None, max_length=100)
    job_id: str | None = Field(default=None, max_length=128)


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


def _text(**members: Any) -> str:
    return orjson.dumps({name: value for name, value in members.items() if value is not None}).decode()


def welcome(user_id: str, heartbeat_ms: int) -> str:
    """Authenticated. The server is silent for at most ``heartbeat_ms``; after twice that the connection is dead."""
    return _text(type="welcome", userId=user_id, heartbeatMs=heartbeat_ms)


def snapshot(jobs: Sequence[Mapping[str, Any]], position: str | None) -> str:
    """The jobs as they are, newest first; events up to ``position`` are in it. Replaces what the client knew."""
    return _text(type="snapshot", recovered=False, jobs=list(jobs), position=position)


def resumed() -> str:
    """Every event after the client's position follows, in order, then live ones. Carries no position: each event
    carries its own, so that a client that is cut off halfway asks again for the rest."""
    return _text(type="resumed", recovered=True)


def event(event_type: str, position: str, stored: bytes) -> str:
    """A job event; ``data`` is the job document, spliced in as it was stored. UnicodeDecodeError if it is no text."""
    return f'{{"type":"event","event":"{event_type}","position":"{position}","data":{stored.decode()}}}'


PROGRESS_FRAMES: Mapping[str, str] = MappingProxyType(
    {AttemptProgress.TYPE: "progress", AttemptPreview.TYPE: "preview", QueuePlace.TYPE: "place"}
)


def progress(event_type: str, stored: bytes) -> str:
    """A progress message, spliced in as it was stored. KeyError for another type, UnicodeDecodeError if no text."""
    return f'{{"type":"{PROGRESS_FRAMES[event_type]}","data":{stored.decode()}}}'


def ping(position: str | None) -> str:
    """The server's heartbeat; ``position``: all events up to there were sent."""
    return _text(type="ping", position=position)


def pong() -> str:
    """The answer to a client's ``ping``."""
    return _text(type="pong")


def error(code: str, message: str) -> str:
    """A message of the client could not be understood or done; the socket stays open."""
    return _text(type="error", code=code, message=message)
