"""From an event in the log to a browser's socket, against a bare consumer of the same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.driver import Driver, driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.world import World

HOW = """\
One process appends job events to `openv.events`, each for a user who has a socket open at the gateway, and waits for \
the log's ack and for the frame; 1 event under way, then 8. The baseline, in the same process: the same bytes to a \
topic of their own, acked, and received by a bare aiokafka consumer there. So the difference is the gateway: its tail \
of the log, its window, its fan-out, and a WebSocket."""


@dataclass(frozen=True)
class Size:
    rounds: int
    alone: int  # events a round with one under way
    crowd: int  # and with eight


FULL = Size(rounds=9, alone=150, crowd=600)
QUICK = Size(rounds=1, alone=5, crowd=16)
CROWD = 8
Answers = dict[str, Any]


async def run(world: World) -> Sequence[Figure]:
    """p50 and p99, alone and in a crowd."""
    size = QUICK if world.quick else FULL
    users = await world.users(CROWD)
    async with world.gateway() as gateway:
        told = world.environment | {
            "BENCH_PORT": str(gateway.port),
            "BENCH_USERS": " ".join(f"{user.user_id}={user.key}" for user in users),
        }
        async with driven("bench.socket_events", told) as driver:
            await driver.ask(of="sockets", clients=CROWD, count=CROWD * 10)
            await driver.ask(of="consumer", clients=CROWD, count=CROWD * 10)
            alone = await _rounds(size.rounds, driver, 1, size.alone)
            crowd = await _rounds(size.rounds, driver, CROWD, size.crowd)
    return [*_figures("1 under way", alone), *_figures(f"{CROWD} under way", crowd)]


async def _rounds(rounds: int, driver: Driver, clients: int, events: int) -> list[tuple[Answers, Answers]]:
    return await by_turns(
        rounds,
        lambda: driver.ask(of="sockets", clients=clients, count=events),
        lambda _: driver.ask(of="consumer", clients=clients, count=events),
    )


def _figures(who: str, pairs: Sequence[tuple[Answers, Answers]]) -> list[Figure]:
    def of(name: str, value: Callable[[Sequence[float]], float], aim: Aim | None = None) -> Figure:
        ours, baseline = (tuple(value(pair[side]["ms"]) for pair in pairs) for side in (0, 1))
        return Figure(f"{name}, {who}", "ms", ours, baseline, aim)

    return [
        of("p50", median),
        of("p99", lambda took: percentile(took, 0.99), Aim("ratio", "at most", 2.0)),
    ]


MEASUREMENT = Measurement("sockets", "Event to socket", HOW, run)
