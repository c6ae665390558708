"""A process knows its database again, and uses no other, even where a connection was opened under its hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from repo.core.documents import to_document
from repo.mongo import MongoDatabase
from repo.mongo_guard import Guard, NotTheDatabase
from repo.ports import OtherDatabase
from schemas.identities import Identity
from tests.contracts.test_job_store import through
from tests.operations.recovery.rig import Room, a_job
from tests.servers import Wire

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@asynccontextmanager
async def a_process(room: Room, *, adopts: bool = True) -> AsyncIterator[tuple[MongoDatabase, Wire]]:
    """A client that has used the database, over a wire."""
    target = urlsplit(room.settings.mongodb_uri)
    async with (
        Wire(target.hostname or "", target.port or 0) as wire,
        MongoDatabase(through(room.settings, wire.port), adopts=adopts) as database,
    ):
        await database.prepare()
        assert await database.jobs.job("any") is None
        yield database, wire


class Told:
    """A guard, what it finds, and a clock."""

    def __init__(self, *, adopts: bool = True) -> None:
        self.found: Identity | None = None
        self.looks = 0
        self.now = 0.0
        self.away: Exception | None = None
        self.guard = Guard(self._read, adopts=adopts, clock=lambda: self.now)

    async def _read(self) -> dict[str, Any] | None:
        self.looks += 1
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away
        return None if self.found is None else to_document(self.found, "database")

    async def ask(self) -> str:
        async def question() -> str:
            await asyncio.sleep(0)
            return "answer"

        return await self.guard.ask(question)


async def test_it_looks_once_for_many_questions() -> None:
    told = Told()
    told.found = Identity(identity="one", made_at=1)
    assert await asyncio.gather(*(told.ask() for _ in range(500))) == ["answer"] * 500
    assert told.looks == 1
    for _ in range(500):
        await told.ask()
    assert told.looks == 1
    told.now = 1.5
    await asyncio.gather(*(told.ask() for _ in range(500)))
    assert told.looks == 2


async def test_a_connection_that_was_opened_under_a_question_is_looked_at_before_its_answer_counts() -> None:
    told = Told()
    told.found = Identity(identity="one", made_at=1)
    await told.ask()
    told.found = None

    async def question() -> str:
        told.guard.connections.count += 1
        return "nothing is there"

    with pytest.raises(NotTheDatabase):
        await told.guard.ask(question)


async def test_a_look_that_fails_is_no_verdict() -> None:
    told = Told()
    told.found = Identity(identity="one", made_at=1)
    await told.ask()
    told.now, told.away = 9.0, ConnectionError("away")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await told.ask()
    told.away = None
    assert await told.ask() == "answer"


async def test_no_write_meets_an_empty_database_that_took_the_place(room: Room) -> None:
    async with a_process(room) as (database, wire):
        await room.empty()
        wire.hang_up()  # as after the server's death; the driver opens another connection and says nothing
        with pytest.raises(OtherDatabase, match="this is not the database that was here"):
            await database.jobs.store_applied_offsets("ledger", {0: 5})
        with pytest.raises(OtherDatabase):
            await database.jobs.store_job(a_job(1), 0)
        with pytest.raises(OtherDatabase):
            await database.jobs.ping()
        assert await room.everything() == {}


async def test_another_database_in_its_place_is_none_either(room: Room) -> None:
    async with a_process(room) as (database, wire):
        await room.empty()
        await room.database.prepare()  # a process that began anew
        wire.hang_up()
        with pytest.raises(OtherDatabase, match="another database than the one that was here"):
            await database.jobs.job("any")


async def test_the_same_database_after_an_outage_is_gone_on_with(room: Room) -> None:
    async with a_process(room) as (database, wire):
        await wire.cut()
        await wire.mend()
        assert await database.jobs.store_job(a_job(1), 0)


async def test_who_keeps_nothing_goes_on_with_a_rebuilt_one_and_who_reads_on_begins_anew(room: Room) -> None:
    async with a_process(room) as (gateway, wire), a_process(room, adopts=False) as (streams, other):
        replaced = asyncio.create_task(streams.until_replaced())
        await room.announce(a_job(1))
        await room.empty()
        wire.hang_up()
        other.hang_up()
        for one in (gateway, streams):
            with pytest.raises(OtherDatabase):
                await one.jobs.job("job-1")
        assert not replaced.done()
        await room.rebuild()
        async with asyncio.timeout(30):
            await replaced
        with pytest.raises(OtherDatabase, match="must start again"):
            await streams.jobs.store_applied_offsets("ledger", {0: 5})
        gateway.connection.guard.forget()
        assert await gateway.jobs.job("job-1") == a_job(1)
        assert await room.database.jobs.applied_offsets("ledger") == {}


async def test_two_who_prepare_at_once_give_one_identity(room: Room) -> None:
    await room.empty()
    async with a_process(room) as (one, _), a_process(room) as (other, _):
        assert await one.identities.identity() == await other.identities.identity() is not None
    await room.empty()
    await asyncio.gather(*(room.database.identities.establish() for _ in range(8)))
    known = await room.database.identities.identity()
    await room.database.identities.establish()
    assert await room.database.identities.identity() == known
