"""A record as a replay writes it: the same key, value and CloudEvents headers, and where it first lay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from operations.core.replay_names import ORIGIN_TOPIC, TARGETS, is_file
from schemas.instants import LAST
from schemas.letters import CUT, NAMES, PREFIX, REASON, letter_of
from schemas.replays import OURS, SOURCE_AT, Replayed, replayed
from schemas.topics import DEADLETTER, QUARANTINE, RECORD_MAX

_SPARE = 1024  # of what a batch adds to its one record
_ENVELOPE = 16  # of a header
_NO_NEED_TO_COUNT = RECORD_MAX // 2
_OF_LETTERS = frozenset(name for names in NAMES.values() for name in names) | {REASON, CUT}

Headers = Sequence[tuple[str, bytes | None]]


class Skipped(StrEnum):
    """Why a record of the scope can't be written."""

    TOO_LARGE = "with the headers of a replay it is over the size that a topic takes"
    CUT = "its dead letter holds only the beginning of it"
    OTHER_ORIGIN = "it is not a dead letter of that topic"
    FORBIDDEN_ORIGIN = "nothing is replayed into the topic that it came from"
    WORN_OUT = "it was replayed too often, and lies in the quarantine already"


class Readable(Protocol):
    """A record where it was read, as aiokafka has it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(slots=True)
class Written:
    """Where a record goes, and with which headers. ``count``: how often it has been replayed then."""

    topic: str
    headers: list[tuple[str, bytes | None]]
    count: int


class Rules:
    """What holds for all records of a replay. Over ``most`` replays a record goes to the quarantine.

    ``into_file``: they are kept as they are; ``redrives``: dead letters are taken out of their envelope, because they
    are processed again.
    """

    __slots__ = ("into_file", "most", "redrives", "replay_id", "target")

    def __init__(self, replay_id: str, target: str, most: int) -> None:
        self.replay_id = replay_id
        self.target = target
        self.most = most
        self.into_file = is_file(target)
        self.redrives = target in TARGETS or target == ORIGIN_TOPIC


def written(record: Readable, at: str, rules: Rules) -> Written | Skipped:
    """``at``: partition/offset where it is read now, which tells it from all others of this replay."""
    if rules.into_file:
        return Written(rules.target, [], 0)  # a file has its own members for where a record lay
    letter = None
    if rules.redrives and record.topic == DEADLETTER.name:
        found = _letter(record, rules.target)
        if isinstance(found, Skipped):
            return found
        letter = found
    elif rules.target == ORIGIN_TOPIC:
        return Skipped.OTHER_ORIGIN
    kept, before, size = _kept(record)
    now = _told(record, before or letter, rules)
    too_often = now.count > rules.most
    if too_often and record.topic == QUARANTINE.name:
        return Skipped.WORN_OUT
    if letter is not None and not too_often:
        # Its origin stays: by it the ledger knows that nobody has decided it, and it is kept should it fail again.
        kept = [one for one in kept if not one[0].startswith((f"{PREFIX}exception", REASON, CUT))]
    headers = [*kept, *now.headers(), (SOURCE_AT, at.encode())]
    if _is_too_large(record, headers, size):
        return Skipped.TOO_LARGE
    if too_often:
        return Written(QUARANTINE.name, headers, now.count)
    return Written(letter.topic if letter is not None else rules.target, headers, now.count)


def _kept(record: Readable) -> tuple[Headers, Replayed | None, int]:
    """The headers that stay, what those of a replay before said, and how large all were."""
    kept, before = record.headers, None
    has_ours, size = _looked_over(kept)
    if has_ours:
        before = replayed([(name, value) for name, value in kept if value is not None])
        kept = [one for one in kept if one[0] not in OURS]
    if record.topic in TARGETS:
        kept, before = _once_delivered(kept, before)
    return kept, before, size


def _once_delivered(
    headers: Headers, before: Replayed | None
) -> tuple[list[tuple[str, bytes | None]], Replayed | None]:
    """Of a record that lies where it is processed: without what says that it is a dead letter, and where it lay first.

    One that was redriven has been decided since. Where no document says so any more, because an old backup of them was
    restored, it must not look like one that nobody has decided yet: it would be carried out once more.
    """
    letter = origin_of_letter(headers)
    if letter is not None and (before is None or before.topic not in TARGETS):
        before = replace(letter, count=before.count if before is not None else 0)
    return [one for one in headers if one[0] not in _OF_LETTERS], before


def _told(record: Readable, first: Replayed | None, rules: Rules) -> Replayed:
    """What its headers say from now on. ``first``: where it lay at first, where that is not here."""
    if first is None:
        at = min(max(0, record.timestamp), LAST)  # their writer may have said nanoseconds, or nothing
        return Replayed(rules.replay_id, record.topic, record.partition, record.offset, at, 1)
    return Replayed(rules.replay_id, first.topic, first.partition, first.offset, first.recorded_at, first.count + 1)


def _looked_over(headers: Headers) -> tuple[bool, int]:
    """Whether some are ours, and how large all are: in one go, because all records are asked."""
    ours, size = False, 0
    for name, value in headers:
        size += len(name) + (len(value) if value is not None else 0)
        if name in OURS:
            ours = True
    return ours, size


def origin_of_letter(headers: Headers) -> Replayed | None:
    """Where a dead letter's record lay (``schemas/letters.py``); None where no headers say it. Its count is 0."""
    letter = letter_of((name, value) for name, value in headers if value is not None)
    if letter.topic is None or letter.partition is None or letter.offset is None:
        return None
    return Replayed("", letter.topic, letter.partition, letter.offset, letter.timestamp or 0, 0)


def _letter(record: Readable, target: str) -> Replayed | Skipped:
    letter = origin_of_letter(record.headers)
    if letter is None or target not in (letter.topic, ORIGIN_TOPIC):
        return Skipped.OTHER_ORIGIN
    if letter.topic not in TARGETS:
        return Skipped.FORBIDDEN_ORIGIN
    return Skipped.CUT if any(name == CUT for name, _ in record.headers) else letter


def _is_too_large(record: Readable, headers: Headers, roughly: int) -> bool:
    """``roughly``: the size of the headers that it had."""
    size = len(record.key or b"") + len(record.value or b"") + _SPARE
    if size + roughly <= _NO_NEED_TO_COUNT:
        return False
    return size + sum(len(name.encode()) + len(value or b"") + _ENVELOPE for name, value in headers) > RECORD_MAX
