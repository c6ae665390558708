"""One event to a thousand sockets: how many a second, how late, at what cost, and what an idle socket holds."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.announcements import event_of, job_of
from bench.driver import Driver, Failed, driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.usage import meter, resident_kib
from bench.world import User, World
from schemas.api.live import event
from schemas.codec import Encoded

HOW = """\
A fresh server process a round. So many sockets of one user subscribe at the gateway (a client process holds the other \
ends); the process's resident memory before and after, divided by the sockets, is what an idle one holds. Then job \
events are appended to the log one after the other, each when all sockets have the last: the CPU time that the process \
has used meanwhile, divided by the messages delivered, is their cost, the tail of the log included; the time from \
before an append to each socket is the delay, the log included. Then a burst is appended at once: events a second, up \
to the last socket's last. The baseline: a bare process of `websockets`, whose `broadcast` sends the same bytes to the \
same number of sockets, as often, and reads no log."""


@dataclass(frozen=True)
class Size:
    rounds: int
    sockets: int
    events: int
    burst: int


FULL = Size(rounds=5, sockets=1000, events=40, burst=200)
QUICK = Size(rounds=1, sockets=20, events=3, burst=5)
POSITION = "0:1000000:00000000"  # of the length that positions have


@dataclass(frozen=True)
class Cost:
    """µs of CPU a delivered message, ms up to a socket (p99), events a second, KiB an idle socket."""

    cpu: float
    late: float
    rate: float
    held: float


# Sends so many events and says when it began (``perf_counter``).
Send = Callable[[int], Awaitable[float]]


async def run(world: World) -> Sequence[Figure]:
    """Rate, delay, CPU a message and memory a socket."""
    size = QUICK if world.quick else FULL
    user, *_ = await world.users(1)
    pairs = await by_turns(size.rounds, lambda: _gateway(world, user, size), lambda _: _bare(world, user, size))

    def of(name: str, unit: str, value: Callable[[Cost], float], aim: Aim | None = None) -> Figure:
        ours, baseline = (tuple(value(pair[side]) for pair in pairs) for side in (0, 1))
        return Figure(f"{name}, {size.sockets} sockets", unit, ours, baseline, aim)

    return [
        of("events in a burst", "1/s", lambda cost: cost.rate),
        of("p99 up to a socket", "ms", lambda cost: cost.late),
        of("CPU a delivered message", "µs", lambda cost: cost.cpu),
        of("memory an idle socket", "KiB", lambda cost: cost.held, Aim("value", "at most", 27.0)),
    ]


async def _gateway(world: World, user: User, size: Size) -> Cost:
    job = job_of(user.user_id, 0)
    limits = {f"OPENV_SOCKETS_PER_{whose}": str(size.sockets) for whose in ("USER", "ADDRESS")}
    async with world.gateway(**limits) as gateway:
        versions = iter(range(1, 1_000_000))

        async def send(events: int) -> float:
            announced = [event_of(job, next(versions)) for _ in range(events)]
            began = time.perf_counter()
            await asyncio.gather(*(world.log.append(one) for one in announced))
            return began

        return await _measured(world, user, size, gateway.port, gateway.child.pid, send)


async def _bare(world: World, user: User, size: Size) -> Cost:
    text = _frame_of(event_of(job_of(user.user_id, 0), 2))
    async with driven("bench.bare_sockets", world.environment) as server:

        async def send(events: int) -> float:
            sent = await server.ask(do="send", text=text, times=events)
            if sent["sockets"] != size.sockets:
                raise Failed(f"the baseline has {sent['sockets']} of {size.sockets} sockets")
            return float(sent["began"])

        port = (await server.ask(do="port"))["port"]
        return await _measured(world, user, size, port, server.pid, send)


async def _measured(world: World, user: User, size: Size, port: int, pid: int, send: Send) -> Cost:
    async with _crowd(world, port, user.key) as crowd:
        before = resident_kib(pid)
        await crowd.ask(do="open", sockets=size.sockets)
        held = (resident_kib(pid) - before) / size.sockets
        spent, late = meter(pid), []
        for _ in range(size.events):
            began, arrived = await _round(crowd, send, 1)
            late += [(at - began) * 1000 for at in arrived]
        cpu = spent() * 1e6 / (size.events * size.sockets)
        began, arrived = await _round(crowd, send, size.burst)
        return Cost(cpu, percentile(late, 0.99), size.burst / (max(arrived) - began), held)


async def _round(crowd: Driver, send: Send, events: int) -> tuple[float, list[float]]:
    """When so many events were sent, and when they arrived."""
    receiving: asyncio.Task[dict[str, Any]] = asyncio.create_task(crowd.ask(do="receive", events=events))
    began = await send(events)
    return began, (await receiving)["arrived"]


def _frame_of(announced: Encoded) -> str:
    event_type = next(value for name, value in announced.headers if name == "ce_type").decode()
    return event(event_type, POSITION, announced.value).decode()


@asynccontextmanager
async def _crowd(world: World, port: int, key: str) -> AsyncIterator[Driver]:
    told = world.environment | {"BENCH_PORT": str(port), "BENCH_KEY": key}
    async with driven("bench.socket_crowd", told) as crowd:
        yield crowd


MEASUREMENT = Measurement("fan_out", "Fan-out", HOW, run, within_s=400.0)
