"""What of a replay has already been written: found in its targets, after an executor died.

Its last requests may still be on their way to the broker, so we read on until nothing more of it has come for a while.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import ConsumerRecord

from operations.stack.errors import StackError
from repo.topic_reader import NotKept, TopicReader
from schemas.replay_plans import Place
from schemas.replays import REPLAY_ID, SOURCE_AT

QUIET_S = 2.0
LOOK_EVERY_S = 0.25
AT_A_TIME = 5_000


async def landed(
    reader: TopicReader, replay_id: str, since: Iterable[Place], *, may_come: bool = True
) -> dict[tuple[int, int], tuple[str, int, int]]:
    """By partition and place in the source: where it lies. ``may_come``: requests may still be on their way. Raises
    ``StackError`` where the target has lost some."""
    positions = {(one.topic, one.partition): one.offset for one in since}
    found: dict[tuple[int, int], tuple[str, int, int]] = {}
    quiet_since = _now()
    while True:
        more = 0
        for topic in sorted({topic for topic, _ in positions}):
            more += await _read_on(reader, topic, positions, replay_id.encode(), found)
        if more:
            quiet_since = _now()
        if not may_come or _now() - quiet_since >= QUIET_S:
            return found
        await asyncio.sleep(LOOK_EVERY_S)


async def _read_on(
    reader: TopicReader,
    topic: str,
    positions: dict[tuple[str, int], int],
    replay_id: bytes,
    found: dict[tuple[int, int], tuple[str, int, int]],
) -> int:
    ends = await reader.ends(topic)
    mine = {p: offset for (one, p), offset in positions.items() if one == topic}
    for partition, offset in mine.items():
        if ends.get(partition, 0) < offset:
            raise StackError(
                f"{topic} partition {partition} ends before what this replay has written to it: it was made anew, or "
                "has lost records. Cancel this replay, and plan another for what is missing."
            )
    spans = {partition: (offset, ends[partition]) for partition, offset in mine.items() if partition in ends}
    before = len(found)
    try:
        reader.begin(topic, spans)
        while (batches := await reader.next(AT_A_TIME)) is not None:
            for partition, records in batches.items():
                _collect(topic, partition, records, replay_id, found)
    except NotKept as lost:
        raise StackError(
            f"{lost} was cut off since the replay was interrupted: which of its records have been written can't be "
            "told any more. Cancel it, and plan another for what is missing."
        ) from None
    positions.update({(topic, p): end for p, (_, end) in spans.items()})
    return len(found) - before


def _collect(
    topic: str,
    partition: int,
    records: Sequence[ConsumerRecord],
    replay_id: bytes,
    found: dict[tuple[int, int], tuple[str, int, int]],
) -> None:
    for record in records:
        headers: Mapping[str, bytes] = dict(record.headers)
        if headers.get(REPLAY_ID) == replay_id and SOURCE_AT in headers:
            at, _, place = headers[SOURCE_AT].decode("ascii", "replace").partition("/")
            if at.isdecimal() and place.isdecimal():
                found[int(at), int(place)] = (topic, partition, record.offset)


def _now() -> float:
    return asyncio.get_running_loop().time()
