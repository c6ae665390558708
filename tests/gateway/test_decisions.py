"""Waiting for decisions: what a stopping process and an unreadable answer do. The rest is seen over HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from gateway.decisions import Decisions, NotRecorded, answer_id
from repo.clock import now_ms
from repo.memory import MemoryEventLog
from schemas.codec import Record
from schemas.commands import CancelJob
from schemas.events import CommandAnswered, Outcome
from schemas.topics import COMMANDS
from tests.gateway.world import until


def command() -> CancelJob:
    return CancelJob(command_id=str(uuid4()), user_id="ada", job_id=str(uuid4()))


def made(log: MemoryEventLog, *, kafka: bool = True) -> Decisions:
    return Decisions(log, now_ms, lambda: kafka, 10.0)


def test_the_id_waited_for_is_the_one_the_answer_carries() -> None:
    answer = CommandAnswered(command_id="c", user_id="ada", outcome=Outcome.DONE)
    assert answer.message_id == answer_id("c")


async def test_nothing_is_sent_to_a_broker_known_to_be_away() -> None:
    log = MemoryEventLog()
    with pytest.raises(NotRecorded):
        await made(log, kafka=False).ask(command())
    assert log.records(COMMANDS.name) == []


async def test_who_leaves_lets_nobody_wait_now_or_later() -> None:
    log = MemoryEventLog()
    decisions = made(log)
    waiting = asyncio.ensure_future(decisions.ask(command()))
    await until(lambda: log.records(COMMANDS.name))
    decisions.leave()
    async with asyncio.timeout(5):
        assert await waiting is None
        assert await decisions.ask(command()) is None


async def test_who_leaves_waits_a_moment_for_what_is_on_its_way_to_the_log() -> None:
    """It would be recorded all the same, and whoever was told that it is not would ask for a second video."""
    log = MemoryEventLog()
    decisions = made(log)
    started, may_land = asyncio.Event(), asyncio.Event()
    append = log.append

    async def slow(*arguments: Any, **how: Any) -> Any:
        started.set()
        await may_land.wait()
        return await append(*arguments, **how)

    log.append = slow  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(decisions.ask(command()))
    await started.wait()
    decisions.leave()
    asyncio.get_running_loop().call_later(0.01, may_land.set)
    async with asyncio.timeout(5):
        assert await waiting is None, "recorded, and decided by whoever reads it"
    assert len(log.records(COMMANDS.name)) == 1


async def test_who_leaves_does_not_call_recorded_what_may_not_be() -> None:
    log = MemoryEventLog()
    decisions = made(log)
    started = asyncio.Event()

    async def lost(*_: Any, **__: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    log.append = lost  # type: ignore[method-assign, assignment]
    waiting = asyncio.ensure_future(decisions.ask(command()))
    await started.wait()
    decisions.leave()
    async with asyncio.timeout(5):
        with pytest.raises(NotRecorded):
            await waiting


async def test_an_answer_that_can_not_be_read_is_no_answer_and_no_crash() -> None:
    log = MemoryEventLog()
    decisions = Decisions(log, now_ms, lambda: True, 0.2)
    asked = command()
    waiting = asyncio.ensure_future(decisions.ask(asked))
    await until(lambda: log.records(COMMANDS.name))
    headers = (("ce_type", CommandAnswered.TYPE.encode()), ("ce_id", answer_id(asked.command_id).encode()))
    decisions.resolve(Record("openv.events", 0, 0, 0, b"ada", b"{", headers))
    assert await waiting is None


async def test_a_defect_of_the_log_is_not_called_an_outage() -> None:
    log = MemoryEventLog()

    async def broken(*_: Any, **__: Any) -> None:
        raise ValueError("too large")

    log.append = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(ValueError, match="too large"):
        await made(log).ask(command())
