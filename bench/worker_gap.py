"""How long a worker stands idle between two jobs while more wait: the price of handing out one job at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.driver import driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.queues import enqueue
from bench.rounds import by_turns
from bench.world import World

HOW = """\
One worker (its real parent; the child only waits) works off a queue of jobs of 50 ms. The gap is from the child's \
last word on one job to the order for the next: files of 540 kB stored in S3, the report acknowledged by Kafka, READY \
said, the scheduler's decision with its read of MongoDB, and the order back. The baseline: two round trips of a bare \
aiokafka client, one after the other, which is the least that asking and being told can take."""


@dataclass(frozen=True)
class Size:
    rounds: int
    jobs: int


FULL = Size(rounds=5, jobs=60)
QUICK = Size(rounds=1, jobs=4)
JOB_MS = 50


async def run(world: World) -> Sequence[Figure]:
    """Median and p99 of the gap."""
    size = QUICK if world.quick else FULL
    async with (
        world.streams(),
        driven("bench.sham_workers", world.environment) as workers,
        driven("bench.bare_trips", world.environment) as trips,
    ):
        await workers.ask(do="start", count=1)

        async def ours() -> list[float]:
            # One more: the first of a round comes after a pause, which is no gap.
            await enqueue(world, [JOB_MS] * (size.jobs + 1), users=4)
            gaps: list[float] = (await workers.ask(do="wait", count=size.jobs + 1))["gaps_ms"]
            return gaps[-size.jobs :]

        async def bare(_: list[float]) -> list[float]:
            took: list[float] = (await trips.ask(trips=2, count=size.jobs))["ms"]
            return took

        await ours()
        pairs = await by_turns(size.rounds, ours, bare)
    return [
        Figure("gap, median", "ms", *_both(pairs, median), Aim("value", "at most", 50)),
        Figure("gap, p99", "ms", *_both(pairs, lambda took: percentile(took, 0.99))),
    ]


def _both(
    pairs: Sequence[tuple[list[float], list[float]]], value: Callable[[Sequence[float]], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(value(our) for our, _ in pairs), tuple(value(base) for _, base in pairs)


MEASUREMENT = Measurement("worker_gap", "A worker's gap between two jobs", HOW, run)
