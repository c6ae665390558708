"""A mixed queue on eight workers: how close to the best possible order, and to what a plain consumer group does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.driver import driven
from bench.figures import Aim, Figure
from bench.measurement import Measurement
from bench.queues import enqueue, mixed
from bench.world import World

HOW = """\
A backlog of jobs of 0.1 to 3 s (many short, few long) of 40 users is submitted at once; eight workers (real parents, \
whose children only wait) make them, and the time runs from the first submission to the last video. The best possible \
order has no gaps: the sum of all durations divided by eight. The plain consumer group: the same durations, with the \
user as key, on a topic of eight partitions, and eight aiokafka consumers of one group, each working off its own."""


@dataclass(frozen=True)
class Size:
    jobs: int
    workers: int
    users: int


FULL = Size(jobs=500, workers=8, users=40)
QUICK = Size(jobs=6, workers=2, users=3)
SEED = 7


async def run(world: World) -> Sequence[Figure]:
    """The makespan against the best possible one, and against a consumer group's."""
    size = QUICK if world.quick else FULL
    durations = mixed(size.jobs, SEED)
    async with driven("bench.sham_group", world.environment) as group:
        plain = (await group.ask(durations_ms=durations, workers=size.workers, users=size.users))["seconds"]
    async with world.streams(), driven("bench.sham_workers", world.environment) as workers:
        await workers.ask(do="start", count=size.workers)
        # Everyone has worked once: connections are open, and the ledger knows the users.
        await enqueue(world, [1] * size.users, size.users)
        await workers.ask(do="wait", count=size.users)
        await world.settled()
        began = time.perf_counter()
        await enqueue(world, durations, size.users)
        await workers.ask(do="wait", count=size.jobs)
        seconds = time.perf_counter() - began
    best = max(sum(durations) / size.workers, *durations) / 1000
    what = f"{size.jobs} jobs on {size.workers} workers"
    return [
        Figure(f"{what}, against the best order", "s", (seconds,), (best,), Aim("ratio", "at most", 1.05)),
        Figure(f"{what}, against a consumer group", "s", (seconds,), (plain,)),
    ]


MEASUREMENT = Measurement("makespan", "Makespan of a mixed queue", HOW, run, within_s=420.0)
