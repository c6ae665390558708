"""A database of its own on the real server, a log in memory, and what an operator does with both."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from operations.audit.recording import Actor
from operations.recovery.backup import BackupMade, backup
from operations.recovery.place import Place
from operations.recovery.rebuild import Rebuilt, rebuild
from operations.recovery.restore import Into, Restored, restore
from repo.core.documents import to_document
from repo.memory import MemoryEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.accounts import Account, Grant
from schemas.codec import Record, encode
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from tests.contracts.test_job_store import a_full_job

ACTOR = Actor("tester@here", "cli", "here")
THEN = 1_790_000_000_000
PAGE = 5


def a_job(number: int, version: int = 1, **changes: Any) -> Job:
    """A job whose newer versions differ from its older ones."""
    state = State.QUEUED if version == 1 else State.COMPLETED
    job = Job(
        job_id=f"job-{number}",
        user_id=f"user-{number % 3}",
        pool="mochi-1",
        state=state,
        version=version,
        request=GenerationRequest(prompt=f"a corgi, number {number}"),
        request_hash="0" * 32,
        charge=Charge(state=ChargeState.RESERVED, seconds=1.5, reserved_at=THEN),
        created_at=THEN,
        updated_at=THEN + version,
        due_at=THEN,
        expires_at=THEN + 86_400_000,
        execution_timeout_ms=3_600_000,
        labels={"a.b$c": "d"},
    )
    return replace(job, **changes)


def a_full_one(version: int = 7) -> Job:
    """Every member set."""
    return replace(a_full_job("user-full"), job_id="job-full", version=version)


def an_account(user: str, version: int = 1, **changes: Any) -> Account:
    grant = Grant(grant_id=f"g{version}", credits=version / 3, granted_at=THEN)
    return replace(Account(user_id=user, version=version, grants=(grant,)), **changes)


class PagedLog(MemoryEventLog):
    """Its batches are small, as a broker's may be."""

    async def tail(self, topic: str, start: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
        """See ``EventLog.tail``."""
        async for batch in super().tail(topic, start):
            yield batch[:PAGE]
            for first in range(PAGE, len(batch), PAGE):
                yield batch[first : first + PAGE]


@dataclass
class Room:
    """``place`` is what the commands work on."""

    place: Place
    settings: ServerSettings
    folder: Path

    @property
    def database(self) -> MongoDatabase:
        return self.place.database

    @property
    def log(self) -> MemoryEventLog:
        assert isinstance(self.place.log, MemoryEventLog)
        return self.place.log

    async def announce(self, *values: Job | Account) -> None:
        """As the ledger does."""
        for value in values:
            event = JobEvent(value) if isinstance(value, Job) else AccountEvent(value)
            await self.log.append(encode(event, source="/test", at=THEN))

    async def store(self, *values: Job | Account) -> None:
        """As they are, whatever is there."""
        for name, kind in (("jobs", Job), ("accounts", Account)):
            documents = [
                to_document(one, one.job_id if isinstance(one, Job) else one.user_id)
                for one in values
                if isinstance(one, kind)
            ]
            await self.database.copies.delete(name, [one["_id"] for one in documents])
            await self.database.copies.add(name, documents)

    async def everything(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """All documents by collection and id, but for the database's identity."""
        found: dict[str, dict[str, Mapping[str, Any]]] = {}
        for name in await self.database.copies.names():
            documents = [one async for batch in self.database.copies.read(name, 100) for one in batch]
            found[name] = {one["_id"]: one for one in documents}
        found.pop("identity", None)
        return {name: documents for name, documents in found.items() if documents}

    async def empty(self) -> None:
        """As after the loss of its files."""
        for name in await self.database.copies.names():
            await self.database.copies.clear(name)

    async def back_up(self, name: str = "backup.gz") -> BackupMade:
        return await backup(self.place, ACTOR, self.folder / name)

    async def restore(self, name: str = "backup.gz", into: Into = Into.EMPTY) -> Restored:
        return await restore(self.place, ACTOR, self.folder / name, into)

    async def rebuild(self, *, whole: bool = False) -> Rebuilt:
        return await rebuild(self.place, ACTOR, whole=whole)


@asynccontextmanager
async def a_room(settings: ServerSettings, folder: Path) -> AsyncIterator[Room]:
    """Empty, and open."""
    own = settings.model_copy(update={"mongodb_database": f"recovery_{uuid.uuid4().hex[:12]}"})
    async with MongoDatabase(own, guarded=False) as database:
        await database.prepare()
        yield Room(Place(PagedLog(), database, own.mongodb_database), own, folder)
