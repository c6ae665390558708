"""What MongoDB says of itself and of what it holds, for ``openv doctor``. Writes only a probe, and deletes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pymongo import ASCENDING
from pymongo.errors import OperationFailure

from repo.clock import now_ms
from repo.mongo import INDEXES, MongoDatabase
from repo.mongo_guard import COLLECTION
from repo.ports import Unavailable
from schemas.instants import from_datetime

OF_JOBS: Sequence[str] = ("chunks", "chunk_bundles", "remote_runs")  # collections whose documents belong to jobs
_COMMAND_NOT_FOUND = 59
_LEFT_MS = 3_600_000
_BARE = ("email", "firstName", "lastName", "imageUrl")


@dataclass(frozen=True, slots=True)
class MongoServer:
    """``version`` of the server; ``replica_set`` None: it stands alone; ``at``: its own clock (ms)."""

    version: str
    replica_set: str | None
    at: int


@dataclass(frozen=True, slots=True)
class OfJob:
    """A document that belongs to a job: in which collection, and whose."""

    collection: str
    document_id: str
    job_id: str


class MongoInspection:
    """Over a connected database. Everything raises ``Unavailable``."""

    def __init__(self, database: MongoDatabase) -> None:
        self._connection = database.connection
        self._answer = database.connection.answer
        self._identities = database.identities

    async def made_at(self) -> int:
        """Since when the database is what it is: made, or brought back by a rebuild (ms); 0 where nothing says."""
        identity = await self._identities.identity()
        return identity.made_at if identity else 0

    async def server(self) -> MongoServer:
        """Version, replica set, clock."""
        built = await self._answer(lambda: self._connection.command("buildInfo"))
        said = await self._answer(self._hello)
        return MongoServer(str(built["version"]), said.get("setName"), from_datetime(said["localTime"]))

    async def _hello(self) -> dict[str, Any]:
        try:
            return await self._connection.command("hello")
        except OperationFailure as failure:
            if failure.code != _COMMAND_NOT_FOUND:
                raise
            return await self._connection.command("isMaster")  # older servers, and the stand-in

    async def missing_indexes(self) -> list[str]:
        """``collection: fields`` of every index that a query needs and that is not there."""
        missing: list[str] = []
        for name, indexes in INDEXES.items():
            collection = self._connection.collection(name)
            known = await self._answer(collection.index_information)
            there = {tuple((field, int(order)) for field, order in one["key"]) for one in known.values()}
            missing += [f"{name}: {', '.join(field for field, _ in one)}" for one in indexes if one not in there]
        return missing

    async def probe_write(self) -> None:
        """A document is stored by a majority, read, and deleted again. Raises ``Unavailable``, also where it is not
        there when it is read.

        Beside the database's identity: every collection of its own would be one that backups have to know.
        """
        probes, probe_id, at = self._connection.collection(COLLECTION), f"probe:{uuid4()}", now_ms()
        await self._answer(lambda: probes.insert_one({"_id": probe_id, "probedAt": at}))
        found = await self._answer(lambda: probes.find_one({"_id": probe_id}))
        left = {"$or": [{"_id": probe_id}, {"probedAt": {"$lt": at - _LEFT_MS}}]}
        await self._answer(lambda: probes.delete_many(left))  # also what a doctor that died left behind
        if found is None:
            raise Unavailable("mongodb", "it does not give back what was written")

    async def of_jobs(self, collection: str, after: str, limit: int) -> list[OfJob]:
        """Documents in one of ``OF_JOBS``, by id, those after ``after``."""
        wanted: dict[str, Any] = {"_id": {"$gt": after}}
        at = self._connection.collection(collection)
        found = await self._answer(lambda: at.find(wanted).sort([("_id", ASCENDING)]).limit(limit).to_list(None))
        return [OfJob(collection, str(one["_id"]), str(one.get("jobId") or one["_id"])) for one in found]

    async def told_of_deleted(self, limit: int) -> list[str]:
        """User ids of deleted persons of whom more than a tombstone is kept."""
        wanted = {"deletedAt": {"$ne": None}, "$or": [{name: {"$exists": True}} for name in _BARE]}
        persons = self._connection.collection("persons")
        found = await self._answer(lambda: persons.find(wanted).limit(limit).to_list(None))
        return [str(one["_id"]) for one in found]
