"""The store of replays on MongoDB."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic.alias_generators import to_camel
from pymongo import DESCENDING

from repo.core.documents import from_document, to_document, to_moment
from repo.mongo_compared import compare_and_set
from repo.mongo_connection import MongoConnection
from repo.replays import MOVES
from schemas.replay_plans import ReplayPlan

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "replays": (
        (("createdAt", DESCENDING), ("_id", DESCENDING)),  # replays
        (("askedDigest", DESCENDING), ("createdAt", DESCENDING), ("_id", DESCENDING)),  # planned_as
        (("updatedAt", DESCENDING),),  # forget_replays
    ),
}
_MOVES = frozenset(to_camel(name) for name in MOVES)
_NEWEST_FIRST = [("createdAt", DESCENDING), ("_id", DESCENDING)]


class MongoReplayStore:
    """Implements ``ReplayStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._replays = connection.collection("replays")

    async def replay(self, replay_id: str) -> ReplayPlan | None:
        """See ``ReplayStore.replay``."""
        found = await self._answer(lambda: self._replays.find_one({"_id": replay_id}))
        return from_document(ReplayPlan, found) if found else None

    async def replays(self, limit: int = 100) -> list[ReplayPlan]:
        """See ``ReplayStore.replays``."""
        return await self._newest({}, limit)

    async def planned_as(self, asked_digest: str, limit: int = 20) -> list[ReplayPlan]:
        """See ``ReplayStore.planned_as``."""
        return await self._newest({"askedDigest": asked_digest}, limit)

    async def store_replay(self, plan: ReplayPlan, expected: int) -> bool:
        """See ``ReplayStore.store_replay``."""
        if expected == 0 or plan.version <= expected:
            return await compare_and_set(self._answer, self._replays, plan, plan.replay_id, expected)
        change = _moved(plan)
        at = {"_id": plan.replay_id, "version": expected}
        if (await self._answer(lambda: self._replays.update_one(at, change))).matched_count == 1:
            return True
        return await self.replay(plan.replay_id) == plan  # then its answer was lost

    async def forget_replays(self, before: int) -> int:
        """See ``ReplayStore.forget_replays``."""
        old = {"updatedAt": {"$lt": to_moment(before)}}
        return int((await self._answer(lambda: self._replays.delete_many(old))).deleted_count)

    async def _newest(self, wanted: Mapping[str, str], limit: int) -> list[ReplayPlan]:
        most = max(1, limit)  # 0 would be all of them to MongoDB
        found = await self._answer(
            lambda: self._replays.find(dict(wanted)).sort(_NEWEST_FIRST).limit(most).to_list(None)
        )
        return [from_document(ReplayPlan, document) for document in found]


def _moved(plan: ReplayPlan) -> dict[str, dict[str, object]]:
    """Its change of what is stored, without making a document of what never changes."""
    document = to_document(replace(plan, chosen=None, report="", asked={}, spans=()), plan.replay_id)
    wanted = {name: document.get(name) for name in _MOVES}
    change = {"$set": {name: value for name, value in wanted.items() if value is not None}}
    gone = {name: "" for name, value in wanted.items() if value is None}
    return change | ({"$unset": gone} if gone else {})
