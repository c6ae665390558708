"""What a replay reads: a topic or a file, from some positions to others, in order within each partition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from operations.core.replay_names import is_file
from operations.core.replay_records import Readable
from operations.core.replay_scope import Asked, BadScope
from operations.core.replay_times import moment
from operations.replay.files import LinesReader, measured, path_of
from operations.stack.errors import StackError
from repo.topic_reader import NotKept, TopicReader
from schemas.replay_plans import Span
from schemas.topics import TOPICS

FILE_PARTITION = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition of the source. ``places``: where each was read; ``after``: where to go on."""

    partition: int
    records: Sequence[Readable]
    places: Sequence[int]
    after: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a scope's words come to at one time. ``mark``: the digest of a file, or by what a topic is
    known again (``marks.py``)."""

    spans: tuple[Span, ...]
    since: int | None
    until: int | None
    mark: str | None = None


class Source(Protocol):
    """Reads on."""

    async def next(self, at_most: int) -> list[Chunk] | None:
        """Some of what is left; None at the end. Raises ``StackError``, ``Unavailable``."""
        ...

    def close(self) -> None:
        """Done with it."""
        ...


class TopicSource:
    """A topic."""

    def __init__(self, reader: TopicReader, topic: str, spans: Mapping[int, tuple[int, int]]) -> None:
        self._reader = reader
        reader.begin(topic, spans)

    async def next(self, at_most: int) -> list[Chunk] | None:
        """See ``Source.next``."""
        try:
            found = await self._reader.next(at_most)
        except NotKept as lost:
            raise LostError(f"What was still to be read of {lost} is not kept any more.") from None
        if found is None:
            return None
        return [
            Chunk(partition, records, [one.offset for one in records], records[-1].offset + 1)
            for partition, records in found.items()
            if records
        ]

    def close(self) -> None:
        """The reader is its maker's."""


class FileSource:
    """A file: one partition, whose offsets are bytes."""

    def __init__(self, name: str, first: int, end: int) -> None:
        try:
            self._lines = LinesReader(path_of(name), first, end)
        except OSError as error:
            raise StackError(f"{path_of(name)} can't be read: {error.strerror}.") from None

    async def next(self, at_most: int) -> list[Chunk] | None:
        """See ``Source.next``."""
        lines = self._lines.next(at_most)
        if not lines:
            return None
        return [Chunk(FILE_PARTITION, lines, [one.place for one in lines], self._lines.place)]

    def close(self) -> None:
        """See ``Source.close``."""
        self._lines.close()


class LostError(StackError):
    """The source has lost records that were still to be written."""


def opened(source: str, reader: TopicReader, spans: Mapping[int, tuple[int, int]]) -> Source:
    """The source from these positions on."""
    if is_file(source):
        return FileSource(source, *spans.get(FILE_PARTITION, (0, 0)))
    return TopicSource(reader, source, spans)


async def resolve(asked: Asked, reader: TopicReader, now: int) -> Resolved:
    """Where the scope begins and ends. Raises ``BadScope``, ``StackError``, ``Unavailable``."""
    try:
        since = None if asked.since is None else moment(asked.since, now)
        until = None if asked.until is None else moment(asked.until, now)
    except ValueError as error:
        raise BadScope(str(error)) from None
    bounded = asked.first_offset is not None or asked.end_offset is not None
    if is_file(asked.source):
        if bounded:
            raise BadScope("--from-offset and --to-offset are for topics; of a file say --from, --to or --where.")
        first, end, mark = measured(path_of(asked.source))
        return Resolved((Span(partition=FILE_PARTITION, first=first, end=end),), since, until, mark)
    if bounded and len(asked.partitions) != 1:
        raise BadScope("--from-offset and --to-offset need one --partition: offsets mean nothing across partitions.")
    spans = await _spans(asked, reader, since, until)
    return Resolved(spans, since, until)


async def _spans(asked: Asked, reader: TopicReader, since: int | None, until: int | None) -> tuple[Span, ...]:
    topic = asked.source
    starts, ends = await reader.starts(topic), await reader.ends(topic)
    if not ends:
        raise StackError(f"There is no topic {topic} on this Kafka; `openv topics describe` shows ours.")
    unknown = sorted(set(asked.partitions) - set(ends))
    if unknown:
        raise BadScope(f"{topic} has no partition {unknown[0]}: it has {len(ends)}, from 0.")
    after = await reader.offsets_at(topic, since) if since is not None else {}
    # Only where the broker stamps records are their times in order; elsewhere each record's own time is looked at.
    in_order = topic in TOPICS and TOPICS[topic].log_append_time
    before = await reader.offsets_at(topic, until) if until is not None and in_order else {}
    found = []
    for partition in sorted(asked.partitions or ends):
        first = max(starts[partition], after.get(partition, 0), asked.first_offset or 0)
        end = min(ends[partition], before.get(partition, ends[partition]))
        if asked.end_offset is not None:
            end = min(end, asked.end_offset)
        if asked.chosen is not None:
            mine = [offset for at, offset in asked.chosen if at == partition]
            first, end = max(first, min(mine, default=end)), min(end, max(mine, default=-1) + 1)
        if first < end:
            found.append(Span(partition=partition, first=first, end=end))
    return tuple(found)
