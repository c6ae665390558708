"""A frame for many watchers: encoded once for each kind of connection, whoever asks first.

Frames from a server are not masked, so the bytes of a WebSocket message are the same for every socket.
"""

import re
from typing import ClassVar

from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode

from schemas.api.live import PREVIEW, binary_preview

_LINE_ENDS = re.compile(rb"[\r\n]+")


class Frame:
    """``text`` is JSON in UTF-8, ``kind`` its type, ``position`` the one it carries."""

    __slots__ = ("_event", "_message", "kind", "position", "text")
    OPCODE: ClassVar[Opcode] = Opcode.TEXT

    def __init__(self, kind: str, text: bytes, position: str | None = None) -> None:
        self.kind = kind
        self.text = text
        self.position = position
        self._message: bytes | None = None
        self._event: bytes | None = None

    def __len__(self) -> int:
        return len(self.text)

    @property
    def message(self) -> bytes:
        """The bytes of a WebSocket message, its header included."""
        if self._message is None:
            self._message = WebSocketFrame(self.OPCODE, self.text).serialize(mask=False)
        return self._message

    @property
    def event(self) -> bytes:
        """The bytes of a server-sent event. A line end in JSON stands between tokens, where a space does as well."""
        if self._event is None:
            text = _LINE_ENDS.sub(b" ", self.text)
            identity = b"" if self.position is None else b"id: %b\n" % self.position.encode()
            self._event = b"event: %b\n%bdata: %b\n\n" % (self.kind.encode(), identity, text)
        return self._event


class BinaryFrame(Frame):
    """``text`` is not text but a binary message."""

    __slots__ = ()
    OPCODE = Opcode.BINARY


class PreviewFrame(Frame):
    """A preview, which some watchers want as a binary message."""

    __slots__ = ("_binary", "_was_read")

    def __init__(self, text: bytes) -> None:
        super().__init__(PREVIEW, text)
        self._binary: BinaryFrame | None = None
        self._was_read = False

    @property
    def binary(self) -> BinaryFrame | None:
        """The same, binary; None if the picture in it can't be read."""
        if not self._was_read:
            self._was_read = True
            message = binary_preview(self.text)
            self._binary = None if message is None else BinaryFrame(PREVIEW, message)
        return self._binary
