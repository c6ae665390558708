"""The memory twin of ``UpkeepStore``, over the twins of the stores whose documents it looks through."""

from collections.abc import Collection, Mapping

from repo.memory_access import MemoryAccessStore
from repo.memory_store import MemoryJobStore
from repo.upkeep import JobPage
from schemas.jobs import Job


class MemoryUpkeepStore:
    """Implements ``UpkeepStore``."""

    def __init__(self, jobs: MemoryJobStore, access: MemoryAccessStore) -> None:
        self._jobs = jobs
        self._access = access

    async def jobs_after(self, after: str, limit: int) -> JobPage:
        """See ``UpkeepStore.jobs_after``."""
        found = self._jobs.after(after, limit)
        return JobPage(tuple(found), found[-1].job_id if len(found) == limit else None)

    async def known_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job | None]:
        """See ``UpkeepStore.known_jobs``."""
        found = [await self._jobs.job(job_id) for job_id in job_ids]
        return {job.job_id: job for job in found if job is not None}

    async def remove_job(self, job: Job) -> bool:
        """See ``UpkeepStore.remove_job``."""
        return self._jobs.remove(job)

    async def sweep_keys(self, before: int) -> int:
        """See ``UpkeepStore.sweep_keys``."""
        return self._access.sweep_keys(before)
