"""The end of a connection whose client still sends: it can read its answer before the connection is gone.

Where a socket is closed with bytes in it that nobody has read, or others come afterwards, the kernel answers with a
reset; the client's kernel then fails its next write and throws away what it has not read yet, the answer with it. So
we only say that nothing more comes from us, and for a while read what comes and throw it away (RFC 9112, section 9.6).
Nothing of it is parsed or kept, and how long, how much and for how many at once is bounded.
"""

import asyncio
import socket

SECONDS = 30.0  # in all
SILENCE_S = 5.0  # who sent nothing for so long, from one look to the next, is waited for no longer
BYTES = 64 * 1024 * 1024  # three times the largest body that is wanted anywhere in one piece
CONNECTIONS = 64
# All that one connection has read of it in one turn of the loop.
PIECE_BYTES = 64 * 1024


class Lingering:
    """The connections of a gateway that are at this end, each by its own descriptor.

    One more than ``CONNECTIONS`` ends the one that has been here longest: whoever comes to read an answer needs less
    time than whoever comes to stay. ``seconds``: the most that one may take, if it is less than ``SECONDS``.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = min(seconds, SECONDS)
        self._bin = bytearray(PIECE_BYTES)
        self._ends: dict[_End, None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, transport: asyncio.BaseTransport) -> None:
        """See to the end of a connection that its transport is about to close, with all that was to be sent handed to
        the kernel. Without effect where that is not possible: then it ends as it would have without us."""
        connection = transport.get_extra_info("socket")
        if connection is None or self._closed:
            return
        try:
            own = connection.dup()
        except OSError:  # no descriptor is left
            return
        try:
            own.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            own.close()
            return
        if len(self._ends) >= CONNECTIONS:
            next(iter(self._ends)).close()
        _End(own, self.seconds, self._bin, self._ends)

    def close(self) -> None:
        """End all of them, and take no more."""
        self._closed = True
        for end in list(self._ends):
            end.close()


class _End:
    """One of them; it is in ``among`` until it is over."""

    def __init__(self, connection: socket.socket, seconds: float, bin_: bytearray, among: "dict[_End, None]") -> None:
        self._connection = connection
        self._bin = bin_
        self._among = among
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + seconds
        self._left = BYTES
        self._came = False
        self._loop.add_reader(connection, self._read)
        self._timer = self._look_later()
        among[self] = None

    def _read(self) -> None:
        try:
            count = self._connection.recv_into(self._bin)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        self._came = True
        self._left -= count
        if not count or self._left <= 0:
            self.close()

    def _look_later(self) -> asyncio.TimerHandle:
        return self._loop.call_at(min(self._ends_at, self._loop.time() + SILENCE_S), self._look)

    def _look(self) -> None:
        if not self._came or self._loop.time() >= self._ends_at:
            self.close()
            return
        self._came = False
        self._timer = self._look_later()

    def close(self) -> None:
        """For good; what comes now is answered with a reset."""
        self._timer.cancel()
        self._loop.remove_reader(self._connection)
        self._connection.close()
        self._among.pop(self, None)
