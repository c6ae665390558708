"""The memory twin of ``ReplayStore``."""

from dataclasses import replace

from repo.core.documents import to_document
from repo.ports import Unavailable
from repo.replays import MOVES
from schemas.replay_plans import ReplayPlan


class MemoryReplayStore:
    """Implements ``ReplayStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._plans: dict[str, ReplayPlan] = {}

    async def replay(self, replay_id: str) -> ReplayPlan | None:
        """See ``ReplayStore.replay``."""
        self._check()
        return self._plans.get(replay_id)

    async def replays(self, limit: int = 100) -> list[ReplayPlan]:
        """See ``ReplayStore.replays``."""
        self._check()
        return sorted(self._plans.values(), key=lambda one: (one.created_at, one.replay_id), reverse=True)[:limit]

    async def planned_as(self, asked_digest: str, limit: int = 20) -> list[ReplayPlan]:
        """See ``ReplayStore.planned_as``."""
        newest = await self.replays(len(self._plans))
        return [one for one in newest if one.asked_digest == asked_digest][:limit]

    async def store_replay(self, plan: ReplayPlan, expected: int) -> bool:
        """See ``ReplayStore.store_replay``."""
        if plan.version <= expected:
            raise ValueError(f"version {plan.version} does not come after {expected}")
        self._check()
        to_document(plan, plan.replay_id)
        stored = self._plans.get(plan.replay_id)
        if (stored.version if stored else 0) != expected:
            return stored == plan
        moved = {name: getattr(plan, name) for name in MOVES}
        self._plans[plan.replay_id] = replace(stored, **moved) if stored else plan
        return True

    async def forget_replays(self, before: int) -> int:
        """See ``ReplayStore.forget_replays``."""
        self._check()
        old = [one for one in self._plans.values() if one.updated_at < before]
        for one in old:
            del self._plans[one.replay_id]
        return len(old)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "away")
