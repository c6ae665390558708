"""What the ledger knows of its users: loaded at first touch in an assignment generation, kept in step, bounded."""

from collections import OrderedDict
from dataclasses import dataclass

from repo.ports import JobStore
from schemas.accounts import Account
from schemas.commands import AnyCommand, DeleteUser, RetryJob, SubmitJob
from schemas.jobs import Job
from streams.core.apply import unsettled
from streams.core.effects import UserView
from streams.core.ledger import new_account
from streams.core.policy import Policy
from streams.core.retention import Reach, pruned, reach_for

USERS_KEPT = 10_000
PAGE = 200
PRUNED_FROM = 256  # jobs in a view; then whenever they have doubled, so that looking through them costs each job little


@dataclass(slots=True)
class Loaded:
    """A view ready for a decision. ``completed``: admissions that an earlier writer left unfinished; announce them."""

    view: UserView
    completed: tuple[Job, ...] = ()


@dataclass(slots=True)
class _Known:
    """A user's view in an assignment generation. ``window_ms``: the longest rate window of an endpoint met so far."""

    generation: int
    view: UserView
    reach: Reach
    window_ms: int
    prune_at: int = PRUNED_FROM


class UserViews:
    """The views of this process. Two writers of a user (a rebalance in progress) lose compare-and-sets, not money."""

    def __init__(self, store: JobStore, policy: Policy, *, kept: int = USERS_KEPT) -> None:
        self._store = store
        self._policy = policy
        self._kept = kept
        self._views: OrderedDict[str, _Known] = OrderedDict()

    async def ready(self, command: AnyCommand, now: int, generation: int, *, again: bool = False) -> Loaded:
        """All that ``decide`` needs for this command. Raises ``Unavailable``.

        ``again``: the view kept last was made ready for this command already.
        """
        known = self._views.get(command.user_id)
        if again and known is not None and known.generation == generation:
            return Loaded(known.view)
        completed: list[Job] = []
        view = await self._reaching(command.user_id, now, generation, _window_of(command), completed)
        view = await self._with_named(view, command)
        if isinstance(command, RetryJob) and (named := view.own(command.job_id)) is not None and named.limits:
            # How far back its endpoint's limits look is written in the job itself.
            view = await self._reaching(command.user_id, now, generation, named.limits.rate_window_ms, completed)
            view = await self._with_named(view, command)
        return Loaded(view, tuple(completed))

    def keep(self, command: AnyCommand, view: UserView, now: int) -> None:
        """The view after a decision on this command was carried out. Another user's job that it named is not kept."""
        user_id = view.account.user_id
        known = self._views.get(user_id)
        if known is None:
            return
        named = view.jobs.get(getattr(command, "job_id", ""))
        if named is not None and named.user_id != user_id:
            own = {job_id: job for job_id, job in view.jobs.items() if job.user_id == user_id}
            view = UserView(view.account, own, view.changed_at)
        # A user's deletion goes on over all jobs there are.
        if len(view.jobs) >= known.prune_at and not isinstance(command, DeleteUser):
            known.reach = reach_for(view.account, self._policy, now, known.window_ms)
            view = pruned(view, known.reach)
            known.prune_at = max(PRUNED_FROM, 2 * len(view.jobs))
        known.view = view
        self._views.move_to_end(user_id)
        while len(self._views) > self._kept:
            self._views.popitem(last=False)

    def drop(self, user_id: str) -> None:
        """What was known may be out of date."""
        self._views.pop(user_id, None)

    async def _reaching(
        self, user_id: str, now: int, generation: int, window_ms: int, completed: list[Job]
    ) -> UserView:
        """The view, loaded (again) where it does not hold all that counts now: time may go back, windows differ."""
        known = self._views.get(user_id)
        if known is not None and known.generation == generation:
            window_ms = max(window_ms, known.window_ms)
            if known.reach.covers(reach_for(known.view.account, self._policy, now, window_ms)):
                return known.view
        self.drop(user_id)
        account = await self._store.account(user_id) or new_account(user_id)
        reach = reach_for(account, self._policy, now, window_ms)
        loaded = await self._load(account, reach)
        completed += loaded.completed
        self._views[user_id] = _Known(generation, loaded.view, reach, window_ms)
        return loaded.view

    async def _load(self, account: Account, reach: Reach) -> Loaded:
        user_id = account.user_id
        changed_at = await self._store.last_change(user_id)
        counted = await self._store.counted_jobs(user_id, reach.charged, reach.asked)
        view = UserView(account, {job.job_id: job for job in counted}, changed_at)
        completed: list[Job] = []
        for pending in unsettled(view):
            await self._store.settle_job(pending)
            stored = await self._store.job(pending.job_id)
            if stored is not None:
                completed.append(stored)
                view = view.with_job(stored)
        return Loaded(view, tuple(completed))

    async def _with_named(self, view: UserView, command: AnyCommand) -> UserView:
        if isinstance(command, DeleteUser):
            everything = {job.job_id: job for job in await self._all_jobs(command.user_id)}
            return UserView(view.account, {**view.jobs, **everything}, view.changed_at)
        job_id = getattr(command, "job_id", None)
        if job_id is None or job_id in view.jobs:
            return view
        named = await self._store.job(job_id)
        return view if named is None else view.with_job(named)

    async def _all_jobs(self, user_id: str) -> list[Job]:
        jobs: list[Job] = []
        before: tuple[int, str] | None = None
        while True:
            page = await self._store.jobs_of(user_id, before=before, limit=PAGE)
            jobs += page
            if len(page) < PAGE:
                return jobs
            before = (page[-1].created_at, page[-1].job_id)


def _window_of(command: AnyCommand) -> int:
    """How far back the limits that come with the command look, in ms."""
    limits = command.limits if isinstance(command, SubmitJob | RetryJob) else None
    return 0 if limits is None else limits.rate_window_ms
