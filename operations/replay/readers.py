"""The stream processors that read what a replay writes: whether they keep up, and when they have done with it."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from operations.core.keeping_up import KeepingUp
from operations.core.readers import READERS
from repo.ports import JobStore, Unavailable
from schemas.replay_plans import Place

# The notifier reads events too: only webhooks wait for it.
NAMES = {READERS[name]: name for name in ("ledger", "scheduler", "janitor")}
LOOK_EVERY_S = 0.1
STILL_MAX_S = 60.0


class Readers:
    """Of these topics: false where none of them is read by us."""

    def __init__(self, store: JobStore, topics: Iterable[str]) -> None:
        self._store = store
        self._names = {topic: NAMES[topic] for topic in topics if topic in NAMES}
        self._keeping_up = KeepingUp()
        self._look_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._names)

    @property
    def limit(self) -> int | None:
        """How many records may wait for them."""
        return self._keeping_up.limit if self else None

    @property
    def stand_still(self) -> str | None:
        """In words, where none of what waits was applied for long."""
        if self._keeping_up.still_s < STILL_MAX_S:
            return None
        return (
            f"what was written waits, and {' and '.join(sorted(set(self._names.values())))} applied nothing for "
            f"{STILL_MAX_S:.0f} s: see to the stream processors (`openv doctor`), then continue"
        )

    async def keep_up(self, ends: Mapping[tuple[str, int], int]) -> bool:
        """Whether more may be written. ``ends``: where what this replay wrote ends, by topic and partition.

        Raises ``Unavailable``.
        """
        if not self:
            return True
        mine = {at: end for at, end in ends.items() if at[0] in self._names}
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._look_at:
            self._look_at = now_s + LOOK_EVERY_S
            applied: dict[tuple[str, int], int] = {}
            for topic, name in self._names.items():
                offsets = await self._store.applied_offsets(name)
                applied |= {(topic, partition): offset for partition, offset in offsets.items()}
            self._keeping_up.look(now_s, mine, applied)
        return self._keeping_up.allows_more(mine)

    async def settled(self, ends: Iterable[Place], within_s: float) -> None:
        """Wait until all before these ends is applied, but no longer than this."""
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(within_s):
                for place in ends:
                    if place.topic in self._names and place.offset:
                        await self._applied(place)

    async def _applied(self, place: Place) -> None:
        while True:
            applied = await self._store.applied_offsets(self._names[place.topic])
            if applied.get(place.partition, -1) >= place.offset - 1:
                return
            await asyncio.sleep(0.1)
