"""A copy to decide on: reads come from the real store, writes stay here, in bounded memory, and are counted.

What does not fit any more is forgotten, the user first who was written to longest ago; then counts are estimates.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from operations.core.replay_report import Effects
from repo.ports import JobStore
from schemas.accounts import Account
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State

JOBS_KEPT = 20_000
READ_KEPT = 5_000
V = TypeVar("V", Job, Account)


@dataclass(slots=True)
class _Changed:
    """What was written of a user."""

    account: Account | None = None
    jobs: dict[str, Job] = field(default_factory=dict)


class OverlayJobStore:
    """Of ``JobStore``, what the ledger and the notifier use."""

    def __init__(self, real: JobStore, effects: Effects, *, kept: int = JOBS_KEPT) -> None:
        self._real = real
        self._effects = effects
        self._kept = kept
        self._users: OrderedDict[str, _Changed] = OrderedDict()
        self._owner: dict[str, str] = {}
        self._read: OrderedDict[str, Job | None] = OrderedDict()

    async def job(self, job_id: str) -> Job | None:
        """As it would be."""
        owner = self._owner.get(job_id)
        if owner is not None:
            return self._users[owner].jobs[job_id]
        if job_id in self._read:
            return self._read[job_id]
        return self._remember(job_id, await self._real.job(job_id))

    async def store_job(self, job: Job, expected: int) -> bool:
        """Compare-and-set on the copy."""
        before = await self.job(job.job_id)
        if (before.version if before else 0) != expected:
            return before == job
        self._put(before, job)
        return True

    async def settle_job(self, job: Job) -> bool:
        """As ``JobStore.settle_job``, on the copy."""
        before = await self.job(job.job_id)
        if before is None or before.version < job.version:
            self._put(before, job)
            return True
        return before == job

    async def jobs_of(
        self, user_id: str, *, before: tuple[int, str] | None = None, limit: int = 100, **others: object
    ) -> list[Job]:
        """A page; jobs that the copy has made come with the first one."""
        if others:
            raise NotImplementedError
        page = await self._real.jobs_of(user_id, before=before, limit=limit)
        mine = self._mine(user_id)
        found = [mine.get(job.job_id, job) for job in page]
        if before is None:
            known = {job.job_id for job in page}
            found = [job for job in mine.values() if job.job_id not in known] + found
        return found

    async def counted_jobs(self, user_id: str, charged_since: int, asked_since: int) -> list[Job]:
        """As ``JobStore.counted_jobs``, which may give some that count for nothing."""
        real = await self._real.counted_jobs(user_id, charged_since, asked_since)
        for job in real:
            self._remember(job.job_id, job)
        merged = {job.job_id: job for job in real} | self._mine(user_id)
        return sorted(merged.values(), key=lambda job: (job.created_at, job.job_id))

    async def last_change(self, user_id: str) -> int:
        """The newest of both."""
        mine = max((job.updated_at for job in self._mine(user_id).values()), default=0)
        return max(mine, await self._real.last_change(user_id))

    async def account(self, user_id: str) -> Account | None:
        """As it would be."""
        changed = self._users.get(user_id)
        return changed.account if changed and changed.account else await self._real.account(user_id)

    async def store_account(self, account: Account, expected: int) -> bool:
        """Compare-and-set on the copy."""
        before = await self.account(account.user_id)
        if (before.version if before else 0) != expected:
            return before == account
        mine = self._of(account.user_id)
        self._effects.accounts += mine.account is None
        mine.account = account
        self._make_room()
        return True

    def _mine(self, user_id: str) -> dict[str, Job]:
        changed = self._users.get(user_id)
        return changed.jobs if changed else {}

    def _of(self, user_id: str) -> _Changed:
        changed = self._users.setdefault(user_id, _Changed())
        self._users.move_to_end(user_id)
        return changed

    def _put(self, before: Job | None, job: Job) -> None:
        self._of(job.user_id).jobs[job.job_id] = job
        self._owner[job.job_id] = job.user_id
        self._read.pop(job.job_id, None)
        _count(self._effects, before, job)
        self._make_room()

    def _remember(self, job_id: str, job: Job | None) -> Job | None:
        self._read[job_id] = job
        while len(self._read) > READ_KEPT:
            self._read.popitem(last=False)
        return job

    def _make_room(self) -> None:
        while len(self._owner) > self._kept or len(self._users) > self._kept:
            oldest, changed = next(iter(self._users.items()))
            if len(self._users) > 1 or not changed.jobs:
                self._forget(changed.jobs)
                del self._users[oldest]
            else:
                self._forget([next(iter(changed.jobs))])

    def _forget(self, job_ids: Iterable[str]) -> None:
        changed = self._users[next(iter(self._users))]
        for job_id in list(job_ids):
            del self._owner[job_id]
            changed.jobs.pop(job_id)
            self._effects.forgotten += 1


def _count(effects: Effects, before: Job | None, job: Job) -> None:
    effects.jobs.add(f"{before.state if before else 'none'} → {job.state}")
    if job.state is State.QUEUED and (before is None or (job.run, job.attempt) > (before.run, before.attempt)):
        effects.generations += 1
    was = _captured(before.charge) if before else (0.0, 0.0)
    now = _captured(job.charge)
    if now != was:
        effects.seconds += now[0] - was[0]
        effects.credits += now[1] - was[1]


def _captured(charge: Charge) -> tuple[float, float]:
    return (charge.seconds, charge.credits) if charge.state is ChargeState.CAPTURED else (0.0, 0.0)
