"""A test that takes minutes and needs nothing of the others: a process that runs beside them from the first one on.

``conftest.py`` starts it if a test that waits for it was collected, makes that test the last one, and ends it.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from operations.stack import tether
from tests.streams.streams_process import REPOSITORY

STOP_WITHIN_S = 20.0


class Background:
    """``python -m MODULE FOLDER ARGUMENTS...``: exit code 0 and ``verdict.json`` in the folder, or what went wrong in
    its output."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="background-")
        self.folder = Path(self._folder.name)
        self._log = self.folder / "log"
        with self._log.open("wb") as output:
            # Tethered: should this process be killed, that one and all it has started end as well.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()),
                 sys.executable, "-m", module, self._folder.name, *arguments],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C is for us; we pass on what follows from it
            )  # fmt: skip

    async def ended(self, within_s: float) -> int:
        """Its exit code. Raises ``TimeoutError``."""
        async with asyncio.timeout(within_s):
            # Not a thread that waits: nobody could interrupt it.
            while (code := self._process.poll()) is None:  # noqa: ASYNC110 - a Popen has no event to wait for
                await asyncio.sleep(0.5)
        return code

    def has_ended(self) -> bool:
        """Whether it has, however."""
        return self._process.poll() is not None

    def verdict(self) -> dict[str, Any]:
        """What it has found."""
        found: dict[str, Any] = json.loads((self.folder / "verdict.json").read_text())
        return found

    def words(self) -> str:
        """The end of its output, and of the logs of the processes it has started."""
        logs = [self._log, *sorted(self.folder.glob("*.log"))]
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in logs)

    def stop(self) -> None:
        """End it, with all it has started."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()
