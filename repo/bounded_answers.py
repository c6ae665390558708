"""What a stranger's server may send before its answer: a few interim ones, and so many bytes."""

from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

BEFORE_ANSWER_MAX = 64 * 1024  # bytes, up to where the final answer's head ends
INTERIM_MAX = 8  # 1xx answers before it
PIECE = 4 * 1024  # bytes that are looked at before they are counted


class Bounded(ResponseHandler):
    """aiohttp's own, but for interim answers: it skips them without end. Here a few are, and so many bytes."""

    _received = 0
    _interim = 0
    _answered = False

    def data_received(self, data: bytes) -> None:
        """Whatever comes before the final answer's head is counted, and the connection ends beyond the bounds."""
        for at in range(0, max(1, len(data)), PIECE):
            piece = data[at : at + PIECE]
            super().data_received(piece)
            if self._answered:
                continue
            self._received += len(piece)
            if self._received >= BEFORE_ANSWER_MAX or self._interim > INTERIM_MAX:
                self._cut()
            if self.exception() is not None:
                return

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The parser's: one head that was read."""
        code = data[0].code
        if 100 <= code < 200 and code != 101:
            self._interim += 1
            return  # nobody waits for it: no request asks for 100 Continue
        self._answered = True
        super().feed_data(data, size)

    def _cut(self) -> None:
        transport = self.transport
        if transport is not None:
            transport.abort()
        self.set_exception(aiohttp.ClientConnectionError("too much came before the answer"))
