"""Programs on other services' SDKs, run as somebody runs them: in a process of their own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from httpx import AsyncClient

from tests.sdks import where

PROGRAMS = Path(__file__).parent
WITHIN_S = 300


def key_of(client: AsyncClient) -> str:
    """What a stack's client shows, without Bearer."""
    return client.headers["authorization"].removeprefix("Bearer ")


def python(name: str) -> list[str]:
    """The command of a program of this folder."""
    return [where.python(), str(PROGRAMS / name)]


def python_text(text: str, folder: Path) -> list[str]:
    """The command of a program with this text."""
    program = folder / "program.py"
    program.write_text(text)
    return [where.python(), str(program)]


def node(name: str, folder: Path) -> list[str]:
    """The same, copied beside the packages that it imports."""
    return node_text((PROGRAMS / name).read_text(), folder)


def node_text(text: str, folder: Path) -> list[str]:
    """The command of a program with this text."""
    (folder / "node_modules").symlink_to(where.node_modules())
    program = folder / "program.mjs"
    program.write_text(text)
    return [where.node(), str(program)]


@asynccontextmanager
async def working(command: list[str], folder: Path, told: Mapping[str, str], log: Path) -> AsyncIterator[None]:
    """A worker on RunPod's SDK, with these variables besides; killed in the end with the child that pings for it."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**os.environ, **told, "NO_PROXY": "*"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def printed_by(command: list[str], folder: Path, **told: str) -> str:
    """What it prints, run in ``folder`` with these variables. Raises AssertionError with its complaints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "FOLDER": str(folder), "NO_PROXY": "*", **told},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            printed, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{printed.decode()}\n{complaints.decode()}"
    return printed.decode()
