"""The walk beside the janitor through everything that is kept: what has had its time goes.

One step looks at so many documents and objects and no more; from the end of a walk to the next it rests. Any number of
processes may walk: the commands of two are the same, a document goes by a compared deletion, and deleting a file twice
is deleting it once. Which documents may go, and why that makes no work: ``streams/core/forgetting.py``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

import structlog

from repo import tracing
from repo.core.documents import DamagedDocumentError
from repo.core.object_keys import INPUTS, place_of
from repo.ports import EventLog, JobStore, Listed, ObjectStore, Unavailable
from repo.stores import ObjectStores
from repo.upkeep import UpkeepStore
from schemas.codec import encode
from schemas.commands import DeleteJob
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.forgetting import Kept, Verdict, verdict
from streams.core.keeping import deletion_of
from streams.deadletters import describe
from streams.patience import Patience
from streams.senders import Clock

log = structlog.get_logger()

JANITOR = "/openv/janitor"
STEP = 300  # documents, and objects of one store
PAUSE_S = 1.0  # between two steps: a walk over a million jobs takes an hour
RESTS_S = 60.0  # until it is looked whether the rest is over
REST_MS = 6 * 3_600_000
Sweep = Callable[[int], Awaitable[int]]  # given a time in ms: how much older than that it has deleted


class Forgetting:
    """One process's. ``aged``: what goes by its age alone, by what it is called; all for ``Kept.aged_ms``."""

    def __init__(
        self,
        store: JobStore,
        upkeep: UpkeepStore,
        objects: ObjectStores,
        event_log: EventLog,
        patience: Patience,
        clock: Clock,
        kept: Kept,
        aged: Mapping[str, Sweep] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._upkeep = upkeep
        self._objects = objects
        self._log = event_log
        self._patience = patience
        self._clock = clock
        self._kept = kept
        self._aged = aged
        self._jobs_at: str | None = ""
        self._objects_at: dict[str | None, str | None] = {}
        self._rests_until = 0

    async def run(self) -> None:
        """Walk for ever; what is away is waited for."""
        while True:
            more = await self.step()
            await asyncio.sleep(PAUSE_S if more else RESTS_S)

    async def step(self) -> bool:
        """Look at what comes next; whether there is more to look at now."""
        now = self._clock()
        if now < self._rests_until:
            return False
        if not self._objects_at and self._jobs_at == "":
            await self._begin(now)
        if self._jobs_at is not None:
            await self._look_at_jobs(self._jobs_at, now)
        for name, objects in self._objects.each():
            if (after := self._objects_at.get(name)) is not None:
                self._objects_at[name] = await self._look_at_objects(name, objects, after, now)
        if self._jobs_at is not None or any(at is not None for at in self._objects_at.values()):
            return True
        self._jobs_at, self._objects_at = "", {}
        self._rests_until = now + REST_MS
        return False

    async def _begin(self, now: int) -> None:
        """A walk begins: what needs no walk goes at once."""
        wanted = "" if self._kept.uploads_ms is not None else None
        self._objects_at = {name: wanted for name, _ in self._objects.each()}
        await self._sweep("expired sessions and one-time keys", self._upkeep.sweep_keys, self._kept.keys_ms, now)
        for what, sweep in self._aged.items():
            await self._sweep(what, sweep, self._kept.aged_ms, now)

    async def _sweep(self, what: str, sweep: Sweep, kept_ms: int | None, now: int) -> None:
        if kept_ms is None:
            return
        before = now - kept_ms
        gone = await self._patience.until_done(lambda: sweep(before))
        if gone:
            log.info("old ones deleted", what=what, count=gone)

    async def _look_at_jobs(self, after: str, now: int) -> None:
        page = await self._patience.until_done(lambda: self._upkeep.jobs_after(after, STEP))
        self._jobs_at = page.last
        for job_id in page.damaged:
            log.error("job can't be read: repair or delete its document", job_id=job_id)
        terms = self._kept.terms(now)
        verdicts = [(job, verdict(job, terms, now)) for job in page.jobs]
        commands = [deletion_of(job) for job, judged in verdicts if judged is Verdict.DELETED]
        if commands:
            await self._delete(commands, now)
        gone = [job.state for job, judged in verdicts if judged is Verdict.REMOVED and await self._remove(job)]
        if gone:
            log.info(
                "old documents removed",
                deleted=sum(state is State.DELETED for state in gone),
                rejected=sum(state is State.REJECTED for state in gone),
            )

    async def _delete(self, commands: Sequence[DeleteJob], now: int) -> None:
        encoded = [encode(one, source=JANITOR, at=now, traceparent=tracing.traceparent(one.job_id)) for one in commands]
        await self._patience.until_done(lambda: self._log.append_all(encoded))
        log.info("old videos are deleted", count=len(commands))

    async def _remove(self, job: Job) -> bool:
        """Unless the account still holds it as pending: the ledger would store that copy again."""
        try:
            account = await self._patience.until_done(lambda: self._store.account(job.user_id))
        except DamagedDocumentError as error:
            log.error("an old document stays: its account can't be read", job_id=job.job_id, cause=describe(error))
            return False
        if account is not None and job.job_id in account.pending:
            return False
        return await self._patience.until_done(lambda: self._upkeep.remove_job(job))

    async def _look_at_objects(self, name: str | None, objects: ObjectStore, after: str, now: int) -> str | None:
        """Delete inputs that no job refers to. A store that is away is passed by until the next walk."""
        try:
            page = await objects.list_after(after, STEP)
            gone = await self._strays(page, now)
            if gone:
                await objects.delete(gone)
                log.info("old uploads of no job deleted", count=len(gone), store=name)
        except Unavailable as absent:
            log.warning("old uploads are not looked for", server=absent.server, reason=absent.reason)
            return None
        return page[-1].key if len(page) == STEP else None

    async def _strays(self, page: Sequence[Listed], now: int) -> list[str]:
        """A submission that is not decided yet is younger than what is looked for here."""
        by = now - (self._kept.uploads_ms or 0)
        old = [(one.key, place) for one in page if one.modified_at <= by and (place := place_of(one.key)) is not None]
        inputs = {key: place for key, place in old if place.folder == INPUTS}
        ids = {place.job_id for place in inputs.values()}
        known = await self._patience.until_done(lambda: self._upkeep.known_jobs(ids))
        return [
            key
            for key, place in inputs.items()
            if place.job_id not in known
            or ((job := known[place.job_id]) is not None and job.state is State.DELETED and _is_of(job, place.user_id))
        ]


def _is_of(job: Job, user_id: str) -> bool:
    return job.user_id == user_id
