"""Which records of a source are written, and how: the same for the dry run and for the execution."""

import asyncio
from collections.abc import Collection

from operations.core.replay_names import is_ours, why_no_name
from operations.core.replay_records import Readable, Rules, Written, written
from operations.core.replay_scope import Asked, checks_of
from operations.replay.dealt_with import DealtWith
from operations.replay.sources import Chunk, Resolved
from operations.stack.errors import StackError
from repo.topic_reader import TopicReader
from repo.topic_writer import partition_for
from schemas.topics import QUARANTINE, TOPICS

_KEYS_KEPT = 50_000
_LARGE = 4096  # bytes of a value, over which an expression may take longer than others should wait
OUTSIDE = "outside --from and --to"
NOT_CHOSEN = "not among those that were chosen"


class Sieve:
    """Of one replay."""

    def __init__(self, asked: Asked, resolved: Resolved, rules: Rules, dealt_with: DealtWith | None = None) -> None:
        """``dealt_with``: knows of dead letters what became of them. Raises ``BadScope``."""
        self._checks = checks_of(asked)
        self._since = -1 if resolved.since is None else resolved.since
        self._until = 2**63 if resolved.until is None else resolved.until
        self._chosen = None if asked.chosen is None else frozenset(asked.chosen)
        self._rules = rules
        self._slow = bool(asked.where)
        self._dealt_with = dealt_with

    async def judgements(self, chunk: Chunk, there: Collection[tuple[int, int]] = ()) -> list[Written | str]:
        """``judge`` of each of its records, less the letters that somebody has dealt with. While expressions are
        evaluated, what else runs here goes on. ``there``: the partition and place of what this replay has written
        already: whatever was said of it since comes too late. Raises ``Unavailable``."""
        found = await self._of_scope(chunk)
        if self._dealt_with is None:
            return found
        places = enumerate(zip(found, chunk.places, strict=True))
        asked = [n for n, (one, at) in places if isinstance(one, Written) and (chunk.partition, at) not in there]
        reasons = await self._dealt_with.reasons(chunk.partition, [chunk.records[n] for n in asked]) if asked else ()
        for number, reason in zip(asked, reasons, strict=True):
            found[number] = reason or found[number]
        return found

    async def _of_scope(self, chunk: Chunk) -> list[Written | str]:
        found: list[Written | str] = []
        for record, place in zip(chunk.records, chunk.places, strict=True):
            if self._slow and len(record.value or b"") > _LARGE:
                found.append(await asyncio.to_thread(self.judge, record, chunk.partition, place))
                continue
            if self._slow:
                await asyncio.sleep(0)
            found.append(self.judge(record, chunk.partition, place))
        return found

    def judge(self, record: Readable, partition: int, place: int) -> Written | str:
        """As it is written, or why it is not (``Skipped``, or words: it is not of the scope)."""
        if not self._since <= record.timestamp < self._until:
            return OUTSIDE
        if self._chosen is not None and (partition, place) not in self._chosen:
            return NOT_CHOSEN
        for check in self._checks:
            reason = check(record.key, record.value, record.headers)
            if reason is not None:
                return reason
        return written(record, f"{partition}/{place}", self._rules)


class Lanes:
    """The partitions of what is written to, and which of them a key goes to."""

    def __init__(self, partitions: dict[str, list[int]]) -> None:
        self._partitions = partitions
        self._known: dict[tuple[str, bytes], int] = {}

    @property
    def topics(self) -> list[str]:
        """All that may be written to."""
        return sorted(self._partitions)

    def of(self, topic: str, key: bytes | None, otherwise: int) -> int:
        """By the key, as all who write there do; without one as it was (``otherwise``), where there are so many."""
        if key is None:
            return partition_for(None, self._partitions[topic], otherwise)
        at = self._known.get((topic, key))
        if at is None:
            if len(self._known) >= _KEYS_KEPT:
                self._known.clear()
            at = self._known[topic, key] = partition_for(key, self._partitions[topic], otherwise)
        return at


async def lanes_of(reader: TopicReader, topics: list[str]) -> Lanes:
    """Raises ``StackError`` where one is missing, or has not as many partitions as the table says."""
    found: dict[str, list[int]] = {}
    for topic in [*topics, QUARANTINE.name]:
        partitions = await reader.partitions(topic)
        if not partitions:
            raise StackError(f"There is no topic {topic} on this Kafka: {_how_to_make(topic)}.")
        if is_ours(topic) and len(partitions) != TOPICS[topic].partitions:
            raise StackError(
                f"{topic} has {len(partitions)} partitions instead of {TOPICS[topic].partitions}: "
                "keys would go elsewhere than its readers expect. `openv topics describe` shows it."
            )
        found[topic] = partitions
    return Lanes(found)


def _how_to_make(topic: str) -> str:
    if is_ours(topic):
        return "`openv topics apply` makes it"
    if why_no_name(topic) is not None:
        return "check its name"
    return f"check its name, or make it with `openv topics create {topic}`"
