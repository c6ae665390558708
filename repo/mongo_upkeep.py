"""The store of hygiene on MongoDB: walks by ``_id``, each step bounded, and compared deletions."""

from collections.abc import Collection, Mapping

from pymongo import ASCENDING

from repo.core.documents import DamagedDocumentError, from_document, to_moment
from repo.mongo_connection import Document, MongoConnection
from repo.upkeep import JobPage
from schemas.access import PASSING
from schemas.jobs import Job

_BY_ID = [("_id", ASCENDING)]
_PASSING = sorted(PASSING)


class MongoUpkeepStore:
    """Implements ``UpkeepStore``. Every query but ``sweep_keys`` goes by ``_id``; that one looks at all keys."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._jobs = connection.collection("jobs")
        self._keys = connection.collection("api_keys")

    async def jobs_after(self, after: str, limit: int) -> JobPage:
        """See ``UpkeepStore.jobs_after``."""
        later = {"_id": {"$gt": after}}
        most = max(1, limit)  # 0 would be all of them to MongoDB
        found = await self._answer(lambda: self._jobs.find(later).sort(_BY_ID).limit(most).to_list(None))
        read = [_read(document) for document in found]
        return JobPage(
            tuple(job for job in read if job is not None),
            found[-1]["_id"] if len(found) == most else None,
            tuple(str(one["_id"]) for one, job in zip(found, read, strict=True) if job is None),
        )

    async def known_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job | None]:
        """See ``UpkeepStore.known_jobs``."""
        named = {"_id": {"$in": sorted(job_ids)}}
        found = await self._answer(lambda: self._jobs.find(named).to_list(None)) if job_ids else []
        return {document["_id"]: _read(document) for document in found}

    async def remove_job(self, job: Job) -> bool:
        """See ``UpkeepStore.remove_job``."""
        this = {"_id": job.job_id, "version": job.version}
        return int((await self._answer(lambda: self._jobs.delete_one(this))).deleted_count) == 1

    async def sweep_keys(self, before: int) -> int:
        """See ``UpkeepStore.sweep_keys``."""
        expired = {"kind": {"$in": _PASSING}, "expiresAt": {"$lt": to_moment(before)}}
        return int((await self._answer(lambda: self._keys.delete_many(expired))).deleted_count)


def _read(document: Document) -> Job | None:
    try:
        return from_document(Job, document)
    except DamagedDocumentError:
        return None
