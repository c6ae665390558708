"""The execution: bundles under way, checkpoints behind them, and the reasons to stop.

Every record of the scope is written once, but for dead letters that somebody has dealt with since the dry run
(``dealt_with.py``): those are skipped, and counted so. The order of a partition is kept: bundles go out one after the
other, and a partition's batches too. A checkpoint says: all before these positions is written, and nothing that comes
after them lies before those ends. So whoever goes on reads the targets from there, and leaves out what is there.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from operations.core.replay_records import Written
from operations.replay.pace import UNDER_WAY, Pace, Wishes
from operations.replay.readers import Readers
from operations.replay.room import Progress, Tell
from operations.replay.sieve import Sieve
from operations.replay.sinks import Sink
from operations.replay.sources import Chunk, Source
from operations.replay.tenure import OustedError, Tenure
from operations.stack.errors import StackError
from repo.ports import Unavailable
from schemas.replay_plans import Checkpoint, Place, ReplayPlan, ReplayState
from schemas.topics import QUARANTINE

SAVE_EVERY_S = 1.0
RENEW_EVERY_S = 1.0  # while something is waited for
Landed = dict[tuple[int, int], Any]
R = TypeVar("R")


@dataclass(slots=True)
class _Bundle:
    """What is under way together. ``read``: where the source was behind it; ``missed``: of what an executor before had
    written, what still lies ahead."""

    sent: object
    read: dict[int, int]
    written: int
    quarantined: int
    skipped: int
    missed: int


class Execution:
    """From a checkpoint on; ``checkpoint`` is the newest that is certain."""

    def __init__(
        self,
        source: Source,
        sieve: Sieve,
        sink: Sink,
        tenure: Tenure,
        before: ReplayPlan,
        landed: Landed,
        readers: Readers,
    ) -> None:
        """``before``: the plan as it was found; ``landed``: what lies behind its checkpoint in the targets;
        ``readers``: those who must keep up with what is written."""
        spans = before.spans
        assert tenure.plan.checkpoint is not None  # noqa: S101 -- ``begin`` has stored it
        self.checkpoint = tenure.plan.checkpoint
        self._source = source
        self._sieve = sieve
        self._sink = sink
        self._tenure = tenure
        self._landed = landed
        self._pace = Pace(readers, self._keep_the_lease)
        self._ends = {(one.topic, one.partition): one.offset for one in self.checkpoint.ends}
        self._held_ends: dict[tuple[str, int], int] = {}
        self._read = {one.partition: one.offset for one in self.checkpoint.read}
        self._total = sum(span.end - span.first for span in spans)
        self._firsts = {span.partition: span.first for span in spans}
        self._under_way: deque[_Bundle] = deque()
        self._saving: asyncio.Task[None] | None = None
        self._save_at = 0.0
        # Of a canary that died midway, what is written counts; one that goes on begins to count anew.
        dead = before.checkpoint if before.state is ReplayState.RUNNING else None
        self._put = dead.written + dead.quarantined if dead else 0

    async def run(self, wishes: Wishes, tell: Tell) -> str | None:
        """None: all is written. Else why it stopped: all that was begun is written then. Raises ``OustedError``,
        ``Unavailable``, ``StackError``: what was under way may be written or not."""
        try:
            reason = await self._pass(wishes, tell)
            while self._under_way:
                await self._confirm_oldest(wishes, tell)
        finally:
            await self._saved()
        return reason

    async def _pass(self, wishes: Wishes, tell: Tell) -> str | None:
        while True:
            reason = self._reason_to_stop(wishes)
            if reason is not None:
                return reason
            chunks = await self._source.next(self._at_most(wishes))
            if chunks is None:
                return None
            await self._pace.wait(wishes, await self._send(chunks), self._held_ends)
            while len(self._under_way) >= UNDER_WAY:
                await self._confirm_oldest(wishes, tell)
            await self._save_now_and_then()

    def _reason_to_stop(self, wishes: Wishes) -> str | None:
        if wishes.canary is not None and self._put >= wishes.canary:
            return "the first record is written" if self._put == 1 else f"the first {self._put} are written"
        if wishes.came_back > wishes.came_back_max:
            how = "a dead letter" if wishes.came_back == 1 else "dead letters"
            return f"{wishes.came_back} of its records came back as {how}"
        return "stopped by an operator" if wishes.stop.is_set() else self._pace.stuck

    def _at_most(self, wishes: Wishes) -> int:
        most = self._pace.at_most(wishes)
        return most if wishes.canary is None else min(most, wishes.canary - self._put)

    async def _send(self, chunks: list[Chunk]) -> int:
        """How many records went out."""
        judged_of = [await self._sieve.judgements(chunk, self._landed) for chunk in chunks]
        if not self._tenure.holds:
            await self._renew()
        put = quarantined = skipped = known = 0
        for chunk, judgements in zip(chunks, judged_of, strict=True):
            partition = chunk.partition
            for record, place, judged in zip(chunk.records, chunk.places, judgements, strict=True):
                if judged.__class__ is not Written:
                    skipped += 1
                    continue
                assert isinstance(judged, Written)  # noqa: S101 -- for the type checker
                if judged.topic == QUARANTINE.name:
                    quarantined += 1
                if self._landed and self._landed.pop((partition, place), None) is not None:
                    known += 1
                    continue
                self._sink.put(record, judged, partition)
                put += 1
            self._read[partition] = chunk.after
        sent = await self._while_leased(self._sink.send())
        written = put + known - quarantined
        bundle = _Bundle(sent, dict(self._read), written, quarantined, skipped, len(self._landed))
        self._under_way.append(bundle)
        self._put += put + known
        return put

    async def _confirm_oldest(self, wishes: Wishes, tell: Tell) -> None:
        bundle = self._under_way[0]
        ends = await self._while_leased(self._sink.durable(bundle.sent))
        self._under_way.popleft()
        _check_it_grows(self._held_ends, ends)
        self._held_ends |= ends
        if not bundle.missed:  # else what an executor before wrote of what lies ahead would be before these ends
            self._ends |= self._held_ends
        before = self.checkpoint
        self.checkpoint = Checkpoint(
            read=tuple(Place(topic="", partition=at, offset=offset) for at, offset in sorted(bundle.read.items())),
            ends=_places(self._ends),
            written=before.written + bundle.written,
            quarantined=before.quarantined + bundle.quarantined,
            skipped=before.skipped + bundle.skipped,
        )
        done = sum(offset - self._firsts[at] for at, offset in bundle.read.items())
        one = self.checkpoint
        tell(Progress(done, self._total, one.written, one.quarantined, one.skipped, wishes.came_back))

    async def _while_leased(self, work: Coroutine[Any, Any, R]) -> R:
        """Its result. The lease is renewed meanwhile: a slow broker is no reason for somebody else to take over what is
        still under way. Where that fails it is given up before the lease runs out, as ``run`` says."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=RENEW_EVERY_S))[0]:
                await self._save_now_and_then()
                if not self._tenure.holds:
                    raise Unavailable("mongodb", "the lease of this replay could not be renewed")
            return task.result()
        finally:
            task.cancel()

    async def _keep_the_lease(self) -> None:
        await self._save_now_and_then()
        if not self._tenure.holds:
            await self._renew()

    async def _save_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._saving is not None and self._saving.done():
            saving, self._saving = self._saving, None
            with suppress(Unavailable):  # tried again with the next; without, nothing is sent when the lease runs out
                saving.result()
        if self._saving is None and now >= self._save_at:
            self._save_at = now + SAVE_EVERY_S
            self._saving = asyncio.create_task(self._tenure.save(self.checkpoint))

    async def _renew(self) -> None:
        """The lease is about to run out, or has: go on only if it is still ours. As ``Tenure.save``."""
        await self._saved()
        await self._tenure.save(self.checkpoint)

    async def _saved(self) -> None:
        if self._saving is not None:
            saving, self._saving = self._saving, None
            try:
                await saving
            except Unavailable:
                pass
            except OustedError:
                self._under_way.clear()
                raise


def _check_it_grows(before: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> None:
    for (topic, partition), offset in ends.items():
        if offset < before.get((topic, partition), 0):
            raise StackError(
                f"{topic} partition {partition} is shorter than what this replay has written to it: it was made anew. "
                "Cancel this replay, and plan another."
            )


def clean(checkpoint: Checkpoint) -> Checkpoint:
    """With nothing under way."""
    return replace(checkpoint, clean=True)


def _places(ends: Mapping[tuple[str, int], int]) -> tuple[Place, ...]:
    return tuple(Place(topic=topic, partition=at, offset=offset) for (topic, at), offset in sorted(ends.items()))
