"""The store of runs on a foreign service on MongoDB."""

from collections.abc import Mapping

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from repo.core.documents import from_document, to_document
from repo.mongo_connection import MongoConnection
from schemas.remote_runs import RemoteRun, remote_key

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "remote_runs": ((("target", ASCENDING), ("_id", ASCENDING)),),  # remote_runs
}


class MongoRemoteRunStore:
    """Implements ``RemoteRunStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._runs = connection.collection("remote_runs")

    async def remote_run(self, job_id: str, run: int, target: str) -> RemoteRun | None:
        """See ``RemoteRunStore.remote_run``."""
        return await self._stored(remote_key(job_id, run, target))

    async def remote_runs(self, target: str) -> list[RemoteRun]:
        """See ``RemoteRunStore.remote_runs``."""
        order = [("_id", ASCENDING)]
        documents = await self._answer(lambda: self._runs.find({"target": target}).sort(order).to_list(None))
        return [from_document(RemoteRun, document) for document in documents]

    async def store_remote_run(self, remote: RemoteRun, expected: int) -> bool:
        """See ``RemoteRunStore.store_remote_run``."""
        if remote.version <= expected:
            raise ValueError(f"version {remote.version} does not come after {expected}")
        document = to_document(remote, remote.key)
        if expected == 0:
            try:
                await self._answer(lambda: self._runs.insert_one(document))
            except DuplicateKeyError:
                return await self._stored(remote.key) == remote
            return True
        known = {"_id": remote.key, "version": expected}
        replaced = await self._answer(lambda: self._runs.replace_one(known, document))
        return replaced.matched_count == 1 or await self._stored(remote.key) == remote

    async def forget_remote_run(self, remote: RemoteRun) -> bool:
        """See ``RemoteRunStore.forget_remote_run``."""
        gone = await self._answer(lambda: self._runs.delete_one({"_id": remote.key, "version": remote.version}))
        return bool(gone.deleted_count)

    async def _stored(self, key: str) -> RemoteRun | None:
        found = await self._answer(lambda: self._runs.find_one({"_id": key}))
        return from_document(RemoteRun, found) if found else None
