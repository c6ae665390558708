"""One lane a partition: records of a partition one after the other, partitions side by side.

Handlers mostly wait for MongoDB and Kafka, so this is what makes one process fast; a user, and a pool, lives in one
partition, so the order that matters holds. A lane is short: what is not yet begun stays with Faust, and with Kafka.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 8


class Lanes(Generic[T]):
    """``work`` gets the items of a lane one at a time; an exception of it goes to ``failed`` and ends that lane."""

    def __init__(self, work: Callable[[T], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
        self._work = work
        self._failed = failed
        self._queues: dict[int, asyncio.Queue[T]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._busy: set[int] = set()

    async def put(self, lane: int, item: T) -> None:
        """Queue it; waits while the lane is full."""
        if lane not in self._queues:
            self._queues[lane] = asyncio.Queue(DEPTH)
            self._tasks[lane] = asyncio.create_task(self._run(lane, self._queues[lane]), name=f"lane-{lane}")
        await self._queues[lane].put(item)

    def is_idle(self, lane: int) -> bool:
        """Whether nothing of the lane waits or runs, or may be held up behind a lane that is full."""
        if any(queue.full() for queue in self._queues.values()):
            return False  # whoever feeds us stands before that one, with items of all lanes behind it
        return lane not in self._queues or (self._queues[lane].empty() and lane not in self._busy)

    async def close(self) -> None:
        """Cancel what runs, forget what waits."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, lane: int, queue: "asyncio.Queue[T]") -> None:
        while True:
            item = await queue.get()
            self._busy.add(lane)
            try:
                await self._work(item)
            except Exception as error:  # noqa: BLE001 -- whoever made the lanes knows what to do with it
                self._failed(error)
                return
            finally:
                self._busy.discard(lane)
