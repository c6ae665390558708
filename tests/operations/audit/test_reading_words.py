"""Who reads what users wrote at a terminal is in the audit before it is shown; where it can't be, nothing is shown."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
import typer
from rich.console import Console

import operations.deadletters.commands as letters
import operations.jobs.commands as jobs
from operations.audit.recording import at_the_terminal
from operations.desk import Desk
from operations.replay.room import Room
from operations.running import run
from repo.clock import now_ms
from repo.memory import MemoryDatabase, MemoryEventLog, MemoryObjectStore
from repo.ports import Unavailable
from repo.stores import ObjectStores
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import Record, decode, encode
from schemas.commands import CancelJob
from schemas.topics import AUDIT
from streams.deadletters import CannotProcess, dead_letter
from tests.gateway.world import job

BEGUN, DONE, FAILED = AuditStage.BEGUN, AuditStage.DONE, AuditStage.FAILED
PROMPT, VALUE = "prompt of j-1", "1234567891"
HERE = Path()


class Log(MemoryEventLog):
    """``mute``: what is to be recorded in the audit can't be."""

    mute = False

    async def append(self, message: Any, **how: Any) -> Any:
        if self.mute and message.topic == AUDIT.name:
            raise Unavailable("kafka", "is away")
        return await super().append(message, **how)


@pytest.fixture
async def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """With a job, and a dead letter at 0:0, that the commands find."""
    log, database = Log(), MemoryDatabase()
    await database.jobs.store_job(job("j-1", at=now_ms()), 0)
    cancel = encode(
        CancelJob(command_id="c-1", user_id="ada", job_id="j-1", run=int(VALUE)), source="/test", at=now_ms()
    )
    record = Record(cancel.topic, 0, 0, now_ms(), cancel.key, cancel.value, cancel.headers)
    await log.append(dead_letter(record, "ledger", CannotProcess("of no use")), partition=0)

    @asynccontextmanager
    async def desk(_: Path) -> AsyncIterator[Desk]:
        yield Desk(log, database)

    @asynccontextmanager
    async def stores(*_: object) -> AsyncIterator[ObjectStores]:
        yield ObjectStores(MemoryObjectStore())

    @asynccontextmanager
    async def room(_: Path) -> AsyncIterator[Room]:
        yield Room(cast("Any", None), cast("Any", log), cast("Any", database))

    for module, name, made in ((jobs, "open_desk", desk), (jobs, "open_stores", stores), (letters, "room", room)):
        monkeypatch.setattr(module, name, made)
    for name in ("ServerSettings", "FallbackSettings"):
        monkeypatch.setattr(jobs, name, lambda: None)
    return log


async def shown_job(*, words: bool, as_json: bool) -> None:
    await jobs.show_job(HERE, "j-1", 100, Console(width=200), prompt=words, as_json=as_json)


async def shown_letter(*, words: bool, as_json: bool) -> None:
    await letters.show_letter(HERE, "0:0", Console(width=200), value=words, as_json=as_json)


SHOWN = [(shown_job, "jobs.read-words", "j-1", PROMPT), (shown_letter, "deadletters.read-words", "0:0", VALUE)]


def told(log: MemoryEventLog) -> list[tuple[str, str, AuditStage]]:
    entries = [cast("AuditEntry", decode(one)) for one in log.records(AUDIT.name)]
    assert all(one.actor == at_the_terminal().name and one.via == "cli" for one in entries)
    assert not any(words.encode() in one.value for one in log.records(AUDIT.name) for words in (PROMPT, VALUE))
    return [(one.action, one.target, one.stage) for one in entries]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(("show", "action", "target", "words"), SHOWN, ids=lambda one: getattr(one, "__name__", ""))
async def test_what_is_asked_for_is_recorded_first(
    log: Log, capsys: pytest.CaptureFixture[str], show: Any, action: str, target: str, words: str, as_json: bool
) -> None:
    await show(words=False, as_json=as_json)
    assert (words in capsys.readouterr().out, told(log)) == (False, [])
    await show(words=True, as_json=as_json)
    assert words in capsys.readouterr().out
    assert told(log) == [(action, target, BEGUN), (action, target, DONE)]
    log.mute = True
    with pytest.raises(Unavailable):
        await show(words=True, as_json=as_json)
    assert capsys.readouterr().out == ""


async def test_who_looks_at_a_letter_to_edit_it_has_read_it(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    async def edit() -> None:
        new = letters.NewValue(members=("run=1",))
        await letters.edit_letter(HERE, "0:0", new, "", Console(width=200), yes=False, again=False)

    log.mute = True
    with pytest.raises(Unavailable):
        await edit()
    assert capsys.readouterr().out == ""
    log.mute = False
    with pytest.raises(letters.StackError, match="Nothing was sent"):
        await edit()
    assert VALUE in capsys.readouterr().out
    action = ("deadletters.read-words", "0:0")
    assert told(log) == [(*action, BEGUN), (*action, DONE)], "it was looked at, and not sent"


@pytest.fixture
def logging_as_at_first() -> Iterator[None]:
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.mark.usefixtures("logging_as_at_first")
def test_what_is_logged_on_the_way_is_no_part_of_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        structlog.get_logger().error("job can't be read", job_id="j-1")
        typer.echo("{}")

    run(work())
    said = capsys.readouterr()
    assert said.out == "{}\n"
    assert "j-1" in said.err
