"""Jobs a second through workers on RunPod's own SDK, against the same workers at a server that does nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.driver import Driver, driven
from bench.figures import Figure
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.sdk_crew import crew
from bench.sdk_endpoint import at, open_endpoint, worker_key
from bench.world import World

HOW = """\
Eight processes of `runpod.serverless.start` (the `runpod` package, unmodified) with a handler that returns at once \
stand at one gateway with one streams process behind it, eight more at the baseline. Jobs of 32 users are posted by 32 \
clients at once; the time runs from the first submission to the last job's end. First with one job a worker at a time, \
where the SDK itself waits for a second after each job it has taken, then with up to 16, which it takes in batches. \
The baseline: a bare Starlette server that keeps the jobs in a dictionary and speaks the same protocol."""
CLIENTS = 32
ENDPOINT = "bench-workers"


@dataclass(frozen=True)
class Size:
    rounds: int
    workers: int
    jobs: dict[int, int]  # a round, by how many a worker takes on at a time


FULL = Size(rounds=3, workers=8, jobs={1: 64, 16: 480})
QUICK = Size(rounds=1, workers=2, jobs={4: 8})


async def run(world: World) -> Sequence[Figure]:
    """Jobs a second for each number of jobs at a time."""
    size = QUICK if world.quick else FULL
    users = await world.users(CLIENTS, "sdk")
    keys = [user.key for user in users]
    await open_endpoint(world, ENDPOINT)
    key = await worker_key(world, ENDPOINT)
    async with (
        world.streams(),
        world.gateway() as gateway,
        driven("bench.floor_runpod", world.environment) as floor,
        driven("bench.runpod_load", world.environment) as load,
    ):
        ports = gateway.port, int((await floor.ask())["port"])
        return [await _figure(size, at_once, load, ports, keys, key) for at_once in size.jobs]


async def _figure(size: Size, at_once: int, load: Driver, ports: tuple[int, int], keys: list[str], key: str) -> Figure:
    ours, floor = ports
    count = size.jobs[at_once]

    async def round_of(port: int, jobs: int = count) -> float:
        """Jobs a second."""
        whose = [keys[number % len(keys)] for number in range(jobs)]
        done = await load.ask(do="work", port=port, at=at(ENDPOINT), clients=min(CLIENTS, jobs), keys=whose)
        return jobs / float(done["seconds"])

    async with (
        crew(f"http://127.0.0.1:{ours}{at(ENDPOINT)}", key, size.workers, at_once),
        crew(f"http://127.0.0.1:{floor}{at(ENDPOINT)}", key, size.workers, at_once),
    ):
        for port in ports:  # every worker has had one, every user is known
            await round_of(port, max(len(keys), 2 * size.workers) if size is FULL else size.workers)
        pairs = await by_turns(size.rounds, lambda: round_of(ours), lambda _: round_of(floor))
    name = f"jobs a second, {size.workers} workers, {at_once} at a time"
    return Figure(name, "/s", tuple(our for our, _ in pairs), tuple(base for _, base in pairs))


MEASUREMENT = Measurement("sdk_workers", "Jobs through RunPod SDK workers", HOW, run, within_s=400.0)
