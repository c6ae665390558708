"""Where a batch of records lies in a topic, so that a baseline can read exactly the same bytes."""

from collections.abc import Iterable, Sequence

from repo.ports import EventLog, Position
from schemas.codec import Encoded

AT_ONCE = 500

# By partition: the first offset, and the one after the last.
Span = dict[int, tuple[int, int]]


async def append(log: EventLog, encoded: Sequence[Encoded]) -> Span:
    """Append them in their order."""
    places: list[Position] = []
    for start in range(0, len(encoded), AT_ONCE):
        places += await log.append_all(encoded[start : start + AT_ONCE])
    return span_of(places)


def span_of(places: Iterable[Position]) -> Span:
    """Around these places."""
    span: Span = {}
    for at in places:
        first, end = span.get(at.partition, (at.offset, 0))
        span[at.partition] = (min(first, at.offset), max(end, at.offset + 1))
    return span
