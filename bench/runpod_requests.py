"""RunPod's API for clients: submissions and looks at a job, a second, against a server that does nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from typing import Any

from bench.driver import Driver, driven
from bench.figures import Figure, percentile
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.sdk_endpoint import at, open_endpoint
from bench.world import User, World

HOW = """\
A client process with 32 connections, each with one request under way, posts jobs to `/v2/{endpoint}/run` of one \
gateway, with one streams process behind it, and then asks `/v2/{endpoint}/status/{id}` of each of them; no worker is \
there, so all of them wait. Users take turns and are known to the ledger. The baseline, by turns and with the same \
clients: a bare Starlette server that keeps the jobs in a dictionary, checks neither keys nor limits, writes nothing \
anywhere and forgets all when it ends."""
CLIENTS = 32
ENDPOINT = "bench-requests"


@dataclass(frozen=True)
class Size:
    rounds: int
    users: int
    requests: int  # of each kind in a round


FULL = Size(rounds=7, users=200, requests=320)
QUICK = Size(rounds=1, users=8, requests=32)
Answers = dict[str, Any]


async def run(world: World) -> Sequence[Figure]:
    """p50, p99 and requests a second, of each kind."""
    size = QUICK if world.quick else FULL
    users = await world.users(size.users, "runpod")
    await open_endpoint(world, ENDPOINT)
    async with (
        world.streams(),
        world.gateway() as gateway,
        driven("bench.floor_runpod", world.environment) as floor,
        driven("bench.runpod_load", world.environment) as load,
    ):
        keys = _in_turn(users)
        floor_port = (await floor.ask())["port"]
        await _both(load, gateway.port, [user.key for user in users])
        await _both(load, floor_port, [user.key for user in users])
        pairs = await by_turns(
            size.rounds,
            lambda: _both(load, gateway.port, list(islice(keys, size.requests))),
            lambda our: _both(load, floor_port, our[0]["keys"]),
        )
    submitted = [(our[0], base[0]) for our, base in pairs]
    looked = [(our[1], base[1]) for our, base in pairs]
    return [*_figures("/run", submitted), *_figures("/status", looked)]


def _in_turn(users: Sequence[User]) -> Any:
    return (users[number % len(users)].key for number in count())


async def _both(load: Driver, port: int, keys: list[str]) -> tuple[Answers, Answers]:
    ran = await load.ask(do="run", port=port, at=at(ENDPOINT), clients=CLIENTS, keys=keys)
    looked = await load.ask(do="status", port=port, at=at(ENDPOINT), clients=CLIENTS, keys=keys, ids=ran["ids"])
    return ran | {"keys": keys}, looked


def _figures(what: str, pairs: Sequence[tuple[Answers, Answers]]) -> list[Figure]:
    def of(name: str, unit: str, value: Callable[[Answers], float]) -> Figure:
        ours, baseline = (tuple(value(pair[side]) for pair in pairs) for side in (0, 1))
        return Figure(f"{what}: {name}, {CLIENTS} clients", unit, ours, baseline)

    return [
        of("requests a second", "/s", lambda one: len(one["ms"]) / one["seconds"]),
        of("p50", "ms", lambda one: median(one["ms"])),
        of("p99", "ms", lambda one: percentile(one["ms"], 0.99)),
    ]


MEASUREMENT = Measurement("runpod_requests", "RunPod's API: jobs posted and looked at", HOW, run)
