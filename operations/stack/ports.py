"""Free ports on 127.0.0.1 that stay the same from start to start."""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from secrets import randbelow

from operations.stack.data_dir import DataDir
from operations.stack.errors import StackError

LOOPBACK = "127.0.0.1"
_SPAN = 12_000
_TRIES = 200
# The range from which the kernel takes the local ports of outgoing connections, Linux' default where it can't be read.
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_FROM = 32_768
_LOWEST = 10_000
_FILE = "ports.json"


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(names: Iterable[str], remembered: Mapping[str, int], avoid: Iterable[int] = ()) -> dict[str, int]:
    """A free port for each name: the remembered one where it is still free, otherwise a new one.

    New ones lie below the kernel's ephemeral range, so that no outgoing connection takes them while a server restarts.
    Another process may take one between this look and the server's bind: the server then dies, and is asked again.
    """
    chosen: dict[str, int] = {}
    others = set(avoid)
    for name in names:
        port = remembered.get(name)
        if port is None or port in chosen.values() or port in others or not is_free(port):
            port = _new_port({*chosen.values(), *remembered.values(), *others})
        chosen[name] = port
    return chosen


class RememberedPorts:
    """The ports of one server, kept in its data directory's ``ports.json`` from start to start.

    They may change until the server has been ready once; from then on others know them and a restart keeps them.
    """

    def __init__(self, data_dir: DataDir, server: str, names: Iterable[str]) -> None:
        self._data_dir = data_dir
        self._server = server
        self._names = tuple(names)
        self._settled: dict[str, int] | None = None
        self._last: dict[str, int] = {}

    def for_start(self) -> dict[str, int]:
        """The ports to start the server with. Raises ``StackError``."""
        if self._settled is not None:
            return self._settled
        # Ours and the other servers'; read and written without awaiting, so two servers never get the same.
        known = {server: _numbers(ports) for server, ports in self._data_dir.read(_FILE).items()}
        others = [port for server, ports in known.items() if server != self._server for port in ports.values()]
        self._last = choose(self._names, known.get(self._server, {}), others)
        self._data_dir.write(_FILE, {**known, self._server: self._last})
        return self._last

    def settle(self) -> None:
        """The server has answered on these ports."""
        self._settled = self._last


def _numbers(ports: object) -> dict[str, int]:
    """What is readable of an entry in the file; a damaged one costs no more than new ports."""
    entries = ports.items() if isinstance(ports, dict) else ()
    return {str(name): port for name, port in entries if isinstance(port, int) and 0 < port < 65_536}


def _new_port(avoid: set[int]) -> int:
    below = _ephemeral_start()
    lowest = max(_LOWEST, below - _SPAN)
    for _ in range(_TRIES):
        port = lowest + randbelow(below - lowest) if below > lowest else _any_port()
        if port not in avoid and is_free(port):
            return port
    raise StackError("No free port was found on 127.0.0.1: end some of the servers that run on this machine.")


def _ephemeral_start() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_FROM


def _any_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.bind((LOOPBACK, 0))
        port: int = candidate.getsockname()[1]
        return port
