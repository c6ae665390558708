"""The job store's memory twin. Shapes are immutable, so it keeps them as they are; what MongoDB refuses, it refuses."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from repo.core.documents import LeftOut, to_document
from repo.ports import AccountPage, Unavailable
from schemas.accounts import Account, Role
from schemas.failures import FailureCode
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import ACTIVE, State

V = TypeVar("V", Job, Account)


class MemoryJobStore:
    """Implements ``JobStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._jobs: dict[str, Job] = {}
        self._accounts: dict[str, Account] = {}
        self._offsets: dict[tuple[str, int], int] = {}

    async def job(self, job_id: str) -> Job | None:
        """See ``JobStore.job``."""
        self._check()
        return self._jobs.get(job_id)

    async def store_job(self, job: Job, expected: int) -> bool:
        """See ``JobStore.store_job``."""
        return self._compare_and_set(self._jobs, job, job.job_id, expected)

    async def settle_job(self, job: Job) -> bool:
        """See ``JobStore.settle_job``."""
        to_document(job, job.job_id)
        self._check()
        stored = self._jobs.get(job.job_id)
        if stored is None or stored.version < job.version:
            self._jobs[job.job_id] = job
        return self._jobs[job.job_id] == job

    async def jobs_of(
        self,
        user_id: str,
        *,
        updated_since: int | None = None,
        states: Iterable[State] | None = None,
        before: tuple[int, str] | None = None,
        oldest_first: bool = False,
        external: bool | None = None,
        limit: int = 100,
        damaged: LeftOut | None = None,  # noqa: ARG002 -- shapes are kept here: none is damaged
    ) -> list[Job]:
        """See ``JobStore.jobs_of``."""
        self._check()
        wanted = None if states is None else set(states)
        found = [
            job
            for job in self._jobs.values()
            if job.user_id == user_id
            and (updated_since is None or job.updated_at > updated_since)
            and (wanted is None or job.state in wanted)
            and (before is None or (_age(job) > before if oldest_first else _age(job) < before))
            and external in (None, job.external)
        ]
        return sorted(found, key=_age, reverse=not oldest_first)[: max(0, limit)]

    async def find_jobs(
        self,
        *,
        user_id: str | None = None,
        states: Iterable[State] | None = None,
        pool: str | None = None,
        endpoint_id: str | None = None,
        failed_with: FailureCode | None = None,
        created_since: int | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """See ``JobStore.find_jobs``."""
        self._check()
        wanted = None if states is None else set(states)
        found = [
            job
            for job in self._jobs.values()
            if user_id in (None, job.user_id)
            and (wanted is None or job.state in wanted)
            and pool in (None, job.pool)
            and endpoint_id in (None, job.endpoint)
            and failed_with in (None, job.failure.code if job.failure else "")
            and (created_since is None or job.created_at >= created_since)
            and (before is None or _age(job) < before)
        ]
        return sorted(found, key=_age, reverse=True)[: max(0, limit)]

    async def counted_jobs(self, user_id: str, charged_since: int, asked_since: int) -> list[Job]:
        """See ``JobStore.counted_jobs``."""
        self._check()
        mine = (job for job in self._jobs.values() if job.user_id == user_id)
        return sorted((job for job in mine if _counts(job, charged_since, asked_since)), key=_age)

    async def last_change(self, user_id: str) -> int:
        """See ``JobStore.last_change``."""
        self._check()
        return max((job.updated_at for job in self._jobs.values() if job.user_id == user_id), default=0)

    async def active_jobs(self, pool: str) -> list[Job]:
        """See ``JobStore.active_jobs``."""
        self._check()
        return sorted((job for job in self._jobs.values() if job.pool == pool and job.state in ACTIVE), key=_age)

    async def active_pools(self) -> list[str]:
        """See ``JobStore.active_pools``."""
        self._check()
        return sorted({job.pool for job in self._jobs.values() if job.state in ACTIVE})

    async def endpoint_jobs(
        self, endpoint_id: str, states: Iterable[State], *, user_id: str | None = None, limit: int = 1_000
    ) -> list[Job]:
        """See ``JobStore.endpoint_jobs``."""
        self._check()
        wanted = set(states)
        found = [
            job
            for job in self._jobs.values()
            if job.endpoint == endpoint_id and job.state in wanted and user_id in (None, job.user_id)
        ]
        return sorted(found, key=_age)[: max(0, limit)]

    async def ended_jobs(
        self, endpoint_id: str, states: Iterable[State], ended_by: int, *, external: bool, limit: int
    ) -> list[Job]:
        """See ``JobStore.ended_jobs``."""
        self._check()
        wanted = set(states)
        found = [
            (job.finished_at, job.job_id, job)
            for job in self._jobs.values()
            if (job.endpoint, job.external) == (endpoint_id, external)
            and job.state in wanted
            and job.finished_at is not None
            and job.finished_at <= ended_by
        ]
        return [job for _, _, job in sorted(found, key=lambda one: one[:2])][: max(0, limit)]

    async def user_counts(self, user_id: str) -> Mapping[State, int]:
        """See ``JobStore.user_counts``."""
        self._check()
        return Counter(job.state for job in self._jobs.values() if job.user_id == user_id)

    async def endpoint_counts(self, endpoint_id: str, since: int) -> Mapping[State, int]:
        """See ``JobStore.endpoint_counts``."""
        self._check()
        return Counter(
            job.state
            for job in self._jobs.values()
            if job.endpoint == endpoint_id and (job.state in ACTIVE or job.created_at >= since)
        )

    async def account(self, user_id: str) -> Account | None:
        """See ``JobStore.account``."""
        self._check()
        return self._accounts.get(user_id)

    async def accounts(
        self,
        *,
        after: str | None = None,
        role: Role | None = None,
        blocked: bool | None = None,
        deleted: bool | None = None,
        limit: int = 100,
    ) -> AccountPage:
        """See ``JobStore.accounts``."""
        self._check()
        found = [
            one
            for user_id, one in sorted(self._accounts.items(), key=lambda item: item[0].encode())
            if (after is None or user_id.encode() > after.encode())
            and role in (None, one.role)
            and blocked in (None, one.blocked)
            and deleted in (None, one.deleted_at is not None)
        ]
        page = found[: max(0, limit)]
        return AccountPage(tuple(page), page[-1].user_id if page and len(found) > len(page) else None)

    async def store_account(self, account: Account, expected: int) -> bool:
        """See ``JobStore.store_account``."""
        return self._compare_and_set(self._accounts, account, account.user_id, expected)

    async def applied_offsets(self, consumer: str) -> dict[int, int]:
        """See ``JobStore.applied_offsets``."""
        self._check()
        return {partition: offset for (name, partition), offset in self._offsets.items() if name == consumer}

    async def store_applied_offsets(self, consumer: str, offsets: Mapping[int, int]) -> None:
        """See ``JobStore.store_applied_offsets``."""
        self._check()
        for partition, offset in offsets.items():
            self._offsets[consumer, partition] = max(offset, self._offsets.get((consumer, partition), offset))

    async def reset_applied_offset(self, consumer: str, partition: int) -> None:
        """See ``JobStore.reset_applied_offset``."""
        self._check()
        self._offsets.pop((consumer, partition), None)

    async def ping(self) -> None:
        """See ``JobStore.ping``."""
        self._check()

    def after(self, job_id: str, limit: int) -> list[Job]:
        """Jobs by id, from the one after this on; for ``MemoryUpkeepStore``."""
        self._check()
        ids = sorted((one for one in self._jobs if one.encode() > job_id.encode()), key=str.encode)
        return [self._jobs[one] for one in ids[:limit]]

    def remove(self, job: Job) -> bool:
        """Delete the document if it is of this version; for ``MemoryUpkeepStore``."""
        self._check()
        stored = self._jobs.get(job.job_id)
        if stored is None or stored.version != job.version:
            return False
        del self._jobs[job.job_id]
        return True

    def _compare_and_set(self, at: dict[str, V], value: V, key: str, expected: int) -> bool:
        if value.version <= expected:
            raise ValueError(f"version {value.version} does not come after {expected}")
        to_document(value, key)
        self._check()
        stored = at.get(key)
        if (0 if stored is None else stored.version) != expected:
            return stored == value
        at[key] = value
        return True

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "away")


def _age(job: Job) -> tuple[int, str]:
    return job.created_at, job.job_id


def _counts(job: Job, charged_since: int, asked_since: int) -> bool:
    if job.state in ACTIVE:
        return True
    charge = job.charge
    if charge.state is ChargeState.NONE:
        return False
    of_anything = charge.seconds > 0 or charge.credits > 0
    return charge.reserved_at >= asked_since or (of_anything and charge.reserved_at >= charged_since)
