"""From POST to the decision while thousands of dead letters are redriven: what live traffic feels of it."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from statistics import median
from typing import Any

import orjson

from bench.driver import ROOT, Driver, Failed, driven
from bench.figures import Aim, Figure, percentile
from bench.measurement import Measurement
from bench.world import User, World
from operations.core.dead_letters import RATE
from repo.clock import now_ms
from schemas.codec import Encoded, Record, encode
from schemas.commands import AskUsage, SubmitJob
from schemas.requests import GenerationRequest
from schemas.topics import COMMANDS
from streams.deadletters import CannotProcess, dead_letter

NO_LIMIT = 10_000  # letters a second: far more than any ledger takes
HOW = f"""\
A client process posts submissions to one gateway, with one streams process behind it, one under way, while `openv \
deadletters redrive --execute` sends submissions that had been set aside back to be decided, ten thousand over all \
rounds: {RATE:g} a second, as it does by itself; then as many as it may (`--rate {NO_LIMIT}`), where it goes as fast \
as the ledger decides. All users are known to the ledger. The baseline, by turns: the same posts without it. The \
redrive's dry run goes before, and is not measured."""

OWNERS = 100  # of letters
PORTION = 50  # posts
AT_ONCE = 1_000


@dataclass(frozen=True)
class Size:
    rounds: int
    users: int
    letters: int  # a round, at the usual rate
    fast: int  # at no rate


FULL = Size(rounds=5, users=100, letters=600, fast=1_400)
QUICK = Size(rounds=1, users=8, letters=40, fast=30)


@dataclass(frozen=True)
class Round:
    """Times of posts in ms, with and without; ``seconds`` that the redrive wrote for."""

    beside: list[float]
    alone: list[float]
    seconds: float
    letters: int


async def run(world: World) -> Sequence[Figure]:
    """p50 and p99 of a post, with and without a redrive; letters a second."""
    size = QUICK if world.quick else FULL
    users = await world.users(size.users)
    async with world.streams(), world.gateway() as gateway:
        told = world.environment | {"BENCH_PORT": str(gateway.port)}
        async with driven("bench.request_load", told) as load:
            await load.ask(clients=min(8, len(users)), keys=[user.key for user in users])
            keys = _in_turn(users)
            usual, fast = [], []
            for number in range(size.rounds):
                usual.append(await _round(world, load, keys, f"usual-{number}", size.letters, RATE))
                fast.append(await _round(world, load, keys, f"fast-{number}", size.fast, NO_LIMIT))
    return [
        *_figures("", usual, Aim("ratio", "at most", 1.5)),
        *_figures(", no rate", fast),
    ]


async def _round(world: World, load: Driver, keys: Any, name: str, letters: int, rate: float) -> Round:
    await _known(world, [f"{name}-{number}" for number in range(OWNERS)])
    await _set_aside(world, name, letters)
    before = await _written(world)
    looked = await _redrive(world, "--all")
    out, words = await looked.communicate()
    if looked.returncode != 0:
        raise Failed(f"the dry run ended with {looked.returncode}: {words.decode()[-500:]}")
    redrive = await _redrive(world, orjson.loads(out)["replay"]["id"], "--execute", f"--rate={rate}")
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
    await world.settled(within_s=120)
    return Round(beside, alone, seconds, letters)


async def _redrive(world: World, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "operations", "deadletters", "redrive", *words, "--json",
        cwd=ROOT, env=world.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _known(world: World, owners: Sequence[str]) -> None:
    """They had asked for their usage before: what the ledger reads of a user it has never seen is not measured here."""
    asked = [AskUsage(command_id=f"asked-{owner}", user_id=owner) for owner in owners]
    await world.log.append_all([encode(one, source="/bench", at=now_ms()) for one in asked])
    await world.settled(within_s=120)


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


def _figures(when: str, rounds: Sequence[Round], aim: Aim | None = None) -> list[Figure]:
    def of(name: str, which: Callable[[list[float]], float], aim: Aim | None = None) -> Figure:
        ours, base = tuple(which(one.beside) for one in rounds), tuple(which(one.alone) for one in rounds)
        return Figure(f"{name} of a post{when}", "ms", ours, base, aim)

    redriven = tuple(one.letters / one.seconds for one in rounds)
    return [
        of("p50", median),
        of("p99", lambda ms: percentile(ms, 0.99), aim),
        Figure(f"letters redriven{when}", "/s", redriven),
    ]


MEASUREMENT = Measurement("deadletters", "Live traffic beside a redrive", HOW, run, within_s=900)
