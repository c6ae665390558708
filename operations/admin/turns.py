"""What costs much, a few at a time: whoever asks for more waits, and is refused where too many wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from operations.admin.refusals import Problem, Refused


class Turns:
    """``at_once`` at a time, and at most ``waiting`` that wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._here = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """While it is ours. Raises ``Refused``."""
        if self._here >= self._most:
            raise Refused(Problem.BUSY)
        self._here += 1
        try:
            async with self._room:
                yield
        finally:
            self._here -= 1
