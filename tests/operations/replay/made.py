"""Records, plans and a source, made up for tests of replays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from operations.core.replay_records import Headers
from operations.core.replay_scope import Asked
from operations.replay.sources import Chunk
from schemas.replay_plans import Checkpoint, Lease, Place, ReplayPlan, ReplayState, Span


@dataclass(frozen=True)
class Made:
    """A record as aiokafka has it."""

    topic: str = "x.source"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_790_000_000_000
    key: bytes | None = b"ann"
    value: bytes | None = b"{}"
    headers: Headers = field(default_factory=list)


def a_plan(spans: Sequence[Span], asked: Asked, ends: Sequence[Place] = (), **changes: Any) -> ReplayPlan:
    """One that runs, from its beginning."""
    read = tuple(Place(topic="", partition=one.partition, offset=one.first) for one in spans)
    values: dict[str, Any] = {
        "replay_id": "r-test",
        "version": 1,
        "state": ReplayState.RUNNING,
        "created_at": 1,
        "updated_at": 1,
        "source": asked.source,
        "target": asked.target,
        "asked": asked.words(),
        "asked_digest": asked.digest(),
        "digest": "d",
        "spans": tuple(spans),
        "report": "{}",
        "checkpoint": Checkpoint(read=read, ends=tuple(ends)),
        "lease": Lease(holder="me", until=200_000_000_000_000),
        **changes,
    }
    return ReplayPlan(**values)


class ListSource:
    """Chunks of what lists hold, one partition after the other by turns."""

    def __init__(self, records: dict[int, list[Made]], spans: dict[int, tuple[int, int]]) -> None:
        self._records = records
        self._left = dict(spans)

    async def next(self, at_most: int) -> list[Chunk] | None:
        left = [at for at, (first, end) in self._left.items() if first < end]
        if not left:
            return None
        chunks = []
        for at in left[:2]:
            first, end = self._left.pop(at)
            stop = min(end, first + max(1, at_most // 2))
            taken = [one for one in self._records[at] if first <= one.offset < stop]
            self._left[at] = (stop, end)
            if taken:
                chunks.append(Chunk(at, taken, [one.offset for one in taken], stop))
        return chunks

    def close(self) -> None:
        pass
