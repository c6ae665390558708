"""A user whose account document nobody can read: one sentence, a list without it, and a way out that is audited."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from bson.regex import Regex
from rich.console import Console

from operations import running
from operations.admin import app as admin
from operations.admin import long_users
from operations.admin.settings import AdminSettings
from operations.core import damage
from operations.core.findings import Finding, Level
from operations.core.recovery_table import TABLE
from operations.desk import Desk
from operations.doctor import examine, jobs_check
from operations.doctor.surroundings import Surroundings
from operations.stack.errors import StackError
from operations.users import commands
from operations.users.reset import look, reset
from repo.core.documents import DamagedDocumentError, from_document, to_document
from repo.settings import ServerSettings
from schemas.accounts import Account, Role
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import decode
from schemas.jobs import Job
from schemas.topics import AUDIT
from tests.operations.recovery.rig import ACTOR, THEN, Room, a_job, a_room, an_account


def damaged(kind: type[Any], value: Any, document_id: str) -> DamagedDocumentError:
    with pytest.raises(DamagedDocumentError) as caught:
        from_document(kind, to_document(value, document_id) | {"version": "a secret"})
    return caught.value


ACCOUNT = damaged(Account, an_account("alice"), "alice")
JOB = damaged(Job, a_job(1), "job-1")


OF_ALICE = (
    "The document 'alice' of the collection accounts is damaged (version: int_parsing). `openv rebuild` puts it as it "
    "was last announced; where no event tells of it, `openv users reset alice` lets the account begin anew."
)
OF_JOB = (
    "The document 'job-1' of the collection jobs is damaged (version: int_parsing). `openv rebuild` puts it as it was "
    "last announced."
)


@pytest.mark.parametrize(("error", "says"), [(ACCOUNT, OF_ALICE), (JOB, OF_JOB)])
async def test_it_is_one_sentence_with_the_command(
    error: DamagedDocumentError, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        raise error

    assert damage.sentence(error) == says
    monkeypatch.setattr(running.asyncio, "run", lambda coroutine: coroutine.send(None))  # a loop runs here already
    with pytest.raises(typer.Exit) as left:
        running.run(work())
    assert left.value.exit_code == 1
    assert capsys.readouterr() == ("", f"openv: {says}\n")
    answer = await admin._say(SimpleNamespace(), error)  # type: ignore[arg-type]
    assert answer.status_code == 409
    assert b'"damaged_document"' in answer.body
    assert b"a secret" not in answer.body


@pytest.fixture
async def room(settings: ServerSettings, tmp_path: Path) -> AsyncIterator[Room]:
    async with a_room(settings, tmp_path) as room:
        await room.store(an_account("alice", 7, role=Role.ADMIN, pending={"job-1": a_job(1)}), an_account("bob"))
        await room.store(an_account("carol"), a_job(2))
        change = {"$set": {"version": "seven", "overrides": {"maxActive": 5, "rateLimit": {"x": 1}}}}
        await room.database.connection.collection("accounts").update_one({"_id": "alice"}, change)
        yield room


def at(room: Room, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(room.log, room.database)

    @asynccontextmanager
    async def opened(_: Path) -> AsyncIterator[Desk]:
        yield desk

    monkeypatch.setattr(commands, "open_desk", opened)
    return desk


async def test_the_list_leaves_it_out_and_says_so(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(room, monkeypatch)
    given: dict[str, Any] = {"blocked": None, "deleted": None, "usage": False}
    page = await room.database.jobs.accounts(limit=1)
    assert (page.accounts, page.last, page.damaged) == ((), "alice", ("alice",))
    out = io.StringIO()
    assert await commands.list_users(Path(), None, 2, None, Console(file=out), as_json=False, **given) == 0
    assert "bob" in out.getvalue()
    assert "alice" not in out.getvalue()
    said = capsys.readouterr().err
    assert "left out 1 user whose document is damaged: alice." in said
    assert "`openv users reset alice`" in said
    assert await commands.list_users(Path(), None, 2, "bob", Console(file=out), as_json=True, **given) == 0
    assert '"damaged": []' in capsys.readouterr().out


async def test_a_reset_shows_asks_and_deletes_that_document_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(room, monkeypatch)
    others = {name: dict(found) for name, found in (await room.everything()).items()}
    others["accounts"].pop("alice")
    out = io.StringIO()
    assert await commands.reset(Path(), "alice", "order 7", Console(file=out, width=200), yes=True) == 0
    rows = out.getvalue()
    assert "version: int_parsing" in rows
    assert "seven" not in rows
    assert "admin" in rows
    assert "maxActive 5" in rows
    assert "corgi" not in rows
    assert "have to be set again" in rows
    assert "is reset" in capsys.readouterr().out
    assert await room.everything() == others
    assert await room.database.jobs.account("alice") is None
    entries = [decode(record) for record in room.log.records(AUDIT.name)]
    assert [(one.action, one.stage) for one in entries if isinstance(one, AuditEntry)] == [
        ("users.reset", AuditStage.BEGUN),
        ("users.reset", AuditStage.DONE),
    ]
    assert "corgi" not in repr(entries)


async def test_what_can_be_read_or_was_announced_or_changed_meanwhile_is_not_reset(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = at(room, monkeypatch)
    seen = await look(desk, "alice")
    accounts = room.database.connection.collection("accounts")
    await accounts.update_one({"_id": "alice"}, {"$set": {"overrides.maxActive": 6}})
    with pytest.raises(StackError, match="is another one now"):
        await reset(desk, ACTOR, seen)
    with pytest.raises(StackError, match="can be read"):
        await look(desk, "bob")
    with pytest.raises(StackError, match="nothing to reset"):
        await look(desk, "nobody")
    await room.announce(an_account("bob", 3), an_account("alice", 3))
    with pytest.raises(StackError, match="openv rebuild"):
        await look(desk, "alice")
    assert "alice" in (await room.everything())["accounts"]


async def test_over_http_it_is_looked_at_and_then_just_that_is_deleted(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, settings = at(room, monkeypatch), AdminSettings()
    asked: dict[str, Any] = {"user": "alice", "expect": None, "reason": "order 7"}
    seen = await long_users.reset(desk, settings, asked, ACTOR)
    assert (seen["reset"], seen["readable"]["role"]) == (False, "admin")
    assert "corgi" not in repr(seen)
    assert "alice" in (await room.everything())["accounts"]

    accounts = room.database.connection.collection("accounts")
    await accounts.update_one({"_id": "alice"}, {"$set": {"overrides.maxActive": 6}})
    with pytest.raises(StackError, match="not the one that was looked at"):
        await long_users.reset(desk, settings, asked | {"expect": seen["digest"]}, ACTOR)
    assert "alice" in (await room.everything())["accounts"]
    assert room.log.records(AUDIT.name) == []

    seen = await long_users.reset(desk, settings, asked, ACTOR)
    done = await long_users.reset(desk, settings, asked | {"expect": seen["digest"]}, ACTOR)
    assert done["reset"] is True
    assert "alice" not in (await room.everything())["accounts"]
    entries = [decode(record) for record in room.log.records(AUDIT.name)]
    assert [one.reason for one in entries if isinstance(one, AuditEntry)] == ["order 7", "order 7"]


SECRETS: dict[str, Any] = {
    "version": "SECRET1",
    "role": "SECRET2",
    "blocked": "SECRET3",
    "deletedAt": {"SECRET4": 1},
    "overrides": {"SECRET5": 7, "maxActive": 5, "rateLimit": True},
    "pending": {"a: SECRET6; version": {"SECRET7": 1}},
    "grants": [{"credits": 3.5, "reason": "SECRET8"}, {"credits": "SECRET9"}],
    "vouchers": ["SECRET10"],
}


async def test_no_value_that_is_not_of_its_member_is_shown_or_kept(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = at(room, monkeypatch)
    accounts = room.database.connection.collection("accounts")
    await accounts.update_one({"_id": "alice"}, {"$set": SECRETS})
    asked: dict[str, Any] = {"user": "alice", "expect": None, "reason": ""}
    seen = await long_users.reset(desk, AdminSettings(), asked, ACTOR)
    told = dict(seen["readable"])
    assert "version: int_parsing" in told.pop("damaged")
    assert told == {
        "version": "text",
        "role": "text",
        "blocked": "text",
        "deleted": "members",
        "own limits": "maxActive 5",
        "grants": "2",
        "vouchers": "1",
        "admissions under way": "1",
        "credits granted": "3.5",
    }
    done = await long_users.reset(desk, AdminSettings(), asked | {"expect": seen["digest"]}, ACTOR)
    assert done["reset"] is True
    entries = [decode(record) for record in room.log.records(AUDIT.name)]
    assert len(entries) == 2
    assert "SECRET" not in repr((seen, done, entries, room.log.records(AUDIT.name)))


@pytest.mark.parametrize(
    "change",
    [
        {"version": Regex(".*")},
        {"overrides": {"maxActive": Regex("a", "i")}},
        {"vouchers": [Regex("a"), {"code": Regex("b")}]},
        {"vouchers": []},
    ],
)
async def test_what_no_query_compares_is_reset_as_well(
    room: Room, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    desk = at(room, monkeypatch)
    accounts = room.database.connection.collection("accounts")
    await accounts.update_one({"_id": "alice"}, {"$set": change})
    seen = await look(desk, "alice")
    await accounts.update_one({"_id": "alice"}, {"$set": {"version": Regex("other")}})
    with pytest.raises(StackError, match="is another one now"):
        await reset(desk, ACTOR, seen)
    assert "alice" in (await room.everything())["accounts"]
    await reset(desk, ACTOR, await look(desk, "alice"))
    assert set((await room.everything())["accounts"]) == {"bob", "carol"}


async def test_without_an_answer_nothing_is_done(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    at(room, monkeypatch)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(typer.Exit):
        await commands.reset(Path(), "alice", "", Console(file=io.StringIO()), yes=False)
    assert "alice" in (await room.everything())["accounts"]


async def test_the_doctor_names_rebuild_and_the_reset(room: Room) -> None:
    around = SimpleNamespace(desk=Desk(room.log, room.database), most=100, now=lambda: THEN)
    found = await jobs_check.check(cast("Surroundings", around))
    assert [(one.what, one.mend, one.targets) for one in found if one.level is Level.PROBLEM] == [
        ("1 damaged in accounts: alice", "openv rebuild", ("alice",))
    ]
    assert "openv users reset alice" in found[0].why


async def test_a_check_that_meets_one_names_it_and_what_mends_it() -> None:
    async def meets(_: Surroundings) -> list[Finding]:
        raise JOB

    found = await examine._asked("jobs", meets, cast("Surroundings", None))
    assert [(one.what, one.mend) for one in found] == [
        ("the document 'job-1' of the collection jobs is damaged (version: int_parsing)", "openv rebuild")
    ]


def test_every_collection_is_known() -> None:
    assert set(damage.COLLECTIONS.values()) <= {*TABLE, "identity"}
