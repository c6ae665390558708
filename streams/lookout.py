"""The second look at a role's topic: what is in the log against what was applied, and what Faust has stored of it.

It fetches records that Faust left behind with nothing after them (a gap that the offset check can't see), and keeps
the vitals by which the watchdog judges.
"""

import asyncio
from collections.abc import Callable, Mapping

from repo.ports import EventLog, Unavailable
from streams.board import Board
from streams.reader import Reader
from streams.vitals import PartitionVitals


class Lookout:
    """One role's. ``committed``: the offsets that Faust has stored, by partition; ``member``: whether it belongs;
    ``idle``: whether nothing that Faust delivered of the partition is under way.
    """

    def __init__(
        self,
        reader: Reader,
        event_log: EventLog,
        board: Board,
        *,
        committed: Callable[[], Mapping[int, int]],
        member: Callable[[], bool],
        idle: Callable[[int], bool],
    ) -> None:
        self._reader = reader
        self._log = event_log
        self._board = board
        self._committed = committed
        self._member = member
        self._idle = idle
        self._looked_at = board.now()

    async def run(self, every_s: float) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Once."""
        role = self._reader.role
        try:
            ends = await self._log.ends(self._reader.topic.name)
        except Unavailable:
            self._board.excuse(role)  # without Kafka nothing can move
            return
        previous, self._looked_at = self._looked_at, self._board.now()
        self._note_membership()
        for number, partition in list(self._reader.vitals.partitions.items()):
            applied = await self._reader.applied(number)
            partition.applied = max(partition.applied, applied)
            partition.end = ends[number]
            self._note_commit(number, partition)
            if partition.lag == 0:
                partition.moved_at = self._board.now()
            elif partition.moved_at < previous and self._idle(number):
                partition.read_back += await self._reader.catch_up(number, partition.end)

    def _note_membership(self) -> None:
        vitals = self._reader.vitals
        if self._member():
            vitals.outside_since = None
        elif vitals.outside_since is None:
            vitals.outside_since = self._board.now()

    def _note_commit(self, number: int, partition: PartitionVitals) -> None:
        committed = self._committed().get(number, 0)
        if committed != partition.committed or not partition.uncommitted:
            partition.committed = committed
            partition.committed_at = self._board.now()
