"""Time for the scheduler: a tick a second into every partition it owns, the next one only after the last was applied.

The core counts silence in ticks, so that an outage costs no worker its lease; that depends on one outstanding each.
"""

import asyncio
from uuid import uuid4

from repo.clock import now_ms
from repo.ports import EventLog, Unavailable
from schemas.codec import encode
from schemas.dispatch import Tick
from streams.perform import SCHEDULER
from streams.reader import Reader


class Ticker:
    """The timer of one scheduler's reader."""

    def __init__(self, reader: Reader, event_log: EventLog) -> None:
        self._reader = reader
        self._log = event_log
        self._outstanding: dict[int, int] = {}
        self._generation = -1

    async def run(self, every_s: float) -> None:
        """Tick for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.tick()

    async def tick(self) -> None:
        """One tick to every owned partition that has handled the one before."""
        if self._reader.generation != self._generation:
            self._generation = self._reader.generation
            self._outstanding.clear()
        for partition in list(self._reader.vitals.partitions):
            if self._is_handled(partition):
                await self._send(partition)

    def _is_handled(self, partition: int) -> bool:
        sent = self._outstanding.get(partition)
        if sent is None:
            return True
        applied = self._reader.offsets.last(partition)
        return applied is not None and applied >= sent

    async def _send(self, partition: int) -> None:
        message = encode(Tick(tick_id=str(uuid4())), source=SCHEDULER, at=now_ms())
        try:
            position = await self._log.append(message, partition=partition)
        except Unavailable:
            return  # the next second tries again; at worst two land
        self._outstanding[partition] = position.offset
