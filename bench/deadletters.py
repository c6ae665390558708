"""From POST to the decision while thousands of dead letters are redriven: what live traffic feels of it."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from typing import Any

import orjson

from bench.driver import ROOT, Driver, Failed, driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.world import User, World
from repo.clock import now_ms
from schemas.codec import Encoded, Record, encode
from schemas.commands import SubmitJob
from schemas.requests import GenerationRequest
from schemas.topics import COMMANDS
from streams.deadletters import CannotProcess, dead_letter

RATE = 200  # letters a second: four times what `openv deadletters redrive` takes by itself
HOW = f"""\
A client process posts submissions to one gateway, with one streams process behind it, one under way, while `openv \
deadletters redrive --execute --rate {RATE}` sends ten thousand submissions that had been set aside back to be \
decided; the baseline, by turns: the same posts without it. The redrive's dry run goes before, and is not measured."""

OWNERS = 100  # of letters
PORTION = 50  # posts
AT_ONCE = 1_000


@dataclass(frozen=True)
class Size:
    rounds: int
    users: int
    letters: int  # a round


FULL = Size(rounds=5, users=100, letters=2_000)
QUICK = Size(rounds=1, users=8, letters=100)


@dataclass(frozen=True)
class Round:
    """Times of posts in ms, with and without; ``seconds`` that the redrive wrote for."""

    beside: list[float]
    alone: list[float]
    seconds: float


async def run(world: World) -> Sequence[Figure]:
    """p50 and p99 of a post, with and without a redrive; letters a second."""
    size = QUICK if world.quick else FULL
    users = await world.users(size.users)
    async with world.streams(), world.gateway() as gateway:
        told = world.environment | {"BENCH_PORT": str(gateway.port)}
        async with driven("bench.request_load", told) as load:
            await load.ask(clients=min(8, len(users)), keys=[user.key for user in users])
            keys = _in_turn(users)
            rounds = [await _round(world, load, keys, number, size) for number in range(size.rounds)]
            await world.settled(within_s=120)
    return [
        _figure("p50 of a post", rounds, median),
        _figure("p99 of a post", rounds, lambda ms: percentile(ms, 0.99), Aim("ratio", "at most", 1.5)),
        Figure("letters redriven", "/s", tuple(size.letters / one.seconds for one in rounds)),
    ]


async def _round(world: World, load: Driver, keys: Any, number: int, size: Size) -> Round:
    await _set_aside(world, f"owner-{number}", size.letters)
    before = await _written(world)
    looked = await _redrive(world, "--all")
    out, words = await looked.communicate()
    if looked.returncode != 0:
        raise Failed(f"the dry run ended with {looked.returncode}: {words.decode()[-500:]}")
    redrive = await _redrive(world, orjson.loads(out)["replay"]["id"], "--execute", f"--rate={RATE}")
    ending = asyncio.create_task(redrive.communicate())
    while await _written(world) == before and not ending.done():  # noqa: ASYNC110 -- of another process
        await asyncio.sleep(0.05)
    began = asyncio.get_running_loop().time()
    beside = []
    while not ending.done():
        beside += (await load.ask(clients=1, keys=list(islice(keys, PORTION))))["ms"]
    seconds = asyncio.get_running_loop().time() - began
    _, words = await ending
    if redrive.returncode != 0:
        raise Failed(f"the redrive ended with {redrive.returncode}: {words.decode()[-500:]}")
    await world.settled(within_s=120)
    alone: list[float] = []
    while len(alone) < len(beside):
        alone += (await load.ask(clients=1, keys=list(islice(keys, PORTION))))["ms"]
    return Round(beside, alone, seconds)


async def _redrive(world: World, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "operations", "deadletters", "redrive", *words, "--json",
        cwd=ROOT, env=world.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _set_aside(world: World, prefix: str, letters: int) -> None:
    """Submissions as the ledger puts them aside that can't decide them."""
    made = [_letter(f"{prefix}-{number % OWNERS}", f"{prefix}-{number}") for number in range(letters)]
    for first in range(0, letters, AT_ONCE):
        await world.log.append_all(made[first : first + AT_ONCE])


def _letter(user_id: str, job_id: str) -> Encoded:
    at = now_ms()
    command = SubmitJob(
        command_id=f"c-{job_id}",
        user_id=user_id,
        job_id=job_id,
        pool="mochi-1",
        request=GenerationRequest(prompt="a corgi surfing at sunset, cinematic light", num_frames=31, steps=40),
        request_hash="hash",
        append_by=at + 2_000,
    )
    made = encode(command, source="/bench", at=at)
    record = Record(COMMANDS.name, 0, 0, at, made.key, made.value, made.headers)
    return dead_letter(record, "openv-ledger", CannotProcess("a mistake of ours"))


async def _written(world: World) -> int:
    """How much was ever written to the commands by anybody: between two posts, by the redrive."""
    return sum((await world.log.ends(COMMANDS.name)).values())


def _in_turn(users: Sequence[User]) -> Any:
    return (users[number % len(users)].key for number in count())


def _figure(name: str, rounds: Sequence[Round], of: Any, aim: Aim | None = None) -> Figure:
    return Figure(name, "ms", tuple(of(one.beside) for one in rounds), tuple(of(one.alone) for one in rounds), aim)


MEASUREMENT = Measurement("deadletters", "Live traffic beside a redrive", HOW, run, within_s=420)
