"""A thousand workers that wait at a gateway: what each holds, and how soon one of them has a job that is posted."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.driver import Driver, driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.sdk_endpoint import at, open_endpoint, worker_key
from bench.usage import resident_kib
from bench.world import World
from schemas.dispatch import RunAttempt
from schemas.topics import ASSIGNMENTS

HOW = """\
A fresh server process a round. A client process opens so many `job-take` polls, each of a worker of its own, then \
their `job-stop` polls, over a connection each, as RunPod's SDK does; the server's resident memory before and after, \
once it is still, divided by the workers, is what each holds. Then jobs are posted one after the other, each when the \
last has ended and its worker waits again: the time runs from the request to the answer of the poll that got the job. \
Of ours, the part from the order in the log (its own time, whole ms) to that answer is told apart: it is the long \
poll's, with the report that the attempt started; what is before it is the submission's, the ledger's and the \
scheduler's. The baseline: a bare Starlette server that keeps the jobs in a dictionary and speaks the same protocol."""
ENDPOINT = "bench-polls"


@dataclass(frozen=True)
class Size:
    rounds: int
    workers: int
    warm: int  # polls and jobs before the memory is first looked at
    jobs: int
    still_s: float  # how long the memory has to stay as it is


FULL = Size(rounds=3, workers=1000, warm=40, jobs=100, still_s=2.0)
QUICK = Size(rounds=1, workers=200, warm=10, jobs=4, still_s=0.2)
LOOKS = 4  # of them in the time that the memory has to stay
STILL_WITHIN = 10  # times that time


@dataclass(frozen=True)
class Held:
    """KiB a job-take poll, KiB a worker with both its polls; ms to a poll, and of those from the order on."""

    take: float
    both: float
    ms: Sequence[float]
    from_order: Sequence[float]


async def run(world: World) -> Sequence[Figure]:
    """Memory of a poll and of a worker, and how soon a job is there."""
    size = QUICK if world.quick else FULL
    await open_endpoint(world, ENDPOINT)
    async with world.streams():
        pairs = await by_turns(size.rounds, lambda: _gateway(world, size), lambda _: _floor(world, size))
    crowd = f"{size.workers} waiting"

    def of(name: str, unit: str, value: Callable[[Held], float], aim: Aim | None = None) -> Figure:
        ours, baseline = (tuple(value(pair[side]) for pair in pairs) for side in (0, 1))
        return Figure(f"{name}, {crowd}", unit, ours, baseline, aim)

    orders = [our.from_order for our, _ in pairs]
    return [
        of("memory a job-take poll", "KiB", lambda held: held.take),
        of("memory a worker, both polls", "KiB", lambda held: held.both, Aim("value", "at most", 50)),
        of("p50 from a job posted to its worker", "ms", lambda held: median(held.ms), Aim("value", "at most", 20)),
        of("p99 from a job posted to its worker", "ms", lambda held: percentile(held.ms, 0.99)),
        Figure(f"p50 from the order to the worker, {crowd}", "ms", tuple(median(one) for one in orders)),
        Figure(f"p99 from the order to the worker, {crowd}", "ms", tuple(percentile(one, 0.99) for one in orders)),
    ]


async def _gateway(world: World, size: Size) -> Held:
    user, *_ = await world.users(1, "waker")
    async with world.gateway() as gateway, _crowd(world, gateway.port, user.key) as crowd:
        held = await _held(crowd, gateway.child.pid, size)
        before = await world.log.ends(ASSIGNMENTS.name)
        jobs = (await crowd.ask(do="wake", count=size.jobs))["jobs"]
        ordered = await _ordered(world, before)
        # Whole milliseconds: half of one is the least that can be told.
        late = [max(job["at"] - ordered[job["id"]], 0.5) for job in jobs]
        return Held(*held, [job["ms"] for job in jobs], late)


async def _floor(world: World, size: Size) -> Held:
    async with (
        driven("bench.floor_runpod", world.environment) as floor,
        _crowd(world, (await floor.ask())["port"], "anybody") as crowd,
    ):
        held = await _held(crowd, floor.pid, size)
        jobs = (await crowd.ask(do="wake", count=size.jobs))["jobs"]
        return Held(*held, [job["ms"] for job in jobs], [])


async def _held(crowd: Driver, pid: int, size: Size) -> tuple[float, float]:
    """KiB a poll and a worker. At first a few, and jobs for them: code is compiled, connections are open."""
    await crowd.ask(do="open", kind="job-take", first=0, count=size.warm)
    await crowd.ask(do="wake", count=size.warm)
    empty = await _still(crowd, pid, size.still_s)
    await crowd.ask(do="open", kind="job-take", first=size.warm, count=size.workers)
    polls = await _still(crowd, pid, size.still_s)
    await crowd.ask(do="open", kind="job-stop", first=size.warm, count=size.workers)
    both = await _still(crowd, pid, size.still_s)
    return (polls - empty) / size.workers, (both - empty) / size.workers


async def _still(crowd: Driver, pid: int, still_s: float) -> float:
    """KiB that the process holds, once that has not grown for a while."""
    looks = [resident_kib(pid)]
    for _ in range(LOOKS * STILL_WITHIN):
        await crowd.ask(do="wait", seconds=still_s / LOOKS)
        looks.append(resident_kib(pid))
        if len(looks) > LOOKS and looks[-1] <= looks[-1 - LOOKS] * 1.001:
            break
    return looks[-1]


async def _ordered(world: World, since: dict[int, int]) -> dict[str, int]:
    """When the order for each job was appended, Unix ms."""
    ends = await world.log.ends(ASSIGNMENTS.name)
    return {
        record.header("ce_subject") or "": record.timestamp
        for partition, start in since.items()
        for record in await world.log.read(ASSIGNMENTS.name, partition, start, ends[partition])
        if record.header("ce_type") == RunAttempt.TYPE
    }


@asynccontextmanager
async def _crowd(world: World, port: int, client_key: str) -> AsyncIterator[Driver]:
    told: dict[str, Any] = {
        "BENCH_PORT": str(port),
        "BENCH_AT": at(ENDPOINT),
        "BENCH_KEY": await worker_key(world, ENDPOINT),
        "BENCH_CLIENT_KEY": client_key,
    }
    async with driven("bench.take_crowd", world.environment | told) as crowd:
        yield crowd


MEASUREMENT = Measurement("long_polls", "Workers that wait", HOW, run, within_s=400.0)
