"""Who is next: priority class, then the user served least, then age.

*Served least* is: fewest attempts running now, then the least work started of late. Work is forgotten by half every
``HALF_LIFE_MS``, so a user who floods the queue waits behind everyone who did not, and is forgiven within hours.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heapreplace

from schemas.instants import Instant
from streams.core.pool_state import Entry, Share

HALF_LIFE_MS = 30 * 60_000
SHARES_KEPT = 10_000
_FORGOTTEN = 1e-3

Rank = tuple[int, int, float, Instant, str]


def served(share: Share | None, now: Instant) -> float:
    """A user's recent work, in default requests, as of ``now``."""
    return 0.0 if share is None else share.amount * 0.5 ** (max(0, now - share.at) / HALF_LIFE_MS)


def charged(share: Share | None, work: float, now: Instant) -> Share:
    """The share after ``work`` more was handed out; negative work (an offer that came to nothing) is taken back."""
    return Share(max(0.0, served(share, now) + work), now)


def remembered(shares: Mapping[str, Share], now: Instant) -> dict[str, Share]:
    """Shares worth keeping: not yet forgotten, and of those the largest ``SHARES_KEPT``."""
    kept = {user: share for user, share in shares.items() if served(share, now) >= _FORGOTTEN}
    if len(kept) > SHARES_KEPT:
        largest = sorted(kept, key=lambda user: (-served(kept[user], now), user))[:SHARES_KEPT]
        kept = {user: kept[user] for user in largest}
    return kept


def in_order(
    waiting: Iterable[Entry], running: Mapping[str, int], shares: Mapping[str, Share], now: Instant
) -> Iterator[Entry]:
    """Jobs in the order in which they would be handed out if none that runs ended meanwhile.

    ``running`` counts live attempts by user. Lazy: the first job costs one pass over the waiting ones.
    """
    lanes: dict[tuple[int, str], list[tuple[Instant, str, Entry]]] = {}
    for entry in waiting:
        lanes.setdefault((-entry.priority, entry.user_id), []).append((entry.created_at, entry.job_id, entry))
    counts = Counter(running)
    amounts = {user: served(shares.get(user), now) for _, user in lanes} if shares else {}

    def rank(lane: tuple[int, str]) -> tuple[Rank, tuple[int, str]]:
        user, (created_at, job_id, _) = lane[1], lanes[lane][0]
        return (lane[0], counts[user], amounts.get(user, 0.0), created_at, job_id), lane

    for queue in lanes.values():
        heapify(queue)
    heads = [rank(lane) for lane in lanes]
    heapify(heads)
    while heads:
        known, lane = heads[0]
        current = rank(lane)
        if current[0] != known:  # the user was served in another priority class meanwhile: ranks only grow
            heapreplace(heads, current)
            continue
        yield heappop(lanes[lane])[2]
        counts[lane[1]] += 1
        if lanes[lane]:
            heapreplace(heads, rank(lane))
        else:
            heappop(heads)
