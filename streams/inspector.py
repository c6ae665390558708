"""Looks through the topics that many read, so that a bad message there reaches the dead letters too, and once.

Every gateway reads ``openv.progress`` and every worker its partition of ``openv.assignments``; they pass over what they
can't read, and a record whose key is nobody's has no reader at all. So the janitors look through both: who owns
partition p of ``openv.events`` takes the partitions p, p + 8 … of these. As everywhere, a crash between the letter and
the note that it was written gives a second letter, with the same origin.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import cast

from repo.ports import EventLog, Unavailable
from schemas.codec import Record, Unreadable, decode
from schemas.topics import ASSIGNMENTS, EVENTS, PROGRESS, Topic
from streams.deadletters import CannotProcess
from streams.offsets import AppliedOffsets
from streams.patience import Patience
from streams.reader import Reader

INSPECTED = (ASSIGNMENTS, PROGRESS)
ASK_AGAIN_S = 0.5
SAVE_S = 5.0  # what was looked through since is looked through again after a crash


def consumer_of(topic: Topic) -> str:
    """Under which name its applied offsets are kept."""
    return f"inspector {topic.name}"


class Inspector:
    """Of one topic. ``janitor`` says which partitions are ours, and buries. ``offsets`` are this topic's own."""

    def __init__(
        self, topic: Topic, janitor: Reader, offsets: AppliedOffsets, event_log: EventLog, patience: Patience
    ) -> None:
        self._topic = topic
        self._janitor = janitor
        self._offsets = offsets
        self._log = event_log
        self._patience = patience

    async def run(self) -> None:
        """For ever, whatever is ours."""
        while True:
            owned = self._owned()
            if owned:
                await self._look_through(owned)
            else:
                await asyncio.sleep(ASK_AGAIN_S)

    def _owned(self) -> frozenset[int]:
        events = self._janitor.vitals.partitions
        return frozenset(p for p in range(self._topic.partitions) if p % EVENTS.partitions in events)

    async def _look_through(self, owned: frozenset[int]) -> None:
        """From where the last owner stopped, until something else is ours."""
        self._offsets.forget()
        start = {partition: await self._begin(partition) for partition in owned}
        tail = self._log.tail(self._topic.name, start)
        save_at = 0.0
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            async for batch in batches:
                ours = True
                for record in batch:
                    # The new owner begins at what is stored: nothing may be noted behind a record that was left to it.
                    ours = self._owned() == owned
                    if not ours:
                        break
                    await self._inspect(record)
                ours = ours and self._owned() == owned
                now = asyncio.get_running_loop().time()
                if now >= save_at or not ours:
                    save_at = now + SAVE_S
                    with suppress(Unavailable):
                        await self._offsets.save()
                if not ours:
                    return

    async def _begin(self, partition: int) -> int:
        """The first offset that nobody has looked at."""
        await self._patience.until_done(lambda: self._offsets.begin(partition))
        last = self._offsets.last(partition)
        return 0 if last is None else last + 1

    async def _inspect(self, record: Record) -> None:
        message = decode(record)
        if isinstance(message, Unreadable):
            await self._janitor.bury(record, CannotProcess(message.reason))
            self._offsets.applied(record.partition, record.offset)
            await self._patience.until_done(self._offsets.save)
        else:
            self._offsets.applied(record.partition, record.offset)
