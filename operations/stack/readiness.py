"""Hears what our own parts say of themselves: the listening end of sd_notify (``repo/notify.py`` is the other).

One datagram socket a part, in a private folder with a short path (a Unix socket's address has about 100 bytes).
"""

import contextlib
import shutil
import socket
import tempfile
from pathlib import Path

from operations.stack.errors import StackError
from operations.stack.space import is_full

_DATAGRAM_MAX = 4096
_LONGEST_FOLDER = 80


class NotifySocket:
    """The socket of one part. ``poll`` reads what has arrived; ``reset`` before each start of the process."""

    def __init__(self) -> None:
        self._folder = _private_folder()
        self.address = str(self._folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address)
        self.is_ready = False
        self.status = ""

    def reset(self) -> None:
        """Forget an earlier process, and what it may still have sent."""
        self.poll()
        self.is_ready, self.status = False, ""

    def poll(self) -> bool:
        """Take in all datagrams; True once the part has said READY."""
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._socket.recv(_DATAGRAM_MAX).decode(errors="replace").splitlines():
                    name, _, value = line.partition("=")
                    if name == "READY":
                        self.is_ready = value == "1"
                    elif name == "STATUS":
                        self.status = value
        return self.is_ready

    def close(self) -> None:
        """Remove the socket and its folder."""
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _private_folder() -> Path:
    """A new folder of mode 0700, so that only this user may speak. Raises ``StackError``."""
    try:
        base = tempfile.gettempdir()
        return Path(tempfile.mkdtemp(prefix="openv-", dir=base if len(base) < _LONGEST_FOLDER else "/tmp"))  # noqa: S108
    except OSError as error:
        if is_full(error):
            raise StackError(f"The disk that holds {tempfile.gettempdir()} is full. Free some space there.") from error
        raise StackError(
            f"No temporary folder can be made: {error.strerror}. Set TMPDIR to a folder of yours."
        ) from error
