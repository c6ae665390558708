"""One event to a thousand sockets: what a delivered message costs the gateway, and what an idle socket holds."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.announcements import event_of, job_of
from bench.driver import Driver, Failed, driven
from bench.figures import Figure
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.usage import cpu_seconds, resident_kib
from bench.world import User, World

HOW = """\
A fresh server process a round. So many sockets of one user subscribe at the gateway (a client process holds the other \
ends); the process's resident memory before and after, divided by the sockets, is what an idle one holds. Then job \
events are appended one after the other, each when all sockets have the last; the CPU time that the process has used \
meanwhile, divided by the messages delivered, is their cost, the tail of the log included. The baseline: a bare \
Starlette and uvicorn process with the same settings that keeps a set of sockets and sends each the same bytes."""


@dataclass(frozen=True)
class Size:
    rounds: int
    sockets: int
    events: int


FULL = Size(rounds=3, sockets=1000, events=30)
QUICK = Size(rounds=1, sockets=20, events=3)
Cost = tuple[float, float]  # µs of CPU a delivered message, KiB an idle socket


async def run(world: World) -> Sequence[Figure]:
    """CPU a message and memory a socket."""
    size = QUICK if world.quick else FULL
    user, *_ = await world.users(1)
    pairs = await by_turns(size.rounds, lambda: _gateway(world, user, size), lambda _: _bare(world, user, size))

    def of(name: str, unit: str, place: int) -> Figure:
        return Figure(name, unit, tuple(our[place] for our, _ in pairs), tuple(base[place] for _, base in pairs))

    return [
        of(f"CPU a delivered message, {size.sockets} sockets", "µs", 0),
        of(f"memory an idle socket, {size.sockets} sockets", "KiB", 1),
    ]


async def _gateway(world: World, user: User, size: Size) -> Cost:
    job = job_of(user.user_id, 0)
    async with world.gateway(OPENV_SOCKETS_PER_USER=str(size.sockets)) as gateway:
        pid = gateway.child.pid
        async with _crowd(world, gateway.port, user.key) as crowd:
            before = resident_kib(pid)
            await crowd.ask(do="open", sockets=size.sockets)
            held = (resident_kib(pid) - before) / size.sockets
            spent = cpu_seconds(pid)
            for version in range(1, size.events + 1):
                await world.log.append(event_of(job, version))
                await crowd.ask(do="receive", events=1)
            return _per_message(cpu_seconds(pid) - spent, size), held


async def _bare(world: World, user: User, size: Size) -> Cost:
    text = event_of(job_of(user.user_id, 0), 2).value.decode()
    async with driven("bench.bare_sockets", world.environment) as server:
        port = (await server.ask(do="port"))["port"]
        async with _crowd(world, port, user.key) as crowd:
            before = resident_kib(server.pid)
            await crowd.ask(do="open", sockets=size.sockets)
            held = (resident_kib(server.pid) - before) / size.sockets
            spent = cpu_seconds(server.pid)
            for _ in range(size.events):
                sent = await server.ask(do="send", text=text)
                if sent["sockets"] != size.sockets:
                    raise Failed(f"the baseline has {sent['sockets']} of {size.sockets} sockets")
                await crowd.ask(do="receive", events=1)
            return _per_message(cpu_seconds(server.pid) - spent, size), held


def _per_message(seconds: float, size: Size) -> float:
    return seconds * 1e6 / (size.events * size.sockets)


@asynccontextmanager
async def _crowd(world: World, port: int, key: str) -> AsyncIterator[Driver]:
    told = world.environment | {"BENCH_PORT": str(port), "BENCH_KEY": key}
    async with driven("bench.socket_crowd", told) as crowd:
        yield crowd


MEASUREMENT = Measurement("fan_out", "Fan-out", HOW, run, within_s=240.0)
