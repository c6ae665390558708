"""Long works: begun by a request, run beside it, and gone on with by whichever admin process lives.

Each is a document that is compared at every step (``schemas/works.py``, ``operations/core/works.py``): of several
processes one holds it; who is too late to renew its lease stops.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
from operations.core.works import LEASE_MS, broken, ended, released, renewed, taken
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
LOST = "It ended by a defect; the log of the admin process says which."
logger = structlog.get_logger()

Run = Callable[[Mapping[str, Any], Actor], Awaitable[Any]]
MayStill = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of work is done: from its arguments, for whom, to what JSON can hold. ``resumable``: begun again by
    another process it goes on, or does no harm. ``alone``: one at a time, for it costs much."""

    run: Run
    resumable: bool
    alone: bool = False


async def anybody(_: str) -> bool:
    """Nobody is asked twice."""
    return True


class Works:
    """One a process. ``may_still``: whether who asked for a work, as the audit names them, still might."""

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
                    raise Refused(Problem.BUSY, words=f"One at a time: work {one.work_id} does that now.")

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
        for work in await self._store.unfinished_works():
            if len(self._under_way) >= AT_ONCE:
                return
            kind = self._kinds.get(work.kind)
            if kind is None or work.work_id in self._under_way:
                continue
            gone = work.holder is not None and is_gone(work.holder)
            mine = taken(work, self._holder, self._now(), resumable=kind.resumable, gone=gone)
            if mine is not None and not await self._may_still(work.actor):
                mine = broken(work, self._now(), NO_LONGER)
            if mine is None or not await self._store.store_work(mine, work.version):
                continue
            if mine.state is WorkState.RUNNING:
                task = asyncio.create_task(self._do(mine, kind))
                self._under_way[work.work_id] = task
                task.add_done_callback(partial(self._over, work.work_id))
            else:
                self._metrics.left_out(mine.kind, str(mine.state) if mine.error == NO_LONGER else GIVEN_UP)
                logger.warning("work_given_up", work=mine.work_id, kind=mine.kind, tries=mine.tries)

    def _over(self, work_id: str, _: asyncio.Task[None]) -> None:
        self._under_way.pop(work_id, None)
        self._poked.set()

    async def _do(self, work: Work, kind: Kind) -> None:
        doing = asyncio.ensure_future(kind.run(json.loads(work.arguments), Actor(work.actor, VIA, work.address)))
        held, began, outcome = work, time.monotonic(), RELEASED
        self._metrics.took()
        try:
            while True:
                await asyncio.wait({doing}, timeout=RENEW_EVERY_S)
                if doing.done():
                    break
                held = await self._renewed(held)
                if not await self._is_wanted(work.actor):
                    await _stopped(doing)
                    break
            last = self._end_of(held, doing)
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

    async def _is_wanted(self, actor: str) -> bool:
        """Also while that can't be known: then the lease says how long."""
        try:
            return await self._may_still(actor)
        except Unavailable:
            return True

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

    def _end_of(self, held: Work, doing: "asyncio.Future[Any]") -> Work:
        now = self._now()
        if doing.cancelled():  # by ``_stopped``: nothing else does that to it
            return broken(held, now, NO_LONGER)
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
