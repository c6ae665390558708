"""One child process: started tethered to this one, in its own session, and ended together with all it has started."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operations.stack.errors import StackError, last_words
from operations.stack.log_files import open_log, set_aside
from operations.stack.space import full_disk, is_full

_TETHER = Path(__file__).with_name("tether.py")
_POLL_S = 0.05
_LOG_TAIL_BYTES = 16 * 1024
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "JAVA_HOME", "JAVA_TOOL_OPTIONS")
# How the Java servers write their logs: warnings and errors, each with its time.
JAVA_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True)
class Command:
    """What to run. ``env`` is the whole environment of the child, not an addition to ours."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None


class Child:
    """A running child. It leads its own session, so that a Ctrl-C at the terminal reaches only its supervisor."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, log_from: int) -> None:
        self._process = process
        self._log = log
        self._log_from = log_from

    @classmethod
    def start(cls, command: Command, log: Path) -> "Child":
        """Starts the command with its output appended to ``log``. To be called from the main thread only.

        Does not await, so no cancellation can lose a process that has just been born. Raises ``StackError``.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are tethered to the thread that starts them: start them from the main thread")
        argv = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *command.argv]
        try:
            set_aside(log)
            with open_log(log, "ab") as output:
                log_from = output.tell()
                process = subprocess.Popen(
                    argv,
                    env=dict(command.env),
                    cwd=command.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            if is_full(error):
                raise full_disk(log.parent) from error
            raise StackError(f"Can't start {command.argv[0]} with its output in {log}: {error.strerror}.") from error
        return cls(process, log, log_from)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code (negative: the signal that ended it), ``None`` while it runs. The dead leave no descendants."""
        code = self._process.poll()
        if code is not None:
            self._kill_session()
        return code

    async def wait(self) -> int:
        """Waits for its end; returns the exit code."""
        while (code := self.exit_code()) is None:  # noqa: ASYNC110 - a Popen has no event to wait for
            await asyncio.sleep(_POLL_S)
        return code

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then after ``grace_s`` seconds SIGKILL to it and to everything it started."""
        if self.exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace_s
            while self.exit_code() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - as above
                await asyncio.sleep(_POLL_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to it and everything it started, now; returns when it has been reaped."""
        if self._process.poll() is None:
            self._kill_session()
            self._process.wait()
        self._kill_session()

    def last_words(self) -> str:
        """What it complained of last in its log; nothing of what earlier processes wrote there."""
        return last_words(self.said())

    def said(self) -> str:
        """The end of what this process has printed; empty where its log can't be read."""
        try:
            with self._log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                ours = self._log_from if self._log_from <= end else 0  # it grew large and was emptied
                log.seek(max(ours, end - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace")
        except OSError:
            return ""

    def _kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left (macOS says it the second way)
            os.killpg(self.pid, signal.SIGKILL)


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What an embedded server gets of our environment: no secrets, and nothing that it would take for a setting."""
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    # Java reads file names in the locale's encoding; where none is set it can't open a folder with an accent.
    return {**passed, "LC_ALL": "C.UTF-8" if sys.platform == "linux" else environ.get("LC_ALL", "en_US.UTF-8")}


async def run_to_end(command: Command, log: Path, timeout_s: float) -> int:
    """Runs a program that ends by itself and returns its exit code. Killed when it takes too long or we are cancelled.

    Raises ``TimeoutError``, ``StackError``.
    """
    child = Child.start(command, log)
    try:
        async with asyncio.timeout(timeout_s):
            return await child.wait()
    finally:
        child.kill()


def read_tail(log: Path) -> str:
    """The end of a log file, for a message; empty if there is none."""
    try:
        return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return ""
