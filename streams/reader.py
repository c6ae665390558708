"""One role's way through its topic: every record in order, applied or dead-lettered, none skipped, none acked too soon.

Faust delivers (``agents.py``), the lookout fetches what Faust left behind (``lookout.py``); both go through the same
lock of the partition, which applies one record at a time. A server that is away is waited for with the record in hand.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from repo.ports import EventLog
from schemas.codec import Message, Record, Unreadable, decode
from schemas.topics import Topic
from streams.board import Board
from streams.deadletters import CannotProcess, dead_letter, describe, stack_of
from streams.metrics import StreamsMetrics
from streams.offsets import AppliedOffsets
from streams.patience import Patience
from streams.settings import Role
from streams.tracing import handling
from streams.vitals import RoleVitals

log = structlog.get_logger()


class Handler(Protocol):
    """What a role does with a message."""

    async def handle(self, message: Message, record: Record, generation: int) -> None:
        """Apply it; all of it is durable on return. Must stand repetition.

        Raises ``CannotProcess`` (it goes to the dead letters) and ``Unavailable`` (it is tried again). ``generation``
        is raised by every assignment: what was cached under another one may be out of date.
        """
        ...


class Reader:
    """A role's reader. ``group`` names its Kafka consumer group.

    ``only``: the types that the role looks at, of a topic that another role reads whole; anything else is passed over
    unread, and what is not readable is that other role's to put to the dead letters, once.
    """

    def __init__(
        self,
        role: Role,
        topic: Topic,
        handler: Handler,
        offsets: AppliedOffsets,
        event_log: EventLog,
        board: Board,
        vitals: RoleVitals,
        *,
        only: frozenset[str] | None = None,
        metrics: StreamsMetrics | None = None,
    ) -> None:
        self.role = role
        self.topic = topic
        self.offsets = offsets
        self.vitals = vitals
        self.generation = 0
        self._handler = handler
        self._only = only
        self._metrics = metrics or StreamsMetrics()
        self._log = event_log
        self._board = board
        self._patience = Patience(role, board)
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._running = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._stopping = False

    @property
    def group(self) -> str:
        return f"openv-{self.role}"

    def on_assigned(self, partitions: Iterable[int]) -> None:
        """Only marks: Faust delivers records before a callback that waits would return."""
        self._next_generation()
        owned = sorted(partitions)
        log.info("partitions assigned", role=self.role, partitions=owned)
        self._board.assigned(self.role, owned)

    def on_revoked(self) -> None:
        """Only marks. What a running handler still does is fenced by the documents' versions."""
        self._next_generation()
        self._board.revoked(self.role)

    async def take(self, record: Record) -> None:
        """Apply what lies before the record and was not delivered, then the record. Returns when it may be acked.

        Once the process stops, it does not return any more.
        """
        async with self._alone(record.partition):
            await self._close_gap(record.partition, record.offset)
            await self._apply(record)
            self._note_applied(record.partition, record.offset)
            seen = self.vitals.partitions.get(record.partition)
            if seen is not None:
                seen.read_back = 0

    def acked(self, record: Record) -> None:
        """Faust was told that the record is done."""
        partition = self.vitals.partitions.get(record.partition)
        if partition is not None:
            if not partition.uncommitted:
                partition.committed_at = self._board.now()
            partition.acked = max(record.offset, -1 if partition.acked is None else partition.acked)

    async def catch_up(self, partition: int, end: int) -> bool:
        """Apply what lies before ``end`` and was not delivered; whether there was something."""
        async with self._alone(partition):
            if partition not in self.vitals.partitions:
                return False
            behind = end - 1 > await self.applied(partition)
            if behind:
                log.warning("Faust left records behind", role=self.role, partition=partition, end=end)
                await self._close_gap(partition, end)
            return behind

    async def applied(self, partition: int) -> int:
        """The last applied offset; -1 where there is none. Waits for the servers."""
        await self._patience.until_done(lambda: self.offsets.begin(partition))
        last = self.offsets.last(partition)
        return -1 if last is None else last

    async def stop(self, within_s: float) -> bool:
        """Begin no further record; whether the running ones were finished in time."""
        self._stopping = True
        try:
            await asyncio.wait_for(self._at_rest.wait(), within_s)
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def _alone(self, partition: int) -> AsyncIterator[None]:
        """The partition's turn. Once the process stops, nobody's turn comes any more."""
        async with self._locks[partition]:
            if self._stopping:
                await asyncio.Event().wait()
            self._running += 1
            self._at_rest.clear()
            try:
                yield
            finally:
                self._running -= 1
                if not self._running:
                    self._at_rest.set()

    async def _close_gap(self, partition: int, before: int) -> None:
        if self.offsets.last(partition) == before - 1:
            return  # as nearly always

        async def close() -> None:
            async for batch in self.offsets.missing(partition, before):
                for record in batch:
                    await self._apply(record)
                    self._note_applied(partition, record.offset)
                    self._metrics.read_back(self.role)

        # Tried again from where it stands, because every applied record is noted.
        await self._patience.until_done(close)

    async def _apply(self, record: Record) -> None:
        if self._only is not None and record.header("ce_type") not in self._only:
            return
        message = decode(record)
        if isinstance(message, Unreadable):
            if self._only is not None:
                return
            failure = CannotProcess(message.reason)
        else:
            with handling(self.role, message, record) as span:
                try:
                    await self._patience.until_done(lambda: self._handle(message, record))
                except CannotProcess as raised:
                    span.fail(raised.reason)
                    await self.bury(record, raised)
            return
        await self.bury(record, failure)

    async def _handle(self, message: Message, record: Record) -> None:
        began = time.perf_counter()
        await self._handler.handle(message, record, self.generation)
        self._metrics.handled(self.role, record.header("ce_type") or "", time.perf_counter() - began)

    async def bury(self, record: Record, failure: CannotProcess) -> None:
        """Put it to the dead letters, and say so. Waits for Kafka."""
        log.error(
            "message to the dead letters",
            role=self.role,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            type=record.header("ce_type"),
            reason=failure.reason,
            **({"cause": describe(failure.cause), "stack": stack_of(failure.cause)} if failure.cause else {}),
        )
        letter = dead_letter(record, self.group, failure)
        await self._patience.until_done(lambda: self._log.append(letter))
        self._metrics.buried(self.role, record.topic, failure)

    def _note_applied(self, partition: int, offset: int) -> None:
        self.offsets.applied(partition, offset)
        seen = self.vitals.partitions.get(partition)
        if seen is not None and offset > seen.applied:
            seen.applied = offset
            seen.moved_at = self._board.now()

    def _next_generation(self) -> None:
        self.generation += 1
        self.offsets.forget()
