"""By what a topic is known again: one of the same name that was made anew has the same offsets, and other records."""

from collections.abc import Mapping
from hashlib import blake2b

from aiokafka import ConsumerRecord

from repo.topic_reader import NotKept, TopicReader
from schemas.replay_plans import Span

Marks = dict[tuple[int, int], str]
_AT_A_TIME = 100


async def marked(reader: TopicReader, topic: str, spans: tuple[Span, ...]) -> str:
    """The first and the last record of each span, without their values: words of ``partition/offset/digest``. What
    lies there may be no record (an end of a transaction), and then there is no word. Raises ``Unavailable``."""
    found = await _read(reader, topic, {span.partition: span.first for span in spans})
    found |= await _read(reader, topic, {span.partition: span.end - 1 for span in spans})
    return " ".join(f"{partition}/{offset}/{digest}" for (partition, offset), digest in sorted(found.items()))


async def differs(reader: TopicReader, topic: str, mark: str) -> tuple[int, int] | None:
    """Where another record lies now than when it was ``marked``; what is not kept any more tells nothing."""
    before = _parsed(mark)
    starts, ends = await reader.starts(topic), await reader.ends(topic)
    for which in (min, max):
        places: dict[int, int] = {}
        for partition, offset in before:
            if starts.get(partition, 0) <= offset < ends.get(partition, 0):
                places[partition] = which(places.get(partition, offset), offset)
        now = await _read(reader, topic, places)
        for at, digest in now.items():
            if before.get(at, digest) != digest:
                return at
    return None


async def _read(reader: TopicReader, topic: str, places: Mapping[int, int]) -> Marks:
    found: Marks = {}
    reader.begin(topic, {partition: (offset, offset + 1) for partition, offset in places.items()})
    try:
        while (batches := await reader.next(_AT_A_TIME)) is not None:
            for partition, records in batches.items():
                found |= {(partition, one.offset): _digest(one) for one in records}
    except NotKept:  # cut off just now
        return found
    return found


def _digest(record: ConsumerRecord) -> str:
    whole = blake2b(f"{record.timestamp} {record.key is None} {len(record.key or b'')} ".encode(), digest_size=8)
    whole.update(record.key or b"")
    whole.update(record.value or b"")
    return whole.hexdigest()


def _parsed(mark: str) -> Marks:
    found: Marks = {}
    for word in mark.split():
        partition, offset, digest = word.split("/")
        found[int(partition), int(offset)] = digest
    return found
