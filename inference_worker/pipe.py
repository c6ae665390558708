"""Messages to bytes and back, for the socket between parent and child. Pure: bytes in, messages out.

A frame is the magic ``OVPF``, the lengths of header and body (unsigned 32-bit, network order), the header (JSON: the
message, and its type as ``type``) and the body (the bytes of a preview, else empty). Not pickle: what comes from a
process that runs model code is data, never code.
"""

import struct
from types import MappingProxyType
from typing import Any, get_args

import orjson
from pydantic import ValidationError

from inference_worker.messages import PipeMessage, Preview
from schemas.shape import from_plain, to_plain

MAGIC = b"OVPF"
HEADER_MAX = 32 * 1024 * 1024  # a RunPod input is 20 MB at most
BODY_MAX = 16 * 1024 * 1024
_PREFIX = struct.Struct("!4sII")
_TYPES = MappingProxyType({cls.__name__: cls for cls in get_args(PipeMessage)})
_PREVIEW = Preview.__name__


class BadFrame(ValueError):
    """The other side sent what is no frame. The stream can't be read any further."""


def to_frame(message: PipeMessage) -> bytes:
    """A message as one frame. Raises ``BadFrame`` if it is too large to be read again."""
    body = b""
    if isinstance(message, Preview):
        body = message.jpeg
        plain: dict[str, Any] = {
            "jobId": message.job_id,
            "attempt": message.attempt,
            "step": message.step,
            "steps": message.steps,
        }
    else:
        plain = to_plain(message)
    header = orjson.dumps({**plain, "type": type(message).__name__})
    _check_lengths(len(header), len(body))
    return _PREFIX.pack(MAGIC, len(header), len(body)) + header + body


class FrameReader:
    """Turns a stream of bytes, cut anywhere, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[PipeMessage]:
        """The messages that are complete with these bytes. Raises ``BadFrame``; the reader is of no use afterwards."""
        self._buffer += data
        messages = []
        while (message := self._take()) is not None:
            messages.append(message)
        return messages

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame have come; at the end of the stream it should be 0."""
        return len(self._buffer)

    def _take(self) -> PipeMessage | None:
        buffer = self._buffer
        if not MAGIC.startswith(buffer[: len(MAGIC)]):
            raise BadFrame(f"Expected a frame on the pipe, got bytes that begin with {bytes(buffer[:16])!r}.")
        if len(buffer) < _PREFIX.size:
            return None
        _, header_length, body_length = _PREFIX.unpack_from(buffer)
        _check_lengths(header_length, body_length)
        header_end = _PREFIX.size + header_length
        end = header_end + body_length
        if len(buffer) < end:
            return None
        message = _parse(bytes(buffer[_PREFIX.size : header_end]), bytes(buffer[header_end:end]))
        del buffer[:end]
        return message


def _check_lengths(header: int, body: int) -> None:
    if header > HEADER_MAX or body > BODY_MAX:
        raise BadFrame(f"A frame of {header} + {body} bytes is over the limit of {HEADER_MAX} + {BODY_MAX}.")


def _parse(header: bytes, body: bytes) -> PipeMessage:
    try:
        plain = orjson.loads(header)
        name = plain.pop("type")
        if name == _PREVIEW:
            plain["jpeg"] = body
        elif body:
            raise BadFrame(f"A {name} carries no body, this one has {len(body)} bytes.")
        message: PipeMessage = from_plain(_TYPES[name], plain)
    except ValidationError as error:
        # Where it is wrong, never what stands there: a Generate holds the prompt.
        places = ", ".join(".".join(map(str, one["loc"])) + ": " + one["type"] for one in error.errors())
        raise BadFrame(f"A message on the pipe has wrong members ({places}).") from None
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise BadFrame("A message on the pipe is no JSON object of a known type.") from None
    return message
