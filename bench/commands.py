"""Commands a second through one streams process: a backlog of submissions at once, until every one is answered."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import count
from typing import cast
from uuid import uuid4

from bench.driver import driven
from bench.figures import Aim, Figure
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.spans import Span, append
from bench.usage import meter
from bench.world import World
from repo.clock import now_ms
from schemas.codec import Record, encode
from schemas.commands import AnyCommand, AskUsage, SubmitJob
from schemas.events import CommandAnswered
from schemas.requests import MODEL, GenerationRequest
from schemas.topics import EVENTS

HOW = """\
A backlog of submissions, over all partitions, is put on `openv.commands` at once, and one streams process (ledger, \
scheduler and janitor) works it off, until the last answer is on `openv.events`; the users are new in every round, \
and the ledger knows them (they had asked for their usage) or has never seen them. The baseline reads the same records \
in one process and does the same reads, writes and sends for each with bare aiokafka and motor, deciding nothing. CPU \
is that of each process."""


@dataclass(frozen=True)
class Size:
    rounds: int
    users: int
    each: int  # submissions of one user


@dataclass(frozen=True)
class Worked:
    """A backlog that was worked off: until the last answer by the wall, until all three roles were through in CPU."""

    commands: int
    events: int
    span: Span
    seconds: float
    cpu: float = 0.0


FULL = Size(rounds=5, users=100, each=5)
QUICK = Size(rounds=1, users=10, each=2)
PATIENCE_S = 120.0
REQUEST = GenerationRequest(prompt="a corgi surfing at sunset, cinematic light")
SOURCE = "/openv/bench"
_NAMES = count()


async def run(world: World) -> Sequence[Figure]:
    """Commands a second with known and with new users, and how many events the ledger announced a second."""
    size = QUICK if world.quick else FULL
    async with world.streams() as streams, driven("bench.commands_floor", world.environment) as floor:
        await _work_off(world, _submissions(_names(16), 2))

        async def bare(worked: Worked) -> dict[str, float]:
            return await floor.ask(span=worked.span)

        known = await by_turns(size.rounds, lambda: _round(world, size, streams.pid, known=True), bare)
        new = await by_turns(size.rounds, lambda: _round(world, size, streams.pid, known=False), bare)
    return [
        _rate("commands a second, known users", known, Aim("value", "at least", 300)),
        _rate("commands a second, new users", new),
        _cpu("CPU a command, known users", known),
        Figure("events announced a second, known users", "/s", tuple(one.events / one.seconds for one, _ in known)),
    ]


def _rate(name: str, pairs: Sequence[tuple[Worked, dict[str, float]]], aim: Aim | None = None) -> Figure:
    ours = tuple(worked.commands / worked.seconds for worked, _ in pairs)
    return Figure(name, "/s", ours, tuple(base["count"] / base["seconds"] for _, base in pairs), aim)


def _cpu(name: str, pairs: Sequence[tuple[Worked, dict[str, float]]]) -> Figure:
    ours = tuple(worked.cpu / worked.commands * 1000 for worked, _ in pairs)
    return Figure(name, "ms", ours, tuple(base["cpu"] / base["count"] * 1000 for _, base in pairs))


async def _round(world: World, size: Size, pid: int, *, known: bool) -> Worked:
    names = _names(size.users)
    if known:
        await _work_off(world, [AskUsage(command_id=str(uuid4()), user_id=name) for name in names])
        await world.settled(PATIENCE_S)
    used = meter(pid)
    worked = await _work_off(world, _submissions(names, size.each))
    await world.settled(PATIENCE_S)
    return replace(worked, cpu=used())


def _names(users: int) -> list[str]:
    return [f"backlog-{next(_NAMES)}" for _ in range(users)]


def _submissions(names: Sequence[str], each: int) -> list[AnyCommand]:
    """Users take turns."""
    return [
        SubmitJob(
            command_id=str(uuid4()),
            user_id=name,
            job_id=str(uuid4()),
            pool=MODEL,
            request=REQUEST,
            request_hash="0" * 32,
            append_by=now_ms() + 3_600_000,
        )
        for _ in range(each)
        for name in names
    ]


async def _work_off(world: World, commands: Sequence[AnyCommand]) -> Worked:
    """Append them all and wait for every answer."""
    encoded = [encode(command, source=SOURCE, at=now_ms()) for command in commands]
    waiting = {f"{command.command_id}:answer" for command in commands}
    tail = world.log.tail(EVENTS.name, await world.log.ends(EVENTS.name))
    async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
        await anext(batches)  # the consumer is there
        began = time.perf_counter()
        appending = asyncio.create_task(append(world.log, encoded))
        events = 0
        async with asyncio.timeout(PATIENCE_S):
            async for batch in batches:
                events += len(batch)
                waiting -= {record.header("ce_id") or "" for record in batch if _is_answer(record)}
                if not waiting:
                    break
        seconds = time.perf_counter() - began
    return Worked(len(commands), events, await appending, seconds)


def _is_answer(record: Record) -> bool:
    return record.header("ce_type") == CommandAnswered.TYPE


MEASUREMENT = Measurement("commands", "Commands through one streams process", HOW, run)
