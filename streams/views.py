"""What the ledger knows of its users: loaded at first touch in an assignment generation, kept in step, bounded."""

from collections import OrderedDict
from dataclasses import dataclass, replace

from repo.ports import JobStore
from schemas.commands import AnyCommand, DeleteUser
from schemas.jobs import Job
from streams.core.apply import unsettled
from streams.core.effects import UserView
from streams.core.ledger import new_account
from streams.core.policy import Policy
from streams.core.quota import counted_since_for

USERS_KEPT = 10_000
PAGE = 200


@dataclass(slots=True)
class Loaded:
    """A view ready for a decision. ``completed``: admissions that an earlier writer left unfinished; announce them."""

    view: UserView
    completed: tuple[Job, ...] = ()


class UserViews:
    """The views of this process. Two writers of a user (a rebalance in progress) lose compare-and-sets, not money."""

    def __init__(self, store: JobStore, policy: Policy, *, kept: int = USERS_KEPT) -> None:
        self._store = store
        self._policy = policy
        self._kept = kept
        self._views: OrderedDict[str, tuple[int, UserView]] = OrderedDict()

    async def ready(self, command: AnyCommand, now: int, generation: int, *, again: bool = False) -> Loaded:
        """All that ``decide`` needs for this command. Raises ``Unavailable``.

        ``again``: the view kept last was made ready for this command already.
        """
        loaded = self._cached(command.user_id, generation)
        if loaded is not None and again:
            return loaded
        if loaded is None:
            loaded = await self._load(command.user_id, now)
        jobs = dict(loaded.view.jobs)
        if isinstance(command, DeleteUser):
            jobs.update({job.job_id: job for job in await self._all_jobs(command.user_id)})
        else:
            job_id = getattr(command, "job_id", None)
            if job_id is not None and job_id not in jobs:
                named = await self._store.job(job_id)
                if named is not None:
                    jobs[job_id] = named
        return Loaded(replace(loaded.view, jobs=jobs), loaded.completed)

    def keep(self, view: UserView, generation: int) -> None:
        """The view after a decision was carried out. Another user's job that the command named is not kept."""
        user_id = view.account.user_id
        own = {job_id: job for job_id, job in view.jobs.items() if job.user_id == user_id}
        self._views[user_id] = (generation, replace(view, jobs=own))
        self._views.move_to_end(user_id)
        while len(self._views) > self._kept:
            self._views.popitem(last=False)

    def drop(self, user_id: str) -> None:
        """What was known may be out of date."""
        self._views.pop(user_id, None)

    def _cached(self, user_id: str, generation: int) -> Loaded | None:
        known = self._views.get(user_id)
        if known is None or known[0] != generation:
            self._views.pop(user_id, None)
            return None
        return Loaded(known[1])

    async def _load(self, user_id: str, now: int) -> Loaded:
        account = await self._store.account(user_id) or new_account(user_id)
        counted = await self._store.counted_jobs(user_id, counted_since_for(account, self._policy, now))
        view = UserView(account, {job.job_id: job for job in counted})
        completed: list[Job] = []
        for pending in unsettled(view):
            await self._store.settle_job(pending)
            stored = await self._store.job(pending.job_id)
            if stored is not None:
                completed.append(stored)
        jobs = {**view.jobs, **{job.job_id: job for job in completed}}
        return Loaded(replace(view, jobs=jobs), tuple(completed))

    async def _all_jobs(self, user_id: str) -> list[Job]:
        jobs: list[Job] = []
        before: tuple[int, str] | None = None
        while True:
            page = await self._store.jobs_of(user_id, before=before, limit=PAGE)
            jobs += page
            if len(page) < PAGE:
                return jobs
            before = (page[-1].created_at, page[-1].job_id)
