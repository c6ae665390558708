"""A record as a replay writes it: the same key, value and CloudEvents headers, and where it first lay."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from operations.core.replay_names import ORIGIN_TOPIC, TARGETS, is_file
from schemas.replays import OURS, SOURCE_AT, Replayed, replayed
from schemas.topics import DEADLETTER, QUARANTINE, RECORD_MAX

DLT = "kafka_dlt-"
REASON = "openv_reason"
CUT = "openv_cut_from_bytes"
_SPARE = 1024  # of what a batch adds to its one record
_ENVELOPE = 16  # of a header
_NO_NEED_TO_COUNT = RECORD_MAX // 2

Headers = Sequence[tuple[str, bytes | None]]


class Skipped(StrEnum):
    """Why a record of the scope can't be written."""

    TOO_LARGE = "with the headers of a replay it is over the size that a topic takes"
    CUT = "its dead letter holds only the beginning of it"
    OTHER_ORIGIN = "it is not a dead letter of that topic"
    FORBIDDEN_ORIGIN = "nothing is replayed into the topic that it came from"


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
    kept, before, letter = record.headers, None, None
    if rules.redrives and record.topic == DEADLETTER.name:
        found = _letter(record, rules.target)
        if isinstance(found, Skipped):
            return found
        letter = found
    elif rules.target == ORIGIN_TOPIC:
        return Skipped.OTHER_ORIGIN
    if _has_ours(kept):
        before = replayed([(name, value) for name, value in kept if value is not None])
        kept = [one for one in kept if one[0] not in OURS]
    first = before or letter
    if first is None:
        now = Replayed(rules.replay_id, record.topic, record.partition, record.offset, max(0, record.timestamp), 1)
    else:
        now = Replayed(rules.replay_id, first.topic, first.partition, first.offset, first.recorded_at, first.count + 1)
    too_often = now.count > rules.most
    if letter is not None and not too_often:
        # Its origin stays: by it the ledger knows that nobody has decided it, and it is kept should it fail again.
        kept = [one for one in kept if not one[0].startswith((f"{DLT}exception", REASON, CUT))]
    headers = [*kept, *now.headers(), (SOURCE_AT, at.encode())]
    if record.value is not None and len(record.value) > _NO_NEED_TO_COUNT and _is_too_large(record, headers):
        return Skipped.TOO_LARGE
    if too_often:
        return Written(QUARANTINE.name, headers, now.count)
    return Written(letter.topic if letter is not None else rules.target, headers, now.count)


def _has_ours(headers: Headers) -> bool:
    """A loop, because nearly all have none, and all are asked."""
    for name, _ in headers:  # noqa: SIM110 -- twice as fast as any()
        if name in OURS:
            return True
    return False


def origin_of_letter(headers: Headers) -> Replayed | None:
    """Where a dead letter's record lay, by Spring Kafka's headers; None for what has none. Its count is 0."""
    known = {name: value for name, value in headers if value is not None}
    topic, partition, offset, at = (
        known.get(f"{DLT}original-{name}") for name in ("topic", "partition", "offset", "timestamp")
    )
    if topic is None or partition is None or offset is None or max(len(partition), len(offset), len(at or b"")) > 8:
        return None
    recorded_at = int.from_bytes(at or b"", "big")
    name = topic.decode("utf-8", "replace")
    return Replayed("", name, int.from_bytes(partition, "big"), int.from_bytes(offset, "big"), recorded_at, 0)


def _letter(record: Readable, target: str) -> Replayed | Skipped:
    letter = origin_of_letter(record.headers)
    if letter is None or target not in (letter.topic, ORIGIN_TOPIC):
        return Skipped.OTHER_ORIGIN
    if letter.topic not in TARGETS:
        return Skipped.FORBIDDEN_ORIGIN
    return Skipped.CUT if any(name == CUT for name, _ in record.headers) else letter


def _is_too_large(record: Readable, headers: Headers) -> bool:
    size = len(record.key or b"") + len(record.value or b"") + _SPARE
    return size + sum(len(name.encode()) + len(value or b"") + _ENVELOPE for name, value in headers) > RECORD_MAX
