"""Tells the supervisor what a process is doing: the sd_notify protocol (systemd's ``sd_notify(3)``).

Datagrams to the Unix socket named by ``NOTIFY_SOCKET``; without one nothing is sent, so parts run anywhere. Such a
socket is what ``openv up`` listens on, and systemd with ``Type=notify``. Supervisors that look instead of listening
(a container's health check) find the same lines in the file named by ``OPENV_STATUS_FILE``.
"""

import os
import socket
import threading
from pathlib import Path

STATUS_FILE_VARIABLE = "OPENV_STATUS_FILE"


def notify(state: str) -> None:
    """Send one state, e.g. ``READY=1``, ``STATUS=waiting for Kafka``. Never raises for a lost listener, and never waits
    for a slow one: it hears the newest of each when it listens again."""
    _write_down(state)
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        _late.tell(address, state)


class _Late:
    """What the listener's queue had no room for: Linux keeps ten datagrams (``net.unix.max_dgram_qlen``) and holds up
    whoever sends the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, str] = {}
        self._sending = False

    def tell(self, address: str, state: str) -> None:
        """Send it now, or behind what is late."""
        with self._lock:
            if not self._sending and _send(address, state, socket.MSG_DONTWAIT):
                return
            self._kept.update(_lines(state))
            if not self._sending:
                self._sending = True
                threading.Thread(target=self._send_all, args=(address,), name="notify", daemon=True).start()

    def _send_all(self, address: str) -> None:
        while True:
            with self._lock:
                state = _text(self._kept)
                self._kept.clear()
                if not state:
                    self._sending = False
                    return
            _send(address, state)


def _send(address: str, state: str, flags: int = 0) -> bool:
    """Whether that is done with: sent, or nobody is there. False: there is no room now."""
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode(), flags)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _lines(state: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in state.splitlines())}


def _text(said: dict[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in said.items())


def ready(status: str) -> None:
    """The part serves now; ``status`` is one line for a person, e.g. the address."""
    notify(f"READY=1\nSTATUS={status}")


def waiting(status: str) -> None:
    """What the part waits for, one line for a person."""
    notify(f"STATUS={status}")


_late = _Late()
_said: dict[str, str] = {}


def _write_down(state: str) -> None:
    """Replace the file: the newest value of everything that this process has said, a line each."""
    name = os.environ.get(STATUS_FILE_VARIABLE)
    if not name:
        return
    _said.update(_lines(state))
    path = Path(name)
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_text(f"{_text(_said)}\n")
        fresh.replace(path)
    except OSError:
        return
