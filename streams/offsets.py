"""The offset check: the last applied offset of every partition, in MongoDB, against what Faust delivers.

Faust has skipped records. A gap between the last applied offset and the delivered one is read back from Kafka before
the delivered record is applied. What is stored never claims more than was applied: it follows in memory and is written
a moment later, so after a crash a few records are read again, which changes nothing.
"""

from collections.abc import AsyncIterator, Sequence

import structlog

from repo.ports import EventLog, JobStore
from schemas.codec import Record
from schemas.topics import Topic

log = structlog.get_logger()

READ_AT_ONCE = 500


class AppliedOffsets:
    """One consumer's offsets. ``reach``: the largest gap that is worth reading back (None: any).

    The scheduler's state is soft, so it does not go back through a week of heartbeats after a database was lost; the
    ledger and the janitor do: their work is repeatable, and a restored backup is brought up to date by it.
    """

    def __init__(
        self, consumer: str, topic: Topic, store: JobStore, event_log: EventLog, *, reach: int | None = None
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._store = store
        self._log = event_log
        self._reach = reach
        self._last: dict[int, int] = {}
        self._known: set[int] = set()
        self._unsaved: dict[int, int] = {}

    def last(self, partition: int) -> int | None:
        """The last applied offset, None where this process does not know (yet)."""
        return self._last.get(partition) if partition in self._known else None

    def forget(self) -> None:
        """A new assignment: others may have applied more meanwhile. What this process knows still holds at least."""
        self._known.clear()

    async def begin(self, partition: int) -> None:
        """Know where the partition stands. Raises ``Unavailable``."""
        if partition in self._known:
            return
        stored = (await self._store.applied_offsets(self._consumer)).get(partition)
        start = (await self._log.starts(self._topic.name))[partition]
        end = (await self._log.ends(self._topic.name))[partition]
        last = max(stored if stored is not None else -1, self._last.get(partition, -1))
        if last >= end:
            log.warning(
                "the topic was made anew: its offsets begin again",
                topic=self._topic.name,
                partition=partition,
                applied=last,
                end=end,
            )
            await self._store.reset_applied_offset(self._consumer, partition)
            self._unsaved.pop(partition, None)
            last = -1
        self._last[partition] = max(last, start - 1)
        self._known.add(partition)

    async def missing(self, partition: int, before: int) -> AsyncIterator[Sequence[Record]]:
        """The records between the last applied one and ``before``, in order, in bounded batches.

        Ask for the next batch only after the last one was applied. Raises ``Unavailable``.
        """
        await self.begin(partition)
        first = self._last[partition] + 1
        if before <= first:
            return
        if self._reach is not None and before - first > self._reach:
            log.warning(
                "a gap too old to matter is left", topic=self._topic.name, partition=partition, records=before - first
            )
            self.applied(partition, before - self._reach - 1)
            first = before - self._reach
        log.warning(
            "reading back what was not delivered",
            topic=self._topic.name,
            partition=partition,
            first=first,
            before=before,
        )
        for start in range(first, before, READ_AT_ONCE):
            stop = min(start + READ_AT_ONCE, before)
            yield await self._log.read(self._topic.name, partition, start, stop)
            # Offsets without a record (a transaction's marks, or retention) count as applied.
            self.applied(partition, stop - 1)

    def applied(self, partition: int, offset: int) -> None:
        """The record at this offset, and all before it, were applied."""
        if offset > self._last.get(partition, -1):
            self._last[partition] = offset
            self._unsaved[partition] = offset

    async def save(self) -> None:
        """Store what was applied since the last time. Raises ``Unavailable``; nothing is forgotten then."""
        unsaved = dict(self._unsaved)
        if not unsaved:
            return
        await self._store.store_applied_offsets(self._consumer, unsaved)
        for partition, offset in unsaved.items():
            if self._unsaved.get(partition) == offset:
                del self._unsaved[partition]
