"""While MongoDB does not answer, one caller at a time finds out whether it is back; the others hear it from that one.

Motor asks from a few threads, and a server that is silent holds each of them for seconds. Without this, where hundreds
ask, the last of them would hear of the outage after a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pymongo.errors import ConnectionFailure

T = TypeVar("T")


class StillAway(Exception):
    """Somebody else has just found that there is no answer: ``failure`` says how."""

    def __init__(self, failure: ConnectionFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Outage:
    """One client's. Where nothing is wrong, it is not in the way: all questions are asked side by side."""

    def __init__(self) -> None:
        self._failure: ConnectionFailure | None = None
        self._scout: asyncio.Future[ConnectionFailure | None] | None = None

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The question's answer, or what it raises. Raises ``StillAway`` where it was not asked."""
        while self._scout is not None:
            scout = self._scout
            await asyncio.wait([scout])  # it may have been cancelled: then the next one goes
            failure = scout.result()
            if failure is not None:
                raise StillAway(failure)
        if self._failure is None:
            return await self._noted(question)
        return await self._scouted(question)

    async def _scouted(self, question: Callable[[], Awaitable[T]]) -> T:
        scout = self._scout = asyncio.get_running_loop().create_future()
        found: ConnectionFailure | None = None
        try:
            return await self._noted(question)
        except ConnectionFailure as failure:
            found = failure
            raise
        finally:
            self._scout = None
            scout.set_result(found)

    async def _noted(self, question: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await question()
        except ConnectionFailure as failure:
            self._failure = failure
            raise
        except Exception:
            self._failure = None  # an error is an answer
            raise
        self._failure = None
        return answer
