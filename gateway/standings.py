"""Where users stand, remembered for as long as it surely holds, so that a list that is polled asks the ledger seldom.

An answer holds until something happens to one of the user's jobs, the account changes, the period ends, or a minute is
over. It is remembered with the position of the events before it was asked: any later event of the user's makes it old.
A ledger that does not answer is not an error here, and is not asked again at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from gateway.core.recent import Recent
from gateway.core.window import Cursor, Replay
from gateway.decisions import Decisions, NotRecorded
from gateway.live.feed import Feed
from repo.ports import Unavailable
from schemas.commands import AskUsage
from schemas.jobs import Remaining

GOOD_MS = 60_000
UNKNOWN_MS = 5_000  # how long a ledger that did not answer is let alone
PATIENCE_S = 1.0
REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    remaining: Remaining | None
    since: Cursor | None
    until: int


class Standings:
    """One a process."""

    def __init__(self, decisions: Decisions, feed: Feed, now: Callable[[], int]) -> None:
        self._decisions = decisions
        self._feed = feed
        self._now = now
        self._known: Recent[str, _Known] = Recent(REMEMBERED_MAX)
        self._asking: dict[str, asyncio.Task[Remaining | None]] = {}

    async def of(self, user_id: str) -> Remaining | None:
        """Where the user stands; None: it can't be told soon."""
        known = self._known.get(user_id)
        if known is not None and self._holds(user_id, known):
            return known.remaining
        asking = self._asking.get(user_id)
        if asking is None:
            asking = asyncio.create_task(self._ask(user_id), name="standings.ask")
            self._asking[user_id] = asking
            asking.add_done_callback(lambda done: self._asked(user_id, done))
        done, _ = await asyncio.wait([asking], timeout=PATIENCE_S)
        return asking.result() if done else None

    def forget(self, user_id: str) -> None:
        """The account has changed: what is being asked now may have been answered before, and is not kept."""
        self._known.pop(user_id, None)
        self._asking.pop(user_id, None)

    def _asked(self, user_id: str, done: "asyncio.Task[Remaining | None]") -> None:
        if self._asking.get(user_id) is done:
            del self._asking[user_id]

    def _holds(self, user_id: str, known: _Known) -> bool:
        if self._now() >= known.until:
            return False
        if known.remaining is None:
            return True
        try:
            partition = self._feed.partition_of(user_id)
        except Unavailable:
            return False
        since = known.since and self._feed.window.after(user_id, partition, known.since)
        return isinstance(since, Replay) and not since.entries

    async def _ask(self, user_id: str) -> Remaining | None:
        remaining: Remaining | None = None
        since: Cursor | None = None
        try:
            since = self._feed.window.head(self._feed.partition_of(user_id))
            answer = await self._decisions.ask(AskUsage(command_id=str(uuid4()), user_id=user_id))
            remaining = answer.remaining if answer else None
        except (NotRecorded, Unavailable):
            pass
        if self._asking.get(user_id) is not asyncio.current_task():  # the account changed meanwhile
            return remaining
        until = self._now() + (UNKNOWN_MS if remaining is None else GOOD_MS)
        if remaining is not None and remaining.period_end is not None:
            until = min(until, remaining.period_end)
        self._known[user_id] = _Known(remaining, since, until)
        return remaining
