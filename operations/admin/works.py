"""Long works: begun by a request, run beside it, and gone on with by whichever admin process lives.

Each is a document that is compared at every step (``schemas/works.py``, ``operations/core/works.py``): of several
processes one holds it; who is too late to renew its lease stops.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from operations.admin.metrics import DEFECT, GIVEN_UP, RELEASED, AdminMetrics
from operations.admin.metrics import LOST as LOST_TO_OTHERS
from operations.admin.refusals import Problem, Refused
from operations.audit.recording import Actor
from operations.core.works import LEASE_MS, ahead, beside, broken, ended, given_back, released, renewed, taken
from operations.replay.holder import is_gone, this_run
from operations.stack.errors import StackError
from repo.core.documents import DamagedDocumentError
from repo.ports import Unavailable
from repo.works import WorkStore
from schemas.works import KEPT_MS, Work, WorkState

LOOK_EVERY_S = 2.0
RENEW_EVERY_S = LEASE_MS / 3000
AT_ONCE = 4
UNDER_WAY_MAX = 20  # that wait or run; further ones are refused
FORGET_EVERY = 1_800  # looks
RESULT_BYTES = 1024 * 1024
VIA = "api"
NO_LONGER = "Whoever asked for this may no longer: the key was revoked, or its user is no admin any more."
NOT_KNOWN = (
    "Whether whoever asked for this still may can't be known: their key or their account is a document that nobody can "
    "read; `openv doctor` names it."
)
ONE_AT_A_TIME = "One at a time: work {} does that now."
LOST = "It ended by a defect; the log of the admin process says which."
logger = structlog.get_logger()

Run = Callable[[Mapping[str, Any], Actor], Awaitable[Any]]
MayStill = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of work is done: from its arguments, for whom, to what JSON can hold. ``resumable``: begun again by
    another process it goes on, or does no harm. ``alone``: one at a time, whichever processes there are, for it costs
    much (``Works``)."""

    run: Run
    resumable: bool
    alone: bool = False


async def anybody(_: str) -> bool:
    """Nobody is asked twice."""
    return True


class Works:
    """One a process. ``may_still``: whether who asked for a work, as the audit names them, still might.

    Of a kind that is done alone, one at most runs, though requests at two processes may begin two: a work is taken when
    it is its turn (``ahead``), and then all are looked at once more, before any of it is done; who sees another one
    held gives its own back. Of two that are taken at once each is written before its process looks again, so at least
    one sees the other: that needs no clock. What a lease promises is as before: a process that hangs, or whose clock is
    off by more than the lease, may run on beside its successor until its next renewal tells it, ``RENEW_EVERY_S``.
    """

    def __init__(
        self,
        store: WorkStore,
        kinds: Mapping[str, Kind],
        now: Callable[[], int],
        metrics: AdminMetrics | None = None,
        may_still: MayStill = anybody,
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._now = now
        self._may_still = may_still
        self._metrics = metrics or AdminMetrics()
        self._holder = this_run()
        self._poked = asyncio.Event()
        self._beginning = asyncio.Lock()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def begin(self, kind: str, arguments: Mapping[str, Any], actor: Actor) -> Work:
        """Have it done, by this process or another. Raises ``Unavailable``, and ``Refused`` where too many wait, or
        one of its kind where that is to be alone."""
        async with self._beginning:  # of two requests in one instant the later one sees the earlier
            await self._require_room(kind)
            made = self._new(kind, arguments, actor)
            await self._store.store_work(made, 0)
        self._poked.set()
        return made

    async def _require_room(self, kind: str) -> None:
        under_way = await self._store.unfinished_works(UNDER_WAY_MAX)
        if len(under_way) >= UNDER_WAY_MAX:
            raise Refused(Problem.BUSY)
        if self._kinds.get(kind) is not None and self._kinds[kind].alone:
            for one in under_way:
                if one.kind == kind:
                    raise Refused(Problem.BUSY, words=ONE_AT_A_TIME.format(one.work_id))

    def _new(self, kind: str, arguments: Mapping[str, Any], actor: Actor) -> Work:
        now = self._now()
        return Work(
            work_id=str(uuid4()),
            kind=kind,
            arguments=json.dumps(arguments),
            actor=actor.name,
            address=actor.address,
            state=WorkState.WAITING,
            version=1,
            created_at=now,
            updated_at=now,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do works until the context is left; those under way are then left to others."""
        looking = asyncio.create_task(self._look_for_ever())
        try:
            yield
        finally:
            looking.cancel()
            tasks = [looking, *self._under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        looks = 0
        while True:
            self._poked.clear()
            try:
                await self._look()
                if looks % FORGET_EVERY == 0:
                    await self._store.forget_works(self._now() - KEPT_MS)
            except Unavailable as error:
                logger.warning("works_wait", server=error.server, reason=error.reason)
            except DamagedDocumentError as error:
                logger.warning("works_wait", reason=str(error))
            looks += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._poked.wait()

    async def _look(self) -> None:
        found = {work.work_id: work for work in await self._store.unfinished_works()}
        for work in list(found.values()):
            if len(self._under_way) >= AT_ONCE:
                return
            kind = self._kinds.get(work.kind)
            if kind is None or work.work_id in self._under_way:
                continue
            mine = await self._next(work, kind, found.values())
            if mine is None or not await self._store.store_work(mine, work.version):
                continue
            found[work.work_id] = mine
            if mine.state is not WorkState.RUNNING:
                said = mine.error in (NO_LONGER, NOT_KNOWN)
                self._metrics.left_out(mine.kind, str(mine.state) if said else GIVEN_UP)
                logger.warning("work_given_up", work=mine.work_id, kind=mine.kind, tries=mine.tries)
            elif not kind.alone or await self._is_alone(mine):
                task = asyncio.create_task(self._do(mine, kind))
                self._under_way[work.work_id] = task
                task.add_done_callback(partial(self._over, work.work_id))

    async def _next(self, work: Work, kind: Kind, found: Collection[Work]) -> Work | None:
        """The version in which it is ours, or has failed; None: it is left as it is. Raises ``Unavailable``."""
        gone = work.holder is not None and is_gone(work.holder)
        mine = taken(work, self._holder, self._now(), resumable=kind.resumable, gone=gone)
        if mine is None:
            return None
        if against := await self._word_against(work.actor):
            return broken(work, self._now(), against)
        other = ahead(work, found) if kind.alone and mine.state is WorkState.RUNNING else None
        if other is None:
            return mine
        # What never was begun was asked for beside the other, at another process: it is refused as it would have been
        # there. The rest waits: also where the other runs now, and this one was asked for first.
        late = (work.created_at, work.work_id) > (other.created_at, other.work_id)
        return broken(work, self._now(), ONE_AT_A_TIME.format(other.work_id)) if late and not work.tries else None

    async def _is_alone(self, mine: Work) -> bool:
        """Whether no other of its kind is held; else it is given back. Raises ``Unavailable``: then nobody does it
        until its lease is over."""
        other = beside(mine, await self._store.unfinished_works())
        if other is None:
            return True
        logger.info("work_given_back", work=mine.work_id, kind=mine.kind, other=other.work_id)
        await self._store.store_work(given_back(mine, self._now()), mine.version)
        return False

    async def _word_against(self, actor: str) -> str:
        """Why nothing may be done for them any more, "" where it may. Raises ``Unavailable``."""
        try:
            return "" if await self._may_still(actor) else NO_LONGER
        except DamagedDocumentError as error:  # not the log's words alone: it has no end by itself, as an outage has
            logger.warning("work_of_unknown", reason=str(error))
            return NOT_KNOWN

    def _over(self, work_id: str, _: asyncio.Task[None]) -> None:
        self._under_way.pop(work_id, None)
        self._poked.set()

    async def _do(self, work: Work, kind: Kind) -> None:
        doing = asyncio.ensure_future(kind.run(json.loads(work.arguments), Actor(work.actor, VIA, work.address)))
        held, began, outcome, against = work, time.monotonic(), RELEASED, ""
        self._metrics.took()
        try:
            while True:
                await asyncio.wait({doing}, timeout=RENEW_EVERY_S)
                if doing.done():
                    break
                held = await self._renewed(held)
                if against := await self._word_while_running(work.actor):
                    await _stopped(doing)
                    break
            last = self._end_of(held, doing, against)
            await self._store_end(held, last)
            outcome = DEFECT if last.error == LOST else str(last.state)
        except _NotOursError:
            outcome = LOST_TO_OTHERS
            logger.warning("work_lost", work=work.work_id, kind=work.kind)
        except asyncio.CancelledError:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
            with suppress(Unavailable):
                await self._store.store_work(released(held, self._now()), held.version)
            raise
        finally:
            self._metrics.left(work.kind, outcome, time.monotonic() - began)
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def _word_while_running(self, actor: str) -> str:
        """Nothing against them while MongoDB is away: then the lease says how long."""
        try:
            return await self._word_against(actor)
        except Unavailable:
            return ""

    async def _renewed(self, held: Work) -> Work:
        """Raises ``_NotOursError`` where somebody else has it, or may have it by now."""
        longer = renewed(held, self._now())
        try:
            if await self._store.store_work(longer, held.version):
                return longer
        except Unavailable:
            if self._now() < held.leased_until:
                return await self._as_stored(held, longer)
        raise _NotOursError

    async def _as_stored(self, held: Work, longer: Work) -> Work:
        """Which of the two stands there: a write without an answer may have been carried out."""
        with suppress(Unavailable):
            stored = await self._store.work(held.work_id)
            return longer if stored == longer else held
        return held

    def _end_of(self, held: Work, doing: "asyncio.Future[Any]", against: str) -> Work:
        now = self._now()
        if doing.cancelled():  # by ``_stopped``: nothing else does that to it
            return broken(held, now, against)
        try:
            text = json.dumps(doing.result())
        except (StackError, Unavailable) as error:
            return broken(held, now, str(error))
        except Refused as refused:
            return broken(held, now, refused.words or refused.problem.value)
        except Exception:  # the last door: it is logged here, and nowhere shown
            logger.exception("work_failed", work=held.work_id, kind=held.kind)
            return broken(held, now, LOST)
        if len(text) > RESULT_BYTES:
            text = json.dumps({"leftOut": f"The result has {len(text)} bytes, more than are kept."})
        return ended(held, now, text)

    async def _store_end(self, held: Work, last: Work) -> None:
        """Tried for as long as nobody else can have taken it; then another process does it again."""
        while True:
            try:
                if not await self._store.store_work(last, held.version):
                    raise _NotOursError
                return
            except Unavailable:
                if self._now() >= held.leased_until:
                    raise _NotOursError from None
                await asyncio.sleep(LOOK_EVERY_S)


async def _stopped(doing: "asyncio.Future[Any]") -> None:
    """What it had done by then stays done, and is in the audit."""
    doing.cancel()
    await asyncio.wait({doing})


class _NotOursError(Exception):
    """Another process has this work."""
