"""The emptying of a queue that goes on: how many jobs it is about, and what has become of them by now."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto


class Fate(Enum):
    """What became of the cancelling of one job."""

    REMOVED = auto()  # the ledger says so
    KEPT = auto()  # it had started, or was gone
    RECORDED = auto()  # it is not decided, and will be
    NOT_RECORDED = auto()


@dataclass(frozen=True, slots=True)
class Purge:
    """``user_id``: whose jobs, None: everybody's. ``jobs``: how many; ``more``: there were others, which it leaves."""

    user_id: str | None
    jobs: int
    more: bool
    fates: Counter[Fate]
    task: "asyncio.Task[None]"

    def status(self) -> str:
        """See ``Purged``."""
        if self.fates[Fate.NOT_RECORDED] or self.more:
            return "incomplete"
        return "completed" if self.fates[Fate.REMOVED] + self.fates[Fate.KEPT] == self.jobs else "in_progress"
