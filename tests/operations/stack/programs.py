"""Small programs for the supervisor to run, and waiting for what they do."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from operations.stack.child import Command
from operations.stack.supervisor import Part

# Says its pid in a file (that is its readiness), then lives until it is told to end.
STEADY = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


def command(program: str, *arguments: str) -> Command:
    return Command((sys.executable, "-c", program, *arguments), dict(os.environ))


def part(name: str, folder: Path, program: str = STEADY, **settings: object) -> Part:
    """A part that is ready when its program has written its own pid to ``folder/name``."""
    said = folder / name

    async def make() -> Command:
        return command(program, str(said))

    async def is_ready(pid: int) -> bool:
        return said.exists() and said.read_text() == str(pid)

    return Part(name, make, is_ready, **settings)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    """Whether a process still runs (a zombie that nobody has reaped does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Waits for a condition; fails the test when it does not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.02)
