"""The one executor of a replay: its lease and its checkpoints, in one document that only it writes.

A write that finds another version means that somebody took it over or cancelled it: then nothing more is sent.
"""

from dataclasses import replace

from operations.replay.holder import is_gone, this_run
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.ports import Unavailable
from repo.replays import ReplayStore
from schemas.replay_plans import Checkpoint, Lease, ReplayFact, ReplayPlan, ReplayState, moved

LEASE_MS = 15_000
SPARE_MS = 5_000  # before it runs out nothing more is sent


class OustedError(StackError):
    """Somebody else has it now, or it was cancelled."""


class PausedError(OustedError):
    """An operator has paused it; ``plan`` as that was stored."""

    def __init__(self, plan: ReplayPlan) -> None:
        super().__init__(f"{plan.replay_id} was stopped by an operator.")
        self.plan = plan


class Tenure:
    """Made by ``begin``. ``plan`` is the newest version."""

    def __init__(self, store: ReplayStore, plan: ReplayPlan, holder: str) -> None:
        self._store = store
        self._holder = holder
        self.plan = plan

    @property
    def holds(self) -> bool:
        """Whether it is certain that nobody else may write."""
        lease = self.plan.lease
        return lease is not None and now_ms() < lease.until - SPARE_MS

    async def save(self, checkpoint: Checkpoint) -> None:
        """How far it has come; the lease is renewed. Raises ``OustedError``, ``Unavailable``."""
        await self._store_next(checkpoint=checkpoint, lease=self._lease())

    async def end(self, fact: ReplayFact, checkpoint: Checkpoint, reason: str = "") -> None:
        """The last write: the lease is given back."""
        state = moved(self.plan.state, fact)
        if state is None:
            raise StackError(f"{self.plan.replay_id} is {self.plan.state}.")
        await self._store_next(state=state, checkpoint=checkpoint, lease=None, reason=reason)

    def _lease(self) -> Lease:
        return Lease(holder=self._holder, until=now_ms() + LEASE_MS)

    async def _store_next(self, **changes: object) -> None:
        after = replace(
            self.plan,
            version=self.plan.version + 1,
            updated_at=max(now_ms(), self.plan.updated_at),
            **changes,  # type: ignore[arg-type]  # members of the plan
        )
        if not await self._store.store_replay(after, self.plan.version):
            stands = await self._store.replay(self.plan.replay_id)
            if stands is None or stands.state is ReplayState.CANCELLED:
                raise OustedError(f"{self.plan.replay_id} was cancelled.")
            if stands.state is ReplayState.PAUSED:
                raise PausedError(stands)
            raise OustedError(f"{self.plan.replay_id} was taken over by another process.")
        self.plan = after


async def begin(store: ReplayStore, plan: ReplayPlan, checkpoint: Checkpoint) -> Tenure:
    """Take it. Raises ``StackError`` while another executes it, or where it is over."""
    state = moved(plan.state, ReplayFact.STARTED)
    if state is None:
        raise StackError(f"{plan.replay_id} is {plan.state}: plan another (a dry run) to write it again.")
    holder = this_run()
    lease = plan.lease
    if lease is not None and now_ms() < lease.until and not is_gone(lease.holder):
        left = (lease.until - now_ms()) / 1000
        raise StackError(
            f"Another process executes {plan.replay_id}. Should it have died on another machine, this can be run again "
            f"in {left:.0f} s."
        )
    after = replace(
        plan,
        version=plan.version + 1,
        state=state,
        updated_at=now_ms(),
        checkpoint=checkpoint,
        lease=Lease(holder=holder, until=now_ms() + LEASE_MS),
        reason="",
    )
    if not await store.store_replay(after, plan.version):
        raise StackError(f"Somebody changed {plan.replay_id} at the same time: look with `openv replays show`.")
    return Tenure(store, after, holder)


async def cancel(store: ReplayStore, replay_id: str) -> ReplayPlan:
    """End it for good; what it has written stays. Raises ``StackError`` where it is over."""
    for _ in range(20):
        plan = await found(store, replay_id)
        state = moved(plan.state, ReplayFact.CANCELLED)
        if state is None:
            raise StackError(f"{replay_id} is {plan.state} already.")
        after = replace(
            plan, version=plan.version + 1, state=state, updated_at=max(now_ms(), plan.updated_at), lease=None
        )
        if await store.store_replay(after, plan.version):
            return after
    raise Unavailable("mongodb", f"{replay_id} changed again and again")


async def pause(store: ReplayStore, replay_id: str) -> ReplayPlan:
    """Stop one that runs, whichever process executes it: its next checkpoint finds that it may not go on.

    The lease stays until it runs out: until then that process may still be sending. Raises ``StackError`` where none
    runs.
    """
    for _ in range(20):
        plan = await found(store, replay_id)
        if plan.state is not ReplayState.RUNNING:
            raise StackError(f"{replay_id} does not run: it is {plan.state}.")
        after = replace(
            plan,
            version=plan.version + 1,
            state=ReplayState.PAUSED,
            updated_at=max(now_ms(), plan.updated_at),
            reason="stopped by an operator",
        )
        if await store.store_replay(after, plan.version):
            return after
    raise Unavailable("mongodb", f"{replay_id} changed again and again")


async def found(store: ReplayStore, replay_id: str) -> ReplayPlan:
    """Raises ``StackError`` where there is none."""
    plan = await store.replay(replay_id)
    if plan is None:
        raise StackError(f"There is no replay {replay_id}: `openv replays list` shows all.")
    return plan
