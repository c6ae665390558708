"""Reading a stretch of any topic of the cluster, fast: in large fetches, as aiokafka gives them, up to an end.

For operators' tools, which read what is there. What follows a topic for ever is ``EventLog.tail``.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from repo.kafka_clients import Consumer, connection_options, describe, within
from repo.ports import Unavailable
from repo.settings import ServerSettings

FETCH_BYTES = 4 * 1024 * 1024  # of one partition at a time
_POLL_MS = 500


class NotKept(Exception):
    """The topic does not hold these offsets any more, or was made anew; names the partition."""


class _Consumer(Consumer):
    """One that can be asked about topics that it does not read."""

    async def partitions_now(self, topic: str) -> list[int]:
        """As the cluster says; none where there is no such topic."""
        return sorted((await self._client.fetch_all_metadata()).partitions_for_topic(topic) or ())


class TopicReader:
    """``async with TopicReader(settings, client_id) as reader``: asks about topics, and reads one stretch of one.

    ``patience_s``: how long a broker that says nothing is waited for. ``committed``: without what transactions have
    given up, and not beyond one that is open; a topic's end is where that begins then. Raises ``Unavailable``.
    """

    def __init__(
        self, settings: ServerSettings, client_id: str, *, patience_s: float = 20.0, committed: bool = False
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._isolation = "read_committed" if committed else "read_uncommitted"
        self._patience_s = patience_s
        self._left: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        self._consumer = _Consumer(
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=8 * FETCH_BYTES,
            check_crcs=True,
            isolation_level=self._isolation,
            **connection_options(self._settings),
        )
        try:
            await within(self._patience_s, self._consumer.start())
        except BaseException:
            await self._consumer.end(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._consumer.end(0)

    async def partitions(self, topic: str) -> list[int]:
        """Those of a topic; none where it does not exist."""
        return await within(self._patience_s, self._consumer.partitions_now(topic))

    async def starts(self, topic: str) -> dict[int, int]:
        """The first offset still kept of every partition."""
        return await self._offsets(topic, "beginning_offsets")

    async def ends(self, topic: str) -> dict[int, int]:
        """The next offset of every partition."""
        return await self._offsets(topic, "end_offsets")

    async def offsets_at(self, topic: str, timestamp: int) -> dict[int, int]:
        """The first offset at or after the time (ms) of every partition; the end where there is none."""
        ends = await self.ends(topic)
        wanted = {TopicPartition(topic, partition): max(0, timestamp) for partition in ends}
        found = await within(self._patience_s, self._consumer.offsets_for_times(wanted))
        return {at.partition: ends[at.partition] if hit is None else hit.offset for at, hit in found.items()}

    async def _offsets(self, topic: str, which: str) -> dict[int, int]:
        at = [TopicPartition(topic, partition) for partition in await self.partitions(topic)]
        found = await within(self._patience_s, getattr(self._consumer, which)(at)) if at else {}
        return {one.partition: int(found[one]) for one in at}

    def begin(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> None:
        """From here on ``next`` gives the records of these partitions, first offset to before the end."""
        self._left = {TopicPartition(topic, p): end for p, (first, end) in spans.items() if first < end}
        if self._left:
            self._consumer.assign(list(self._left))
        for at in self._left:
            self._consumer.seek(at, spans[at.partition][0])

    async def next(self, at_most: int) -> dict[int, list[ConsumerRecord]] | None:
        """Some of what is left, by partition and in order; None at the end.

        Raises ``NotKept`` where the topic has lost what comes next, ``Unavailable`` where the broker is silent.
        """
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while self._left:
            found = await self._fetched(at_most)
            batches = {at.partition: self._cut(at, records) for at, records in found.items() if at in self._left}
            await self._leave_what_is_done(found)
            if batches:
                return batches
            if asyncio.get_running_loop().time() > deadline:
                await self._is_kept()
                raise Unavailable("kafka", f"nothing more was read in {self._patience_s:g} s")
        return None

    async def _fetched(self, at_most: int) -> "dict[TopicPartition, list[ConsumerRecord]]":
        try:
            async with asyncio.timeout(self._patience_s):
                found: dict[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                    timeout_ms=_POLL_MS, max_records=at_most
                )
        except OffsetOutOfRangeError as lost:
            at = next(iter(lost.args[0])) if lost.args and lost.args[0] else None
            raise NotKept(f"{at.topic} partition {at.partition}" if at else "an offset") from None
        except (KafkaError, OSError, TimeoutError) as failure:
            raise Unavailable("kafka", describe(failure) or "it does not return records") from failure
        return found

    def _cut(self, at: TopicPartition, records: list[ConsumerRecord]) -> list[ConsumerRecord]:
        end = self._left[at]
        if records and records[-1].offset >= end:
            return [record for record in records if record.offset < end]
        return records

    async def _leave_what_is_done(self, found: Mapping[TopicPartition, Any]) -> None:
        """A partition's end is known by its position: the last offsets may be markers, which are no records."""
        done = set()
        for at, end in self._left.items():
            last = found[at][-1].offset + 1 if found.get(at) else 0
            if last >= end or (not found and await self._consumer.position(at) >= end):
                done.add(at)
        if done:
            self._consumer.pause(*done)  # or it would go on to fetch what is behind the end
        for at in done:
            del self._left[at]

    async def _is_kept(self) -> None:
        for topic in {at.topic for at in self._left}:
            starts, ends = await self.starts(topic), await self.ends(topic)
            for at, end in self._left.items():
                if await self._consumer.position(at) < starts.get(at.partition, 0) or end > ends.get(at.partition, 0):
                    raise NotKept(f"{topic} partition {at.partition}")
