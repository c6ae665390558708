"""Events a second that a gateway takes in: parsed, checked, kept in its window, looked up for watchers."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect

from bench.driver import driven
from bench.figures import Figure
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.spans import Span, append
from bench.usage import meter
from bench.world import Gateway, User, World
from repo.clock import now_ms
from schemas.codec import Encoded, encode
from schemas.events import JobEvent
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from schemas.topics import EVENTS

HOW = """\
A gateway is stopped (SIGSTOP) while job events of real size are put on `openv.events` for users nobody watches; then \
it goes on, until the last event of every partition has come out of a socket that waits for it. The baseline, in a \
process of its own, is a bare aiokafka consumer of the same bytes that keeps nothing. CPU is that of each process."""


@dataclass(frozen=True)
class Size:
    rounds: int
    events: int


@dataclass(frozen=True)
class Taken:
    """How long a process needed for so many events, by the wall and in CPU seconds; where they lie."""

    seconds: float
    cpu: float
    count: int
    span: Span


FULL = Size(rounds=7, events=12_000)
QUICK = Size(rounds=1, events=400)
PATIENCE_S = 120.0
STRANGERS = 500


async def run(world: World) -> Sequence[Figure]:
    """Events a second and CPU microseconds an event."""
    size = QUICK if world.quick else FULL
    users = _one_a_partition(world, await world.users(64, "watcher"))
    async with (
        world.gateway() as gateway,
        _sockets(gateway, users) as sockets,
        driven("bench.events_floor", world.environment) as floor,
    ):

        async def bare(taken: Taken) -> Taken:
            return Taken(**await floor.ask(span=taken.span), span=taken.span)

        pairs = await by_turns(size.rounds, lambda: _round(world, size, gateway, users, sockets), bare)
    ours, base = [one for one, _ in pairs], [one for _, one in pairs]
    return [
        Figure("events taken in a second", "/s", _rates(ours), _rates(base)),
        Figure("CPU an event", "µs", _cpu(ours), _cpu(base)),
    ]


def _rates(all_taken: Sequence[Taken]) -> tuple[float, ...]:
    return tuple(one.count / one.seconds for one in all_taken)


def _cpu(all_taken: Sequence[Taken]) -> tuple[float, ...]:
    return tuple(one.cpu / one.count * 1e6 for one in all_taken)


def _one_a_partition(world: World, users: Sequence[User]) -> dict[int, User]:
    found = {world.log.partition_of(EVENTS.name, user.user_id.encode()): user for user in users}
    assert set(found) == set(range(EVENTS.partitions))
    return found


@asynccontextmanager
async def _sockets(gateway: Gateway, users: dict[int, User]) -> AsyncIterator[list[ClientConnection]]:
    """One subscribed socket a user."""
    async with AsyncExitStack() as stack:
        made = []
        for user in users.values():
            socket = await stack.enter_async_context(connect(gateway.url.replace("http", "ws") + "/ws", proxy=None))
            await socket.send(json.dumps({"type": "auth", "token": user.key}))
            await socket.send(json.dumps({"type": "subscribe"}))
            await _frame(socket, "snapshot")
            made.append(socket)
        yield made


async def _frame(socket: ClientConnection, kind: str) -> None:
    """Read on until a frame of this kind has come."""
    while json.loads(await socket.recv())["type"] != kind:
        pass


async def _round(
    world: World, size: Size, gateway: Gateway, users: dict[int, User], sockets: Sequence[ClientConnection]
) -> Taken:
    events = _events(size.events, list(users.values()))
    os.kill(gateway.child.pid, signal.SIGSTOP)
    try:
        span = await append(world.log, events)
        used = meter(gateway.child.pid)
        began = time.perf_counter()
    finally:
        os.kill(gateway.child.pid, signal.SIGCONT)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(_frame(socket, "event") for socket in sockets))
    return Taken(time.perf_counter() - began, used(), len(events), span)


def _events(count: int, watchers: Sequence[User]) -> list[Encoded]:
    """Events of strangers, then one of each watcher."""
    now = now_ms()
    job = Job(
        job_id="",
        user_id="",
        pool="mochi-1",
        state=State.QUEUED,
        version=1,
        request=GenerationRequest(prompt="a corgi surfing at sunset, cinematic light"),
        request_hash="0" * 32,
        charge=Charge(state=ChargeState.RESERVED, seconds=1.25, reserved_at=now),
        created_at=now,
        updated_at=now,
        due_at=now,
        expires_at=now + 86_400_000,
        execution_timeout_ms=3_600_000,
    )
    names = [f"stranger-{number % STRANGERS}" for number in range(count)] + [one.user_id for one in watchers]
    jobs = [replace(job, job_id=str(uuid4()), user_id=name) for name in names]
    return [encode(JobEvent(one), source="/openv/ledger", at=now) for one in jobs]


MEASUREMENT = Measurement("events", "Events into a gateway", HOW, run)
