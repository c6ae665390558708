"""Reading the audit: pages, what somebody put there that is no entry, entries as they come; who reads which topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from operations import desk as desks
from operations.audit import trail as audit_trail
from operations.audit.cli import _line, _shown
from operations.audit.trail import Kept, follow, page
from operations.core.audit_trail import Sought
from operations.core.readers import READERS, behind
from operations.desk import Desk
from repo.memory import MemoryDatabase, MemoryEventLog
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import encode
from schemas.topics import AUDIT
from streams.inspector import INSPECTED, consumer_of
from streams.service import TOPIC_OF_ROLE

ENTRY = AuditEntry(
    action_id="a",
    stage=AuditStage.BEGUN,
    at=1_790_000_000_000,
    actor="alice/ov_abcdef",
    via="api",
    address="192.0.2.1",
    action="users.block",
    target="bob",
)


async def test_a_page_looks_at_no_more_than_it_may_and_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_trail, "LOOKED_AT_MOST", 10)
    monkeypatch.setattr(audit_trail, "PIECE", 4)
    log = MemoryEventLog()
    for number in range(35):
        entry = replace(ENTRY, action_id=str(number), target="carol" if number == 3 else "bob")
        await log.append(encode(entry, source="/test", at=entry.at))
    found, before, pages = list[Kept](), None, 0
    while True:
        trail = await page(log, Sought(target="carol"), limit=5, before=before)
        found, before, pages = [*found, *trail.entries], trail.before, pages + 1
        if before is None:
            break
    assert [one.offset for one in found] == [3]
    assert pages == 4
    log.trim(AUDIT.name, 0, 30)
    kept = await page(log, Sought(), limit=200)
    assert [one.offset for one in kept.entries] == [34, 33, 32, 31, 30]
    assert kept.before is None


async def test_where_no_entry_matches_it_is_said_and_a_pipe_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = MemoryEventLog()

    @asynccontextmanager
    async def at_hand(*_: object) -> AsyncIterator[Desk]:
        yield Desk(log, MemoryDatabase())

    monkeypatch.setattr(desks, "desk", at_hand)
    assert await _shown(Path("nowhere"), Sought(actor="nobody"), 5, follow=False, as_json=False) == 0
    assert capsys.readouterr() == ("", "No entries match.\n")
    await log.append(encode(ENTRY, source="/test", at=ENTRY.at))
    await _shown(Path("nowhere"), Sought(actor="alice"), 5, follow=False, as_json=False)
    out, err = capsys.readouterr()
    assert ENTRY.action in out
    assert err == ""


async def test_what_is_no_entry_is_shown_whatever_is_sought() -> None:
    log = MemoryEventLog()
    strange = replace(encode(ENTRY, source="/test", at=ENTRY.at), value=b"{}")
    await log.append(strange)
    (one,) = (await page(log, Sought(actor="nobody"), limit=5)).entries
    assert one == Kept(0, None)
    assert "can't be read" in _line(one)


async def test_entries_are_followed_as_they_come() -> None:
    log = MemoryEventLog()
    await log.append(encode(ENTRY, source="/test", at=ENTRY.at))
    heard: list[Kept] = []

    async def listen() -> None:
        async for kept in follow(log, Sought(actor="alice", action="users.*")):
            heard.append(kept)
            return

    listening = asyncio.create_task(listen())
    other = replace(ENTRY, actor="mallory/ov_ffffff")
    async with asyncio.timeout(30):
        while not listening.done():
            await log.append(encode(other, source="/test", at=other.at))
            await log.append(encode(ENTRY, source="/test", at=ENTRY.at))
    assert heard[0].entry == ENTRY
    assert heard[0].offset > 0, "what was there before is not what comes"


def test_a_terminal_obeys_no_entry() -> None:
    assert "\x1b" not in _line(Kept(0, replace(ENTRY, target="\x1b[2J", reason="a\nb")))
    assert "\n" not in _line(Kept(0, replace(ENTRY, reason="a\nb")))


def test_the_readers_are_those_that_run() -> None:
    running = {role.value: topic.name for role, topic in TOPIC_OF_ROLE.items()}
    assert dict(READERS) == running | {consumer_of(topic): topic.name for topic in INSPECTED}


def test_how_far_a_reader_is_behind() -> None:
    late = behind({0: 9, 1: 3}, starts={0: 0, 1: 7, 2: 2}, ends={0: 10, 1: 10, 2: 5})
    assert late == {0: 0, 1: 3, 2: 3}, "what is no longer kept is not waited for"
