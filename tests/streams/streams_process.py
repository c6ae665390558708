"""``python -m streams`` under test: started with an environment, heard through ``NOTIFY_SOCKET``, stopped or killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

QUICK = {
    "OPENV_STREAMS_SESSION_TIMEOUT_SECONDS": "6",
    "OPENV_STREAMS_HEARTBEAT_SECONDS": "1",
    "OPENV_STREAMS_COMMIT_SECONDS": "0.3",
    "OPENV_STREAMS_LOOK_SECONDS": "3",
    "OPENV_STREAMS_TICK_SECONDS": "0.3",
    "OPENV_STREAMS_RECONCILE_SECONDS": "5",
    "OPENV_LOG_FORMAT": "json",
    "PYTHONUNBUFFERED": "1",
}
REPOSITORY = Path(__file__).parents[2]


async def eventually(ask: Callable[[], Awaitable[T]], within_s: float = 40.0, *, what: str = "") -> T:
    """The first true answer. Fails after the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within_s} s: {what or ask}"
        await asyncio.sleep(0.05)


class StreamsProcess:
    """One process. ``log`` is its standard error, a JSON object a line."""

    COMMAND: tuple[str, ...] = (sys.executable, "-m", "streams")

    def __init__(self, environment: Mapping[str, str], log: Path, *arguments: str) -> None:
        self.log = log
        self._folder = tempfile.TemporaryDirectory(prefix="streams-")
        address = f"{self._folder.name}/notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address)
        self.statuses: list[str] = []
        self.is_ready = False
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.COMMAND, *arguments],
                env={**os.environ, **QUICK, **environment, "NOTIFY_SOCKET": address},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def hear(self) -> None:
        """Take in what it has notified."""
        while True:
            try:
                datagram = self._socket.recv(65536).decode()
            except BlockingIOError:
                return
            for line in datagram.splitlines():
                if line == "READY=1":
                    self.is_ready = True
                if line.startswith("STATUS="):
                    self.statuses.append(line.removeprefix("STATUS="))

    async def ready(self, within_s: float = 60.0) -> None:
        """Wait until it says that it is ready."""

        async def is_ready() -> bool:
            self.hear()
            assert self.process.poll() is None, self.words()
            return self.is_ready

        await eventually(is_ready, within_s, what=f"streams ready; it said {self.statuses}")

    async def says(self, text: str, within_s: float = 40.0) -> None:
        """Wait for a status that holds the text."""

        async def said() -> bool:
            self.hear()
            return any(text in status for status in self.statuses)

        await eventually(said, within_s, what=f"status {text!r} among {self.statuses}")

    def words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-6000:]

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def terminate(self, within_s: float = 20.0) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, within_s)

    def close(self) -> None:
        """End it however it stands."""
        if self.process.poll() is None:
            self.kill()
        self._socket.close()
        self._folder.cleanup()


@asynccontextmanager
async def streams_running(environment: Mapping[str, str], log: Path, *arguments: str) -> AsyncIterator[StreamsProcess]:
    """A process that is ready; stopped at the end."""
    one = StreamsProcess(environment, log, *arguments)
    try:
        await one.ready()
        yield one
        if one.process.poll() is None:
            assert await one.terminate() == 0, one.words()
    finally:
        one.close()
