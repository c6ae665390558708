"""The event log's memory twin."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from repo.clock import now_ms
from repo.core.sizes import check_size
from repo.partitions import partition_of, partitions_of
from repo.ports import Position, Unavailable
from schemas.codec import Encoded, Record
from schemas.topics import TOPICS

IDLE_S = 0.9


class MemoryEventLog:
    """Implements ``EventLog``. ``clock`` stamps records; ``away = True`` is an outage, ``trim`` is retention."""

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self.away = False
        self._clock = clock
        self._records: dict[str, list[list[Record]]] = {name: [[] for _ in partitions_of(name)] for name in TOPICS}
        self._starts: dict[tuple[str, int], int] = {}
        self._grown = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to disconnect."""

    async def append(self, message: Encoded, *, partition: int | None = None) -> Position:
        """See ``EventLog.append``."""
        check_size(message)
        self._check()
        where = partition_of(message.topic, message.key) if partition is None else partition
        lane = self._lane(message.topic, where)
        record = Record(
            message.topic, where, len(lane), self._clock(), message.key, message.value, tuple(message.headers)
        )
        lane.append(record)
        self._grown.set()
        self._grown = asyncio.Event()
        await asyncio.sleep(0)  # as with a server, other tasks run before the answer
        return Position(where, record.offset, record.timestamp)

    async def append_all(self, messages: Sequence[Encoded]) -> list[Position]:
        """See ``EventLog.append_all``."""
        for message in messages:
            check_size(message)
        return [await self.append(message) for message in messages]

    async def ends(self, topic: str) -> dict[int, int]:
        """See ``EventLog.ends``."""
        self._check()
        return {partition: len(self._lane(topic, partition)) for partition in partitions_of(topic)}

    async def starts(self, topic: str) -> dict[int, int]:
        """See ``EventLog.starts``."""
        self._check()
        return {partition: self._starts.get((topic, partition), 0) for partition in partitions_of(topic)}

    async def offsets_at(self, topic: str, timestamp: int) -> dict[int, int]:
        """See ``EventLog.offsets_at``."""
        self._check()
        found: dict[int, int] = {}
        for partition in partitions_of(topic):
            lane = self._lane(topic, partition)
            kept = lane[self._starts.get((topic, partition), 0) :]
            found[partition] = next((one.offset for one in kept if one.timestamp >= timestamp), len(lane))
        return found

    async def tail(self, topic: str, start: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
        """See ``EventLog.tail``."""
        positions = dict(start)
        for partition in positions:
            self._lane(topic, partition)
        while True:
            grown = self._grown
            batch = [] if self.away else self._after(topic, positions)
            if not batch:
                try:
                    async with asyncio.timeout(IDLE_S):  # ``wait_for`` may swallow a cancellation
                        await grown.wait()
                except TimeoutError:
                    yield ()
                continue
            for record in batch:
                positions[record.partition] = record.offset + 1
            yield batch

    async def read(self, topic: str, partition: int, start: int, stop: int) -> list[Record]:
        """See ``EventLog.read``."""
        self._check()
        return self._lane(topic, partition)[max(start, self._starts.get((topic, partition), 0), 0) : max(stop, 0)]

    def partition_of(self, topic: str, key: bytes) -> int:
        """See ``EventLog.partition_of``."""
        return partition_of(topic, key)

    async def ping(self) -> None:
        """See ``EventLog.ping``."""
        self._check()

    def trim(self, topic: str, partition: int, start: int) -> None:
        """As retention does: forget what lies before this offset."""
        self._starts[topic, partition] = start

    def records(self, topic: str) -> list[Record]:
        """All that was ever appended, in order within each partition: for a test's eyes."""
        return [record for lane in self._records[topic] for record in lane]

    def _after(self, topic: str, positions: Mapping[int, int]) -> list[Record]:
        found: list[Record] = []
        for partition, offset in positions.items():
            lane, first = self._lane(topic, partition), self._starts.get((topic, partition), 0)
            found += lane[offset if first <= offset <= len(lane) else first :]
        return found

    def _lane(self, topic: str, partition: int) -> list[Record]:
        if partition not in partitions_of(topic):
            raise ValueError(f"{topic} has no partition {partition}")
        return self._records[topic][partition]

    def _check(self) -> None:
        if self.away:
            raise Unavailable("kafka", "away")
