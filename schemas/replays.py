"""Headers of a record that was replayed or redriven: where it first lay, by which replay, how often.

They travel beside the CloudEvents attributes, which stay as they were: the same ``ce_id`` is what makes a repetition a
repetition. All are text. A record that is replayed again keeps its origin and raises its count; one that fails again
carries them into its dead letter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

REPLAY_ID = "openv_replay-id"
ORIGIN = "openv_replay-origin"  # topic/partition/offset
RECORDED_AT = "openv_replay-recorded-at"  # ms: the topic's own time of the record at its origin
COUNT = "openv_replay-count"
HEADERS = frozenset({REPLAY_ID, ORIGIN, RECORDED_AT, COUNT})
# partition/offset in the last replay's source: unlike an origin, no two records of one replay share it. Its executor
# tells by it what has been written already, after it was killed.
SOURCE_AT = "openv_replay-source"
OURS = HEADERS | {SOURCE_AT}
MOST_REPLAYS = 5  # of one record, unless an operator says otherwise; then it is quarantined


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the headers of a replayed record say. ``recorded_at`` in ms since the epoch."""

    replay_id: str
    topic: str
    partition: int
    offset: int
    recorded_at: int
    count: int

    @property
    def origin(self) -> str:
        """``topic/partition/offset``."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """As they are written."""
        return (
            (REPLAY_ID, self.replay_id.encode()),
            (ORIGIN, self.origin.encode()),
            (RECORDED_AT, b"%d" % self.recorded_at),
            (COUNT, b"%d" % self.count),
        )


def replayed(headers: Iterable[tuple[str, bytes]]) -> Replayed | None:
    """What the headers say, or None where the record is no replay, or its headers are not as we write them."""
    found = {name: value.decode("utf-8", "replace") for name, value in headers if name in HEADERS and value is not None}
    if len(found) < len(HEADERS):
        return None
    topic, _, where = found[ORIGIN].partition("/")
    partition, _, offset = where.partition("/")
    numbers = (partition, offset, found[RECORDED_AT], found[COUNT])
    if not topic or not all(text.isascii() and text.isdecimal() and len(text) < 19 for text in numbers):
        return None
    return Replayed(found[REPLAY_ID], topic, int(partition), int(offset), int(found[RECORDED_AT]), int(found[COUNT]))
