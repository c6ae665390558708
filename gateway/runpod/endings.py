"""Requests that wait for a job to end: woken by the feed, so that waiting costs neither MongoDB nor anybody's time.

Who waits registers before it looks, so that no end falls between the two; who was woken looks again, and may have been
woken for nothing (events were lost, the process stops).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import Problem, Refused


class Waiter:
    """One request. ``job_id`` is what it waits for."""

    __slots__ = ("_room", "_woken")

    def __init__(self, room: "Endings") -> None:
        self._room = room
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Something happened that it may have waited for."""
        if not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, seconds: float, gone: "asyncio.Future[None]") -> bool:
        """Until it is woken, the time is over or the client has gone, at once where the process stops; whether it was
        woken."""
        if not self._room.leaving:
            await asyncio.wait([self._woken, gone], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        woken = self._woken.done()
        if woken:
            self._woken = asyncio.get_running_loop().create_future()
        return woken


class Endings:
    """One a process. A user may have ``most`` requests waiting here."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[str, set[Waiter]] = {}
        self._of_user: dict[str, int] = {}
        self.leaving = False

    @contextmanager
    def waiting_for(self, job_id: str, user_id: str) -> Iterator[Waiter]:
        """Listen for a job. Raises ``Refused`` where the user has too many requests waiting."""
        if self._of_user.get(user_id, 0) >= self._most:
            raise Refused(Problem.TOO_MANY_WAIT)
        waiter = Waiter(self)
        self._of_user[user_id] = self._of_user.get(user_id, 0) + 1
        self._waiting.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._waiting[job_id].discard(waiter)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    def wake(self, job_id: str) -> None:
        """The job has moved on, or a chunk of its stream has come."""
        for waiter in self._waiting.get(job_id, ()):
            waiter.wake()

    def wake_all(self) -> None:
        """Nobody knows what was missed."""
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.wake()

    def leave(self) -> None:
        """The process stops: nobody waits any longer, now or later."""
        self.leaving = True
        self.wake_all()

    def __len__(self) -> int:
        """How many jobs are waited for."""
        return len(self._waiting)
