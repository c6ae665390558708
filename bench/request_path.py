"""From POST to the ledger's decision, through gateway, Kafka, ledger and MongoDB, against the least that takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from typing import Any

from bench.driver import Driver, driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.world import User, World

HOW = """\
A client process posts submissions to one gateway, with one streams process behind it, and waits for each row (200); \
1 client, then 32, each with one request under way. Users take turns and are known to the ledger. The floor, in a \
process of its own at the same concurrency: produce with acks of all and receive, read one document, replace it if its \
version still holds, produce and receive, with bare aiokafka and motor on the same servers."""


@dataclass(frozen=True)
class Size:
    rounds: int
    users: int
    alone: int  # requests a round with one client
    crowd: int  # and with 32


FULL = Size(rounds=7, users=200, alone=100, crowd=320)
QUICK = Size(rounds=1, users=8, alone=8, crowd=32)
CROWD = 32
Answers = dict[str, Any]


async def run(world: World) -> Sequence[Figure]:
    """Six figures: p50, p99 and requests a second, alone and in a crowd."""
    size = QUICK if world.quick else FULL
    users = await world.users(size.users)
    async with world.streams(), world.gateway() as gateway:
        told = world.environment | {"BENCH_PORT": str(gateway.port)}
        async with driven("bench.request_load", told) as load, driven("bench.request_floor", told) as floor:
            await _warm_up(load, floor, users)
            keys = _in_turn(users)
            alone = await _rounds(size.rounds, load, floor, 1, size.alone, keys)
            crowd = await _rounds(size.rounds, load, floor, CROWD, size.crowd, keys)
    return [*_figures("1 client", alone), *_figures(f"{CROWD} clients", crowd)]


async def _warm_up(load: Driver, floor: Driver, users: Sequence[User]) -> None:
    """Every user once: the ledger has their jobs in memory, connections are open, code is compiled."""
    await load.ask(clients=min(CROWD, len(users)), keys=[user.key for user in users])
    await floor.ask(clients=CROWD, count=CROWD * 4)


def _in_turn(users: Sequence[User]) -> Any:
    return (users[number % len(users)].key for number in count())


async def _rounds(
    rounds: int, load: Driver, floor: Driver, clients: int, requests: int, keys: Any
) -> list[tuple[Answers, Answers]]:
    return await by_turns(
        rounds,
        lambda: load.ask(clients=clients, keys=list(islice(keys, requests))),
        lambda _: floor.ask(clients=clients, count=requests),
    )


def _figures(who: str, pairs: Sequence[tuple[Answers, Answers]]) -> list[Figure]:
    def of(name: str, unit: str, value: Any, aim: Aim | None = None) -> Figure:
        return Figure(
            f"{name}, {who}", unit, tuple(value(our) for our, _ in pairs), tuple(value(base) for _, base in pairs), aim
        )

    return [
        of("p50", "ms", lambda one: median(one["ms"]), Aim("ratio", "at most", 2.0)),
        of("p99", "ms", lambda one: percentile(one["ms"], 0.99)),
        of("requests a second", "/s", lambda one: len(one["ms"]) / one["seconds"]),
    ]


MEASUREMENT = Measurement("request_path", "POST to decision", HOW, run)
