"""Large bodies share a bounded room: of a process, and within it of each user. Who finds it full waits for a while."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.errors import Problem, Refused


class ByteRoom:
    """``most`` bytes in all, a quarter of them for one user, but always one of the largest body."""

    def __init__(self, most: int, largest: int, patience_s: float) -> None:
        self._most = max(most, largest)
        self._most_of_user = max(self._most // 4, largest)
        self._patience_s = patience_s
        self._of_user: dict[str, int] = {}
        self._freed = asyncio.Event()
        self.taken = 0

    @asynccontextmanager
    async def held(self, user_id: str, size: int) -> AsyncIterator[Callable[[int], None]]:
        """Room for so many bytes, of which those that turn out not to be needed may be given back early, by the
        function that this yields. Raises ``Refused`` where there is none for too long."""
        try:
            async with asyncio.timeout(self._patience_s):
                while not self._fits(user_id, size):
                    await self._freed.wait()
        except TimeoutError:
            raise Refused(Problem.NO_ROOM) from None
        self.taken += size
        self._of_user[user_id] = self._of_user.get(user_id, 0) + size
        held = size

        def keep(needed: int) -> None:
            nonlocal held
            if needed < held:
                self._give(user_id, held - needed)
                held = needed

        try:
            yield keep
        finally:
            self._give(user_id, held)

    def _give(self, user_id: str, size: int) -> None:
        self.taken -= size
        left = self._of_user.pop(user_id, 0) - size  # who took none may be gone from it
        if left:
            self._of_user[user_id] = left
        self._freed.set()
        self._freed = asyncio.Event()

    def _fits(self, user_id: str, size: int) -> bool:
        return self.taken + size <= self._most and self._of_user.get(user_id, 0) + size <= self._most_of_user
