"""The port of replays (``schemas/replay_plans.py``). Writers: dry runs, and the one executor of each.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from typing import Protocol

from schemas.replay_plans import ReplayPlan

# What moves while a replay is carried out; all else a dry run has fixed, and it may be long.
MOVES = frozenset({"version", "state", "updated_at", "checkpoint", "lease", "reason"})


class ReplayStore(Protocol):
    """MongoDB; each write is one document, compared."""

    async def replay(self, replay_id: str) -> ReplayPlan | None:
        """The newest version."""
        ...

    async def replays(self, limit: int = 100) -> list[ReplayPlan]:
        """The newest first, by when they were planned."""
        ...

    async def planned_as(self, asked_digest: str, limit: int = 20) -> list[ReplayPlan]:
        """Those that were asked for in the same words, the newest first."""
        ...

    async def store_replay(self, plan: ReplayPlan, expected: int) -> bool:
        """Compare-and-set: True if the stored version was ``expected`` (0: none) and now is this one's. Of one that is
        there only what moves is written, each second, and so it must be the same in the rest.

        Also True where this very document is stored already. Raises ValueError unless its version is higher.
        """
        ...

    async def forget_replays(self, before: int) -> int:
        """Delete those that nobody has touched since then (ms), whatever became of them; how many there were."""
        ...
