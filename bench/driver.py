"""A load or a baseline in a process of its own: told what to do by lines of JSON, it answers each with one.

The parent: ``async with driven("bench.request_load", environment) as load: answer = await load.ask(clients=32, …)``.
The module: ``if __name__ == "__main__": serve(answering)``, where ``answering()`` is an async context manager that
connects, and yields the function that answers a question (its members as keywords) with plain data.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINE_MAX = 16 * 1024 * 1024
LEAVE_WITHIN_S = 10.0
_FAILED = "failed"

Answer = Callable[..., Awaitable[dict[str, Any]]]


class Failed(Exception):
    """A process of the benchmark did not do what it should; its own words."""


class Driver:
    """The parent's end of one process."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self._module = module
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, **question: Any) -> dict[str, Any]:
        """One question, its answer. Raises ``Failed`` if the process ends instead; its stderr is ours."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise Failed(f"{self._module} ended with exit code {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if _FAILED in answer:
            raise Failed(f"{self._module}: {answer[_FAILED]}")
        return answer


@asynccontextmanager
async def driven(module: str, environment: Mapping[str, str]) -> AsyncIterator[Driver]:
    """The module as a process, connected; gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        env=dict(environment),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX,
    )
    driver = Driver(module, process)
    try:
        await driver.answer()
        yield driver
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def serve(answering: Callable[[], AbstractAsyncContextManager[Answer]]) -> None:
    """The child's end: until the parent closes the pipe. What ``answering`` raises as ``Failed``, the parent raises."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic has no leader for a moment: it asks again
    asyncio.run(_serve(answering))


async def _serve(answering: Callable[[], AbstractAsyncContextManager[Answer]]) -> None:
    loop = asyncio.get_running_loop()
    async with answering() as answer:
        _say({})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            try:
                said = await answer(**json.loads(line))
            except (Failed, TimeoutError, OSError, EOFError) as failure:
                said = {_FAILED: str(failure) or type(failure).__name__}
            _say(said)


def _say(plain: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(plain) + "\n")
    sys.stdout.flush()
