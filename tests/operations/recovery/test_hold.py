"""Two restores, two rebuilds, or one of each at once: one holds the database, and who lost it changes nothing more."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from operations.recovery import restore as restoring
from operations.recovery import standing
from operations.recovery.restore import Into
from operations.recovery.standing import LEASE_MS, Hold, hold
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.mongo_copies import MongoCopies
from schemas.identities import Identity, Standing
from tests.operations.recovery.rig import Room, a_job

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@pytest.fixture
def halted(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """A restore that has begun to store (the first event) goes on with the second."""
    there, on, stored = asyncio.Event(), asyncio.Event(), restoring._stored

    async def slowly(*arguments: Any) -> int:
        there.set()
        await on.wait()
        return await stored(*arguments)

    monkeypatch.setattr(restoring, "_stored", slowly)
    yield there, on
    on.set()


async def stands(room: Room) -> Identity:
    found = await room.database.identities.identity()
    assert found is not None
    return found


async def test_of_restores_and_rebuilds_at_once_one_is_at_work(
    room: Room, halted: tuple[asyncio.Event, asyncio.Event]
) -> None:
    there, on = halted
    await room.store(a_job(1), a_job(2))
    await room.back_up("one.gz")
    await room.store(a_job(3))
    await room.back_up("other.gz")
    await room.empty()
    first = asyncio.create_task(room.restore("one.gz"))
    await there.wait()
    for again in (room.restore("one.gz"), room.restore("other.gz", Into.REPLACE), room.rebuild()):
        with pytest.raises(StackError, match="Another restore or rebuild is at work"):
            await again
    on.set()
    await first
    assert set((await room.everything())["jobs"]) == {"job-1", "job-2"}
    assert ((await stands(room)).standing, (await stands(room)).holder) == (Standing.RESTORED, None)
    await room.rebuild()
    assert (await stands(room)).standing is Standing.OPEN


async def test_who_was_taken_for_dead_changes_nothing_more(
    room: Room, halted: tuple[asyncio.Event, asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, on = halted
    await room.store(a_job(1))
    await room.back_up()
    await room.empty()
    late = asyncio.create_task(room.restore())
    await there.wait()
    monkeypatch.undo()  # what is stored by the second one is not halted
    monkeypatch.setattr(standing, "now_ms", lambda: now_ms() + LEASE_MS + 1)
    monkeypatch.setattr(standing, "NOTICED_S", 0.0)
    await room.restore()
    await room.rebuild()
    opened = await stands(room)
    on.set()
    with pytest.raises(StackError, match="has the database now"):
        await late
    assert await stands(room) == opened, "it stays open"


async def test_of_two_that_begin_together_one_begins(room: Room) -> None:
    known = await stands(room)

    async def one() -> None:
        async with hold(room.database, known, Standing.REBUILDING):
            await asyncio.sleep(0.1)

    ends = await asyncio.gather(one(), one(), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "StackError"]
    await room.database.connection.collection("identity").delete_many({})
    known_none = [hold(room.database, None, Standing.RESTORING) for _ in range(2)]
    async with known_none[0]:
        with pytest.raises(StackError, match="just closed or opened"):
            await known_none[1].__aenter__()


async def test_a_lease_is_renewed_and_given_back(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    known, later = await stands(room), 0
    monkeypatch.setattr(standing, "now_ms", lambda: now_ms() + later)
    with suppress(KeyboardInterrupt):
        async with hold(room.database, known, Standing.REBUILDING, backup_id="b") as held:
            first = (await stands(room)).held_until
            await held.sure()
            assert (await stands(room)).held_until == first, "not at each step"
            later = LEASE_MS * 2
            await held.sure()
            assert (await stands(room)).held_until > first + LEASE_MS
            raise KeyboardInterrupt
    left = await stands(room)
    assert (left.standing, left.holder, left.backup_id) == (Standing.REBUILDING, None, "b")
    assert isinstance(held, Hold)


async def test_a_replacement_that_was_killed_while_it_deleted_is_taken_for_no_restore(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.store(a_job(1, 2))
    await room.back_up()
    await room.store(a_job(7, 9))
    cleared, clear = list[str](), MongoCopies.clear

    async def killed(self: MongoCopies, name: str) -> None:
        if name == "jobs":
            raise KeyboardInterrupt
        cleared.append(name)
        await clear(self, name)

    monkeypatch.setattr(MongoCopies, "clear", killed)
    with pytest.raises(KeyboardInterrupt):
        await room.restore(into=Into.REPLACE)
    monkeypatch.undo()
    assert cleared == ["applied_offsets", "accounts"]
    with pytest.raises(StackError, match="not empty: it holds jobs"):
        await room.restore()
    with pytest.raises(StackError, match="run `openv restore` again"):
        await room.rebuild()
    monkeypatch.setattr(standing, "NOTICED_S", 0.0)
    await room.restore(into=Into.REPLACE)
    assert set((await room.everything())["jobs"]) == {"job-1"}
