"""Keeps the child: starts one, passes on what it says and what it is told, and says when it is gone."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from inference_worker.child_process import ChildDied
from inference_worker.core.inputs import ChildGone, Heard
from inference_worker.messages import FromChild
from schemas.requests import GenerationRequest


class ChildPort(Protocol):
    """What ``child_process.Child`` is to its keeper."""

    def messages(self) -> AsyncIterator[FromChild]: ...
    async def generate(self, job_id: str, attempt: int, request: GenerationRequest, directory: Path) -> None: ...
    async def stop(self, job_id: str, attempt: int) -> None: ...
    def kill(self) -> None: ...
    async def close(self) -> None: ...


Ask = Callable[[ChildPort], Awaitable[None]]


class Keeper:
    """One child at a time. ``take`` hears ``Heard`` and, once for each child, ``ChildGone``."""

    def __init__(self, start: Callable[[], Awaitable[ChildPort]], take: Callable[[Heard | ChildGone], None]) -> None:
        self._start = start
        self._take = take
        self._number = 0
        self._child: ChildPort | None = None
        self._killed = False
        self._asks: asyncio.Queue[Ask] = asyncio.Queue()

    async def keep(self, number: int) -> None:
        """Start the child of this number and stay with it to its end. Cancelled: the child is killed."""
        self._number, self._killed, self._asks = number, False, asyncio.Queue()
        try:
            child = await self._start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            self._take(ChildGone(number, f"The model's process could not be started: {reason}."))
            return
        self._child = child
        if self._killed:
            child.kill()
        words = "The model's process ended."
        telling = asyncio.create_task(self._tell(child, self._asks))
        try:
            async for message in child.messages():
                self._take(Heard(number, message))
        except ChildDied as death:
            words = str(death)
        finally:
            self._child = None
            telling.cancel()
            await child.close()  # first of all: whatever may interrupt this, the kill is done
            await asyncio.gather(telling, return_exceptions=True)
        self._take(ChildGone(number, words))

    def generate(self, number: int, job_id: str, attempt: int, request: GenerationRequest, directory: Path) -> None:
        self._ask(number, lambda child: child.generate(job_id, attempt, request, directory))

    def stop(self, number: int, job_id: str, attempt: int) -> None:
        self._ask(number, lambda child: child.stop(job_id, attempt))

    def kill(self, number: int) -> None:
        """SIGKILL, also for a child that is just being started."""
        if number == self._number:
            self._killed = True
            if self._child:
                self._child.kill()

    def _ask(self, number: int, ask: Ask) -> None:
        if number == self._number:
            self._asks.put_nowait(ask)

    async def _tell(self, child: ChildPort, asks: asyncio.Queue[Ask]) -> None:
        """Pass on in order. A child that reads slowly holds up only this task."""
        with suppress(ChildDied):  # ``messages`` ends too, and says so
            while True:
                await (await asks.get())(child)
