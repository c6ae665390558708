"""The parent's side of the child process: start it, talk to it, end it, and notice when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self, cast

from inference_worker.messages import Exit, FromChild, Generate, Stop, ToChild
from inference_worker.pipe import BadFrame, FrameReader, to_frame
from schemas.requests import GenerationRequest

READ_BYTES = 1 << 16
LAST_MOMENTS = 5.0  # seconds that a child which closed its end may take to be gone


class ChildDied(Exception):
    """The child is gone. ``returncode`` is its exit code, or minus the signal that killed it."""

    def __init__(self, returncode: int) -> None:
        if returncode < 0:
            how = f"was killed by {signal.Signals(-returncode).name}"
        else:
            how = f"ended with exit code {returncode}"
        super().__init__(f"The model's process {how}.")
        self.returncode = returncode


class Child:
    """A running child. One task reads ``messages`` and must keep reading: a child that can't send stands still.

    ``async with await Child.start("tiny") as child`` makes sure that nothing is left behind.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._leaving = False

    @classmethod
    async def start(cls, engine: str, *, preview_ms: int = 1000, environment: Mapping[str, str] | None = None) -> Child:
        """Start a child; it loads ``engine`` at once. ``environment`` is added to this process's own.

        It is in a process group of its own (a Ctrl-C at the terminal is not for it), and ends when this process does.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "inference_worker.child"),
                *("--engine", engine, "--fd", str(theirs.fileno()), "--preview-ms", str(preview_ms)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what libraries print belongs with the log
                pass_fds=[theirs.fileno()],
                process_group=0,
                # Torch's threads wait for each other asleep, not spinning: on a machine that they share with other
                # programs, spinning makes a step several times slower.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **(environment or {})},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        """The process id, which is its process group's too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended, as far as is known."""
        return self._process.returncode is None

    async def messages(self) -> AsyncIterator[FromChild]:
        """Everything the child says, in order; ends after ``exit``, raises ``ChildDied`` at any other end.

        To be called once. A child that sends garbage is killed.
        """
        frames = FrameReader()
        while data := await self._received():
            try:
                messages = frames.feed(data)
            except BadFrame:
                self.kill()
                break
            for message in messages:
                yield cast("FromChild", message)
        code = await self._gone()
        if not (self._leaving and code == 0):
            raise ChildDied(code)

    async def generate(self, job_id: str, attempt: int, request: GenerationRequest, directory: Path) -> None:
        """Ask for a video. Raises ``ChildDied``."""
        await self._send(Generate(job_id=job_id, attempt=attempt, request=request, directory=directory))

    async def stop(self, job_id: str, attempt: int) -> None:
        """Ask for an attempt's end at its next step; ``AttemptStopped`` answers, or its end. Raises ``ChildDied``."""
        await self._send(Stop(job_id=job_id, attempt=attempt))

    async def exit(self) -> None:
        """Ask the child to end once what runs has stopped. Raises ``ChildDied``."""
        self._leaving = True
        await self._send(Exit())

    def kill(self) -> None:
        """SIGKILL to the child and whatever it started. Does nothing once it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end. Returns the exit code, or minus the signal."""
        return await self._process.wait()

    async def close(self) -> None:
        """Kill it if it still runs, and let go of everything. May be called again."""
        self.kill()
        await self.wait()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _send(self, message: ToChild) -> None:
        if self._process.returncode is not None:
            raise ChildDied(self._process.returncode)
        try:
            self._writer.write(to_frame(message))
            await self._writer.drain()
        except OSError:
            raise ChildDied(await self._gone()) from None

    async def _received(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:  # a killed child resets the connection if it left something unread
            return b""

    async def _gone(self) -> int:
        """The exit code of a child that closed its end; one that does so and stays is killed."""
        try:
            return await asyncio.wait_for(self._process.wait(), LAST_MOMENTS)
        except TimeoutError:
            self.kill()
            return await self._process.wait()
