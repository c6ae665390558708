"""Backups: what is in one, that it comes back as it was, that a damaged one changes nothing, what a merge keeps."""

import gzip
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from operations.core.recovery_table import HOLDINGS, IDENTITY, TABLE, unknown
from operations.doctor.commands import doctor
from operations.recovery import restore as restoring
from operations.recovery.restore import Into, checked
from operations.stack.errors import StackError
from repo.mongo import INDEXES, MongoDatabase
from repo.mongo_connection import Collection, MongoConnection
from repo.ports import Unavailable
from schemas.access import ApiKey, KeyKind, Person
from schemas.accounts import Role
from schemas.audit import AuditEntry
from schemas.codec import decode
from schemas.identities import Identity, Standing
from schemas.topics import AUDIT, COMMANDS, EVENTS
from tests.operations.recovery.rig import THEN, Room, a_full_one, a_job, an_account

pytestmark = pytest.mark.servers


def a_key(name: str, kind: KeyKind = KeyKind.KEY) -> ApiKey:
    return ApiKey(key_hash=name, prefix="ov_", user_id="user-1", role=Role.USER, name=name, created_at=THEN, kind=kind)


def files(room: Room) -> list[str]:
    return [file.name for file in room.folder.iterdir()]


async def fill(room: Room, jobs: int = 20) -> None:
    await room.store(*(a_job(number) for number in range(jobs)), a_full_one(), an_account("user-1", 3))
    await room.database.access.store_api_key(a_key("lasting"))
    await room.database.jobs.store_applied_offsets("ledger", {0: 11, 3: 2**40})


async def refused(room: Room, name: str, words: str) -> None:
    """Nothing was written, nobody is kept out."""
    before, identity = await room.everything(), await room.database.identities.identity()
    with pytest.raises(StackError, match=words):
        await room.restore(name, Into.REPLACE)
    assert await room.everything() == before
    assert await room.database.identities.identity() == identity


async def test_every_collection_that_a_store_has_is_in_the_table(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    collection = MongoConnection.collection

    def noted(self: MongoConnection, name: str) -> Collection:
        asked.add(name)
        return collection(self, name)

    monkeypatch.setattr(MongoConnection, "collection", noted)
    async with MongoDatabase(room.settings) as database:
        await database.prepare()
    assert asked - {IDENTITY} == set(TABLE) == set(INDEXES) - {IDENTITY}
    assert unknown(await room.database.copies.names()) == []
    assert len(HOLDINGS) == len(TABLE)


async def test_what_was_backed_up_comes_back_as_it_was(room: Room) -> None:
    await fill(room, 1_200)  # more than are read at once
    await room.announce(a_job(1), a_job(2))
    before = await room.everything()
    made = await room.back_up()
    assert made.counts == {one.name: len(before.get(one.name, {})) for one in HOLDINGS}
    assert made.header.positions == {name: await room.log.ends(name) for name in (EVENTS.name, COMMANDS.name)}
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert files(room) == ["backup.gz"]

    await room.empty()
    done = await room.restore()
    assert done.stored == made.counts
    assert await room.everything() == before
    assert await room.database.jobs.job("job-full") == a_full_one()
    raw = await room.database.connection.collection("applied_offsets").find_one({"_id": "ledger:3"})
    assert raw is not None
    assert (type(raw["offset"]).__name__, raw["offset"]) == ("Int64", 2**40)


async def test_a_restored_database_is_closed_until_it_is_rebuilt(room: Room) -> None:
    await fill(room)
    await room.back_up()
    await room.restore(into=Into.REPLACE)
    with pytest.raises(StackError, match="run `openv rebuild`"):
        await room.back_up("another.gz")
    async with MongoDatabase(room.settings) as fresh:
        with pytest.raises(Unavailable, match="run `openv rebuild`, which opens it"):
            await fresh.prepare()
        await room.rebuild()
        fresh.connection.guard.forget()
        assert await fresh.jobs.job("job-1") == a_job(1)


async def test_a_backup_replaces_no_file_and_leaves_none_where_it_failed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(room)
    await room.back_up()
    content = (room.folder / "backup.gz").read_bytes()
    with pytest.raises(StackError, match="replaces none"):
        await room.back_up()
    assert (room.folder / "backup.gz").read_bytes() == content
    with pytest.raises(StackError, match="can't be written"):
        await room.back_up("no/such/folder.gz")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StackError, match="No space left on device"):
        await room.back_up("another.gz")
    assert files(room) == ["backup.gz"]


async def test_a_database_that_changes_its_identity_meanwhile_makes_no_backup(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(room)
    answers = iter([Identity(identity="one", made_at=1), Identity(identity="two", made_at=2)])

    async def identity() -> Identity:
        return next(answers)

    monkeypatch.setattr(room.database.identities, "identity", identity)
    with pytest.raises(StackError, match="replaced while it was read"):
        await room.back_up()
    assert files(room) == []


async def test_a_collection_that_nobody_knows_is_said(room: Room) -> None:
    await room.database.connection.collection("invoices").insert_one({"_id": "1"})
    await room.database.connection.collection("doctor_probes").insert_one({"_id": "2", "at": THEN})
    with pytest.raises(StackError, match="holds invoices, which"):
        await room.back_up()
    await room.database.connection.collection("invoices").delete_many({})
    assert "invoices" in await room.database.copies.names()
    await room.back_up()  # nothing in it would be missed


async def test_a_backup_is_made_after_the_doctor_looked(
    room: Room, servers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(room)
    for name, value in {**servers, "MONGODB_DATABASE": room.place.name}.items():
        monkeypatch.setenv(name, value)
    identities = room.database.connection.collection(IDENTITY)
    await identities.insert_one({"_id": "probe:of a doctor that died", "probedAt": THEN})
    before, identity, names = await room.everything(), await identities.find_one({"_id": "database"}), set(TABLE)
    said = io.StringIO()
    assert await doctor(Path("nowhere"), Console(file=said), only=["mongodb"], older_than_ms=1) == 0, said.getvalue()
    assert set(await room.database.copies.names()) <= names | {IDENTITY}
    assert await identities.find({}).to_list(None) == [identity], "its own probe went, and the other's"
    assert (await room.back_up()).counts["jobs"] == len(before["jobs"])
    assert await room.everything() == before


async def test_a_damaged_file_changes_nothing(room: Room) -> None:
    await fill(room)
    whole = (await room.back_up()).file.read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    await room.store(a_job(1, 9))
    damaged = {
        "cut.gz": whole[:-100],
        "halved.gz": whole[: len(whole) // 2],
        "flipped.gz": whole[:900] + bytes([whole[900] ^ 1]) + whole[901:],
        "empty.gz": b"",
        "text.gz": b"not a backup at all\n",
        "no manifest.gz": gzip.compress(b"".join(lines[:-1])),
        "one less.gz": gzip.compress(b"".join(line for line in lines if b'"job-7"' not in line)),
        "changed.gz": gzip.compress(b"".join(lines).replace(b"number 17", b"number 18")),
        "other header.gz": gzip.compress(b"".join(lines).replace(b'"openv.events"', b'"openv.evants"')),
        "more.gz": gzip.compress(b"".join(lines) + b"{}\n"),
        "other text.gz": gzip.compress(b"hello\n"),
        "no object.gz": gzip.compress(b"#header []\n"),
        "endless.gz": gzip.compress(b"#header " + b"x" * 1_000),
    }
    for name, content in damaged.items():
        (room.folder / name).write_bytes(content)
        await refused(room, name, "can't be restored")
    (room.folder / "newer.gz").write_bytes(
        gzip.compress(lines[0].replace(b'"formatVersion":1', b'"formatVersion":2') + b"".join(lines[1:]))
    )
    await refused(room, "newer.gz", "made by OpenV")
    await refused(room, "none.gz", "can't be read")
    assert (await checked(room.folder / "backup.gz")).documents == 20 + 1 + 1 + 1 + 2


async def test_a_database_that_is_not_empty_is_left_alone_unless_told(room: Room) -> None:
    await fill(room)
    await room.back_up()
    before = await room.everything()
    with pytest.raises(StackError, match=r"not empty: it holds applied_offsets, accounts, jobs, api_keys"):
        await room.restore()
    assert await room.everything() == before
    await room.database.connection.collection("identity").delete_many({})
    with pytest.raises(StackError, match="not empty"):
        await room.restore()  # as an older OpenV left it


async def test_a_last_write_that_met_the_new_database_is_no_hindrance(room: Room) -> None:
    await fill(room)
    before = await room.everything()
    await room.back_up()
    await room.empty()
    await room.database.jobs.store_applied_offsets("ledger", {0: 99, 7: 99})
    await room.restore()
    assert await room.everything() == before  # not the stray offset: what came before it would never be read


async def test_a_merge_keeps_the_newer_and_deletes_none(room: Room) -> None:
    await room.store(a_job(1, 5), a_job(2, 1), a_job(3, 2), an_account("user-1", 9), an_account("user-2", 2))
    await room.database.access.store_person(Person(user_id="user-1", updated_at=THEN + 5, first_name="New"))
    await room.database.access.store_api_key(a_key("both"))
    await room.database.access.store_api_key(a_key("old"))
    await room.database.jobs.store_applied_offsets("ledger", {0: 10, 1: 90})
    await room.back_up()
    await room.empty()
    await room.store(a_job(1, 4), a_job(2, 6), a_job(4, 1), an_account("user-1", 8), an_account("user-2", 3))
    await room.database.access.store_person(Person(user_id="user-1", updated_at=THEN + 4, first_name="Old"))
    await room.database.access.store_api_key(replace(a_key("both"), revoked_at=THEN + 1))
    await room.database.jobs.store_applied_offsets("ledger", {0: 50, 1: 60, 2: 70})
    done = await room.restore(into=Into.MERGE)
    assert done.stored["jobs"] == 2
    jobs, access = room.database.jobs, room.database.access
    for number, version in ((1, 5), (2, 6), (3, 2), (4, 1)):
        assert await jobs.job(f"job-{number}") == a_job(number, version)
    assert await jobs.account("user-1") == an_account("user-1", 9)
    assert await jobs.account("user-2") == an_account("user-2", 3)
    person, revoked, old = await access.person("user-1"), await access.api_key("both"), await access.api_key("old")
    assert person is not None
    assert person.first_name == "New"
    assert revoked is not None
    assert revoked.revoked_at == THEN + 1
    assert old == a_key("old")
    assert await jobs.applied_offsets("ledger") == {0: 10, 1: 60, 2: 70}


async def test_a_replacement_deletes_what_was_there(room: Room) -> None:
    await room.store(a_job(1, 2))
    await room.back_up()
    await room.store(a_job(1, 5), a_job(2, 1))
    await room.restore(into=Into.REPLACE)
    assert set((await room.everything())["jobs"]) == {"job-1"}
    assert await room.database.jobs.job("job-1") == a_job(1, 2)


async def test_what_was_good_for_one_use_does_not_come_back(room: Room) -> None:
    kinds = {"link": KeyKind.PAGE_LINK, "ticket": KeyKind.TICKET, "session": KeyKind.SESSION, "key": KeyKind.KEY}
    for name, kind in kinds.items():
        await room.database.access.store_api_key(a_key(name, kind))
    await room.back_up()
    await room.empty()
    done = await room.restore()
    assert done.left_out == 2
    assert set((await room.everything())["api_keys"]) == {"session", "key"}


async def test_a_restore_that_was_killed_is_run_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(room)
    before = await room.everything()
    await room.back_up()
    await room.empty()
    parts, stored = 0, restoring._stored

    async def killed(copies: object, name: str, documents: list[object]) -> int:
        nonlocal parts
        parts += 1
        if parts == 4:
            raise KeyboardInterrupt
        return await stored(copies, name, documents)  # type: ignore[arg-type]

    monkeypatch.setattr(restoring, "_stored", killed)
    with pytest.raises(KeyboardInterrupt):
        await room.restore()
    monkeypatch.undo()
    left = await room.database.identities.identity()
    assert left is not None
    assert left.standing is Standing.RESTORING
    assert await room.everything() != before
    with pytest.raises(StackError, match="run `openv restore` again"):
        await room.rebuild()
    await room.restore()
    assert await room.everything() == before


async def test_what_operators_did_is_in_the_audit(room: Room) -> None:
    await room.store(a_job(1))
    await room.back_up()
    await room.restore(into=Into.REPLACE)
    await room.rebuild()
    ends = await room.log.ends(AUDIT.name)
    told = [decode(record) for record in await room.log.read(AUDIT.name, 0, 0, ends[0])]
    entries = [one for one in told if isinstance(one, AuditEntry)]
    assert [(one.action, one.stage.value) for one in entries] == [
        (action, stage)
        for action in ("backup.create", "database.restore", "database.rebuild")
        for stage in ("begun", "done")
    ]
    room.log.away = True
    with pytest.raises(Unavailable):
        await room.restore(into=Into.REPLACE)
    identity = await room.database.identities.identity()
    assert identity is not None
    assert identity.standing is Standing.OPEN
