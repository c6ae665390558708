"""Tells the supervisor what a process is doing: the sd_notify protocol (systemd's ``sd_notify(3)``).

Datagrams to the Unix socket named by ``NOTIFY_SOCKET``; without one nothing is sent, so parts run anywhere. Such a
socket is what ``openv up`` listens on, and systemd with ``Type=notify``. Supervisors that look instead of listening
(a container's health check) find the same lines in the file named by ``OPENV_STATUS_FILE``.
"""

import os
import socket
from pathlib import Path

STATUS_FILE_VARIABLE = "OPENV_STATUS_FILE"


def notify(state: str) -> None:
    """Send one state, e.g. ``READY=1``, ``STATUS=waiting for Kafka``. Never raises for a lost listener."""
    _write_down(state)
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode())
        except OSError:
            return


def ready(status: str) -> None:
    """The part serves now; ``status`` is one line for a person, e.g. the address."""
    notify(f"READY=1\nSTATUS={status}")


def waiting(status: str) -> None:
    """What the part waits for, one line for a person."""
    notify(f"STATUS={status}")


_said: dict[str, str] = {}


def _write_down(state: str) -> None:
    """Replace the file: the newest value of everything that this process has said, a line each."""
    name = os.environ.get(STATUS_FILE_VARIABLE)
    if not name:
        return
    _said.update(line.partition("=")[::2] for line in state.splitlines())
    path = Path(name)
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_text("".join(f"{key}={value}\n" for key, value in _said.items()))
        fresh.replace(path)
    except OSError:
        return
