"""Messages a second that a replay writes, and that its dry run looks at; memory does not grow with them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench import bare
from bench.driver import driven
from bench.figures import Aim, Figure
from bench.measurement import Measurement
from bench.replay_console import seconds_to_copy
from bench.rounds import by_turns
from bench.world import World
from repo.clock import now_ms
from repo.topic_writer import TopicWriter
from schemas.codec import encode
from schemas.commands import SubmitJob
from schemas.requests import GenerationRequest

HOW = """\
A topic of commands of real size is replayed into another by `openv replay`: a dry run, then its execution, with its \
checkpoints, its headers, its audit, and each record written once. The baselines, by turns: a bare aiokafka loop in a \
process of its own, `getmany` into `send`, with the same acks and batches, that could not go on after a kill; and \
Kafka's console consumer piped into its console producer (without headers; the start of both JVMs counts). The last \
rows: a dry run alone, and the most memory that its process ever held."""

SOURCE, LARGE, OURS, BARE, CONSOLE = "bench.source", "bench.large", "bench.ours", "bench.bare", "bench.console"
AT_ONCE = 4_000
USERS = 500


@dataclass(frozen=True)
class Size:
    rounds: int
    records: int
    large: int


@dataclass(frozen=True)
class Round:
    """Records a second; ``mib``: the most memory so far."""

    written: float
    looked: float
    mib: float


FULL = Size(rounds=5, records=100_000, large=1_000_000)
QUICK = Size(rounds=1, records=2_000, large=3_000)


async def run(world: World) -> Sequence[Figure]:
    """Rates, and memory."""
    size = QUICK if world.quick else FULL
    async with (
        _filled(world, size),
        driven("bench.replay_ours", world.environment) as ours,
        driven("bench.replay_floor", world.environment) as floor,
    ):

        async def one() -> Round:
            told = await ours.ask(source=SOURCE, target=OURS, written=True)
            return Round(told["count"] / told["written"], told["count"] / told["looked"], told["mib"])

        async def baselines(_: Round) -> tuple[float, float]:
            told = await floor.ask(source=SOURCE, target=BARE, count=size.records)
            address = world.settings.kafka_bootstrap_servers
            console_s = await seconds_to_copy(address, SOURCE, CONSOLE, size.records, world.folder)
            return size.records / told["seconds"], size.records / console_s

        pairs = await by_turns(size.rounds, one, baselines)
        large = await ours.ask(source=LARGE, target=OURS, written=False)
    written = tuple(our.written for our, _ in pairs)
    return [
        Figure("replayed in a second, by a bare loop", "/s", written, tuple(base[0] for _, base in pairs),
               Aim("ratio", "at least", 0.7)),
        Figure("replayed in a second, by Kafka's console tools", "/s", written, tuple(base[1] for _, base in pairs)),
        Figure("looked at in a second, by a dry run", "/s", tuple(our.looked for our, _ in pairs)),
        Figure(f"dry run of {size.large:,} messages", "/s", (large["count"] / large["looked"],)),
        Figure(f"most memory, with {size.large:,} messages", "MiB", (large["mib"],), (pairs[-1][0].mib,)),
    ]  # fmt: skip


@asynccontextmanager
async def _filled(world: World, size: Size) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bare.topics(world.settings, SOURCE, LARGE, OURS, BARE, CONSOLE))
        writer = await stack.enter_async_context(TopicWriter(world.settings, "bench"))
        for topic, count in ((SOURCE, size.records), (LARGE, size.large)):
            for start in range(0, count, AT_ONCE):
                for number in range(start, min(start + AT_ONCE, count)):
                    made = _EXAMPLES[number % USERS]
                    writer.add(topic, number % bare.PARTITIONS, made.key, made.value, list(made.headers))
                await (await writer.send()).landed(60)
        yield


def _command(number: int) -> SubmitJob:
    return SubmitJob(
        command_id=f"command-{number}",
        user_id=f"user-{number}",
        job_id=f"00000000-0000-4000-8000-{number:012}",
        pool="mochi-1",
        request=GenerationRequest(prompt="a corgi surfing at sunset, cinematic light"),
        request_hash="0" * 32,
        append_by=now_ms(),
    )


_EXAMPLES = [encode(_command(number), source="/openv/gateway", at=now_ms()) for number in range(USERS)]

MEASUREMENT = Measurement("replay", "Replays", HOW, run, within_s=900.0)
