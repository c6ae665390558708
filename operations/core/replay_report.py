"""What a dry run found, in bounded memory: counts, histograms, first and last records, and what would change.

No value of a record is in it, nor a word of one.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from operations.core.replay_records import Headers, Readable
from operations.core.replay_scope import header
from operations.core.replay_types import NO_TYPE
from schemas.letters import REASON

NAMES_MAX = 200
SHOWN = 5
OTHERS = "(others)"
OTHER_TYPES = "others"
_WORDS_MAX = 200


class Histogram:
    """How many of each name: of so many names, and of all others together."""

    def __init__(self, most: int = NAMES_MAX) -> None:
        self._most = most
        self._counts: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count it."""
        name = name[:_WORDS_MAX]
        if name not in self._counts and len(self._counts) >= self._most:
            name = OTHERS
        self._counts[name] = self._counts.get(name, 0) + count

    def __bool__(self) -> bool:
        return bool(self._counts)

    @property
    def total(self) -> int:
        """Of all names."""
        return sum(self._counts.values())

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def plain(self) -> dict[str, int]:
        """Most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda one: (-one[1], one[0])))


@dataclass(slots=True)
class Effects:
    """What would change, had it been executed: counted by the real decisions over a copy. ``forgotten``: changes that
    did not fit into the copy any more; then all of this is no more than an estimate."""

    decided: int = 0
    jobs: Histogram = field(default_factory=Histogram)  # "queued → processing"
    accounts: int = 0
    generations: int = 0
    seconds: float = 0.0
    credits: float = 0.0
    outcomes: Histogram = field(default_factory=Histogram)
    refusals: Histogram = field(default_factory=Histogram)
    deliveries: Histogram = field(default_factory=Histogram)
    dead_letters: Histogram = field(default_factory=Histogram)
    announced: Histogram = field(default_factory=Histogram)
    forgotten: int = 0

    def plain(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "decided": self.decided, "jobs": self.jobs.plain(), "accounts": self.accounts,
            "generations": self.generations, "seconds": round(self.seconds, 3), "credits": round(self.credits, 6),
            "outcomes": self.outcomes.plain(), "refusals": self.refusals.plain(),
            "deliveries": self.deliveries.plain(), "deadLetters": self.dead_letters.plain(),
            "announced": self.announced.plain(), "forgotten": self.forgotten,
        }  # fmt: skip

    @property
    def changes_nothing(self) -> bool:
        """Whether no document would be another one, and nobody would be told."""
        return not (self.jobs or self.accounts or self.generations or self.deliveries or self.dead_letters)


class Tally:
    """Counts what a dry run sees."""

    def __init__(self) -> None:
        self.read = 0
        self.in_scope = 0
        self.bytes = 0
        self.quarantine = 0
        self.skipped = Histogram()
        self._others = Histogram()
        self.targets = Histogram()
        self.types = Histogram()
        self.reasons = Histogram()
        self.partitions: dict[int, int] = {}
        self.oldest: int | None = None
        self.newest: int | None = None
        self._first: list[dict[str, Any]] = []
        self._last: deque[Readable] = deque(maxlen=SHOWN)
        self.effects: Effects | None = None

    def skip(self, reason: str, record: Readable | None = None) -> None:
        """It was read, and is not written. ``record``: it lies within what was asked for, but is another one."""
        self.skipped.add(reason)
        if record is not None and not self.in_scope:
            self._others.add(_names(record.headers)[0])

    def count(self, record: Readable, partition: int, target: str) -> None:
        """It is of the scope, and goes to this topic."""
        self.in_scope += 1
        self.bytes += len(record.key or b"") + len(record.value or b"")
        self.partitions[partition] = self.partitions.get(partition, 0) + 1
        at = record.timestamp
        if self.oldest is None or at < self.oldest:
            self.oldest = at
        if self.newest is None or at > self.newest:
            self.newest = at
        name, reason = _names(record.headers)
        self.types.add(name)
        self.targets.add(target)
        if reason is not None:
            self.reasons.add(reason)
        if len(self._first) < SHOWN:
            self._first.append(shown(record))
        self._last.append(record)

    def plain(self) -> dict[str, Any]:
        """JSON data. ``others``: of what types those are that were read, where nothing matched."""
        others = {} if self.in_scope else {OTHER_TYPES: self._others.plain()}
        return others | {
            "read": self.read, "inScope": self.in_scope, "bytes": self.bytes, "quarantine": self.quarantine,
            "skipped": self.skipped.plain(), "targets": self.targets.plain(), "types": self.types.plain(),
            "reasons": self.reasons.plain(),
            "partitions": {str(p): count for p, count in sorted(self.partitions.items())},
            "oldest": self.oldest, "newest": self.newest,
            "first": self._first, "last": [shown(one) for one in self._last],
            "effects": None if self.effects is None else self.effects.plain(),
        }  # fmt: skip


def shown(record: Readable) -> dict[str, Any]:
    """A record without its value: where, when, what, about whom."""
    key = record.key
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "id": _cut(header(record.headers, "ce_id")),
        "type": _cut(header(record.headers, "ce_type")),
        "key": _cut(key.decode("utf-8", "replace")) if key is not None else None,
    }


def _names(headers: Headers) -> tuple[str, str | None]:
    """Type and reason, in one go."""
    name, reason = NO_TYPE, None
    for one, value in headers:
        if one == "ce_type" and value is not None:
            name = value.decode("utf-8", "replace")
        elif one == REASON and value is not None:
            reason = value.decode("utf-8", "replace")
    return name, reason


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:_WORDS_MAX]
