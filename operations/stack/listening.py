"""Whether the gateway will be able to listen where it was asked to: looked at before anything is started."""

import contextlib
import errno
import os
import socket
from pathlib import Path

from operations.stack.errors import StackError

_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def require_address(host: str, port: int) -> None:
    """Raises ``StackError`` where nobody can listen there now. ``port`` 0 asks about the host alone."""
    if not host.strip():
        raise StackError("--host is empty. Name an address of this machine, such as 127.0.0.1 or 0.0.0.0.")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the gateway does
            candidate.bind((host, port))
            candidate.listen()
    except OSError as error:
        raise _in_words(error, host, port) from error


def _in_words(error: OSError, host: str, port: int) -> StackError:
    if error.errno == errno.EADDRINUSE:
        return StackError(f"Port {port} on {host} is taken{_by_whom(port)}, or choose another with --port.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StackError(f"Port {port} on {host} is not for your user. Choose one from 1024 up with --port.")
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return StackError(
            f"{host} is no address of this machine ({error.strerror}). Choose another with --host: 127.0.0.1 for this "
            "machine alone, 0.0.0.0 for all its addresses."
        )
    return StackError(f"Nobody can listen on {host}:{port}: {error.strerror}. Choose another --host or --port.")


def _by_whom(port: int) -> str:
    """Who has the port, as far as this user may know, and the first half of the way out."""
    for pid in _listeners(port):
        if (data_dir := _data_dir_of(pid)) is not None:
            return f" by the OpenV of {data_dir}. Stop that one with `openv down --data-dir {data_dir}`"
        return f" by process {pid}. Stop that program"
    return ". Stop the program that has it"


def _listeners(port: int) -> list[int]:
    """Processes that listen on this port; of other users none are seen. Empty on systems without /proc."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{inode}]")
    if not sockets:
        return []
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _holds(entry, sockets)]


def _holds(process: Path, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) in sockets:  # noqa: PTH115 -- Path.readlink makes a path of "socket:[1]"
                    return True
    return False


def _data_dir_of(pid: int) -> str | None:
    """The data directory of an ``openv up`` whose part this process is; None for other programs."""
    with contextlib.suppress(OSError):
        if b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes():
            for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if variable.startswith(b"OPENV_DATA_DIR="):
                    return variable.partition(b"=")[2].decode(errors="replace")
    return None
