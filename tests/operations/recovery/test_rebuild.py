"""Rebuilding from the log: the newest announced form of each document, never an older one; and what differs is told."""

import random
from dataclasses import replace

import pytest

from operations.recovery import events
from operations.recovery import verify as verifying
from operations.recovery.events import span, stretches
from operations.recovery.verify import Difference, verify
from repo.core.documents import to_document
from schemas.accounts import Role
from schemas.codec import Encoded, encode
from schemas.events import CommandAnswered, JobEvent, Outcome
from schemas.identities import Identity, Standing
from schemas.lifecycle import State
from schemas.topics import EVENTS
from tests.operations.recovery.rig import THEN, Room, a_full_one, a_job, an_account

pytestmark = pytest.mark.servers


async def other_events(room: Room) -> None:
    """An answer, and records that nobody can read."""
    answer = CommandAnswered(command_id="c", user_id="user-1", outcome=Outcome.DONE)
    await room.log.append(encode(answer, source="/test", at=THEN))
    event = encode(JobEvent(a_job(1, 99)), source="/test", at=THEN)
    await room.log.append(Encoded(EVENTS.name, event.key, b'{"prompt": "torn', event.headers))
    await room.log.append(Encoded(EVENTS.name, b"user-1", b"{}", ()))


async def test_jobs_and_accounts_come_back_from_the_log_alone(room: Room) -> None:
    await room.announce(a_job(1), a_job(2), a_job(1, 2), a_full_one(), an_account("user-1"), an_account("user-1", 4))
    await other_events(room)
    await room.announce(a_job(1), a_job(3, 4, state=State.DELETED))  # said again, and a tombstone
    done = await room.rebuild()
    assert (done.read, done.unreadable, done.cut) == (11, 1, 0)
    assert done.stored == {"jobs": 4, "accounts": 1}
    jobs = room.database.jobs
    for job in (a_job(1, 2), a_job(2), a_full_one(), a_job(3, 4, state=State.DELETED)):
        assert await jobs.job(job.job_id) == job
    assert await jobs.account("user-1") == an_account("user-1", 4)
    assert (done.comparison.different, done.comparison.same) == (0, {"jobs": 4, "accounts": 1})
    assert (await room.rebuild()).stored == {"jobs": 0, "accounts": 0}


async def test_a_newer_document_is_never_replaced(room: Room) -> None:
    live = an_account("user-1", 7, pending={"job-1": a_job(1)})
    await room.store(a_job(1, 5), a_job(2, 1), live)
    await room.announce(a_job(1, 4), a_job(2, 3), an_account("user-1", 7), an_account("user-2", 2))
    done = await room.rebuild()
    assert done.stored == {"jobs": 1, "accounts": 1}
    assert await room.database.jobs.job("job-1") == a_job(1, 5)
    assert await room.database.jobs.job("job-2") == a_job(2, 3)
    assert await room.database.jobs.account("user-1") == live  # what is pending is not announced
    assert (done.comparison.different, done.comparison.passed) == (0, 1)


async def test_any_order_and_any_stretches_end_the_same(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(8)
    told = [a_job(number, version) for number in range(40) for version in range(1, 6)]
    chance.shuffle(told)
    await room.announce(*told)
    monkeypatch.setattr(events, "RECORDS_AT_ONCE", 7)  # stretches of ten
    done = await room.rebuild()
    assert done.read == len(told)
    for number in range(40):
        assert await room.database.jobs.job(f"job-{number}") == a_job(number, 5)
    assert done.comparison.different == 0


async def test_after_a_restore_only_what_came_since_is_read(room: Room) -> None:
    await room.store(a_job(1))
    await room.announce(a_job(1))
    await room.back_up()
    await room.announce(a_job(1, 2), a_job(2))
    await room.empty()
    await room.restore()
    done = await room.rebuild()
    assert (done.read, done.stored["jobs"]) == (2, 2)
    assert (await room.rebuild()).read == 3  # a database that was open is read for from the start
    assert await room.database.jobs.job("job-1") == a_job(1, 2)


async def test_it_is_counted_what_no_event_tells_of(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await room.store(a_job(1, 2), a_job(2), an_account("user-1"), an_account("untold"))
    await room.announce(a_job(1), a_job(1, 2), an_account("user-1"), an_account("user-2"))
    found = await verify(room.place)
    assert (found.read, found.stored, found.told_of) == (4, {"jobs": 2, "accounts": 2}, {"jobs": 1, "accounts": 1})
    monkeypatch.setattr(verifying, "REMEMBERED", 2)
    found = await verify(room.place)
    assert (found.stored, found.told_of) == ({"jobs": 2, "accounts": 2}, None)
    await room.back_up()
    await room.empty()
    await room.restore()
    nothing = {"jobs": 0, "accounts": 0}
    done = await room.rebuild()
    assert (done.comparison.read, done.comparison.told_of, done.stored) == (0, nothing, nothing)
    assert done.comparison.stored == {"jobs": 2, "accounts": 2}


async def test_a_rebuild_that_was_killed_begins_where_it_began(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await room.store(a_job(1))
    await room.announce(a_job(1))
    await room.back_up()
    await room.announce(*(a_job(number, 2) for number in range(20)))
    await room.empty()
    await room.restore()
    monkeypatch.setattr(events, "RECORDS_AT_ONCE", 5)
    stored = room.database.connection.collection("jobs")
    bulk, calls = type(room.database.copies).store_newer, 0

    async def killed(*arguments: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return await bulk(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(room.database.copies), "store_newer", killed)
    with pytest.raises(KeyboardInterrupt):
        await room.rebuild()
    monkeypatch.undo()
    left = await room.database.identities.identity()
    assert left is not None
    assert left.standing is Standing.REBUILDING
    assert 0 < await stored.count_documents({}) < 20
    done = await room.rebuild()
    assert done.read == 20
    assert await stored.count_documents({}) == 20
    opened = await room.database.identities.identity()
    assert opened is not None
    assert (opened.standing, opened.recovered) == (Standing.OPEN, True)
    assert opened.identity != left.identity


async def test_what_the_log_has_cut_off_since_the_backup_is_said(room: Room) -> None:
    await room.back_up()
    await room.announce(*(a_job(1, version) for version in range(1, 11)))
    partition = room.log.partition_of(EVENTS.name, b"user-1")
    room.log.trim(EVENTS.name, partition, 4)
    await room.empty()
    await room.restore()
    done = await room.rebuild()
    assert (done.cut, done.read) == (4, 6)
    assert await room.database.jobs.job("job-1") == a_job(1, 10)


async def test_a_topic_that_was_made_anew_is_read_whole(room: Room) -> None:
    await room.announce(a_job(1, 3))
    ahead = dict.fromkeys(await room.log.ends(EVENTS.name), 1_000)
    closed = Identity(identity="x", made_at=1, standing=Standing.RESTORED, positions={EVENTS.name: ahead})
    assert await room.database.identities.replace(closed, await room.database.identities.identity())
    assert (await room.rebuild()).read == 1


async def test_offsets_without_a_record_are_no_end_of_the_wait(room: Room) -> None:
    """A transaction leaves marks, which no reader is given."""
    await room.announce(a_job(1))
    of = await span(room.log, EVENTS.name, None)
    beyond = {partition: end + 1 for partition, end in of.end.items()}
    found = [record async for batch in stretches(room.log, EVENTS.name, replace(of, end=beyond)) for record in batch]
    assert len(found) == 1


async def test_verify_names_what_differs_and_changes_nothing(room: Room) -> None:
    told = a_job(1, 3, labels={"secret name": "a"})
    damaged = {**to_document(a_job(5, 2), "job-5"), "state": "no such state"}
    await room.announce(told, a_job(2, 2), a_job(3, 2), a_job(4, 2), a_job(5, 2), an_account("user-1", 2))
    altered = replace(told, request=replace(told.request, prompt="another"), priority=3, labels={"secret name": "b"})
    await room.store(altered, a_job(2, 1), a_job(4, 9), an_account("user-1", 2, role=Role.ADMIN))
    await room.database.copies.add("jobs", [damaged])
    before, identity = await room.everything(), await room.database.identities.identity()
    found = await verify(room.place)
    assert sorted(found.shown, key=lambda one: one.document_id) == [
        Difference("jobs", "job-1", 3, 3, "differs", ("labels", "priority", "request.prompt")),
        Difference("jobs", "job-2", 2, 1, "older"),
        Difference("jobs", "job-3", 2, None, "missing"),
        Difference("jobs", "job-5", 2, 2, "damaged"),
        Difference("accounts", "user-1", 2, 2, "differs", ("role",)),
    ]
    assert (found.different, found.passed, found.same) == (5, 1, {"jobs": 0, "accounts": 0})
    assert "another" not in repr(found)
    assert await room.everything() == before
    assert await room.database.identities.identity() == identity


async def test_a_document_that_was_damaged_by_hand_is_as_it_was_announced_again(room: Room) -> None:
    jobs = room.database.connection.collection("jobs")
    for number in range(4):
        await room.store(a_job(number, 2))
        await room.announce(a_job(number, 1), a_job(number, 2))
    await jobs.update_one({"_id": "job-0"}, {"$set": {"createdAt": "no date"}})
    await jobs.update_one({"_id": "job-1"}, {"$set": {"version": "x"}})
    await jobs.update_one({"_id": "job-2"}, {"$set": {"state": "lost", "version": 9}})  # no event is as new
    shown = await verify(room.place)
    assert {one.document_id: (one.what, one.announced) for one in shown.shown} == {
        "job-0": ("damaged", 2),
        "job-1": ("damaged", 2),
        "job-2": ("damaged", None),
    }
    assert (shown.different, shown.untold) == (3, 1)
    done = await room.rebuild()
    assert (done.stored["jobs"], done.comparison.different, done.comparison.untold) == (2, 1, 1)
    known = await room.database.upkeep.known_jobs([f"job-{number}" for number in range(4)])
    assert known == {"job-2": None, **{f"job-{number}": a_job(number, 2) for number in (0, 1, 3)}}


async def test_a_damaged_account_is_as_it_was_last_announced_and_one_never_announced_is_named(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.recovery.events.RECORDS_AT_ONCE", 1)  # each event is a stretch of its own
    accounts = room.database.connection.collection("accounts")
    await room.announce(an_account("told", 1), an_account("told", 3))
    await room.store(an_account("told", 8), an_account("untold", 2), an_account("well", 1))
    await accounts.update_one({"_id": "told"}, {"$set": {"role": "king"}})
    await accounts.update_one({"_id": "untold"}, {"$set": {"version": "seven"}})
    found = await verify(room.place)
    assert {(one.document_id, one.what, one.announced) for one in found.shown} >= {("untold", "damaged", None)}
    assert (found.different, found.untold) == (2, 1)
    done = await room.rebuild()
    assert await room.database.jobs.account("told") == an_account("told", 3)
    assert (done.comparison.different, done.comparison.untold) == (1, 1)
    assert [one.document_id for one in done.comparison.shown] == ["untold"]
