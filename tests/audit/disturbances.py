"""What is done to the stream processors: one disturbance a trial, drawn from a seeded chance.

Each leaves two processes that run every role; whether they are ready again, and what became of the records, is looked
at afterwards. Times are in seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from random import Random
from types import MappingProxyType

from tests.audit.fleet import Fleet, until_assigned
from tests.streams.streams_process import QUICK

SESSION_S = float(QUICK["OPENV_STREAMS_SESSION_TIMEOUT_SECONDS"])
ROLES = ("all", "all", "ledger", "scheduler", "janitor")

Disturbance = Callable[[Fleet, Random], Awaitable[None]]


async def terminate(fleet: Fleet, chance: Random) -> None:
    """SIGTERM, and another in its place."""
    await fleet.stop(chance.choice(fleet.alive))
    fleet.start()


async def kill(fleet: Fleet, chance: Random) -> None:
    """kill -9, and another in its place at once."""
    fleet.kill(chance.choice(fleet.alive))
    fleet.start()


async def kill_and_take_over(fleet: Fleet, chance: Random) -> None:
    """kill -9; the other one is alone until the session of the dead one is over."""
    fleet.kill(chance.choice(fleet.alive))
    await asyncio.sleep(SESSION_S + chance.uniform(0.2, 1.0))
    fleet.start()


async def come_and_go(fleet: Fleet, chance: Random) -> None:
    """A third one, of one role or all, joins and leaves: rebalances without a death, or with one."""
    third = fleet.start("--role", chance.choice(ROLES))
    await fleet.ready(third)
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    if chance.random() < 0.7:
        await fleet.stop(third)
    else:
        fleet.kill(third)


async def suspend(fleet: Fleet, chance: Random) -> None:
    """SIGSTOP for longer than the session timeout, then SIGCONT: it does not know that it was given up."""
    zombie = chance.choice(fleet.alive)
    fleet.suspend(zombie)
    await asyncio.sleep(SESSION_S + chance.uniform(0.3, 1.5))
    fleet.resume(zombie)


async def suspend_shortly(fleet: Fleet, chance: Random) -> None:
    """SIGSTOP for about the session timeout: it may come back just before, or just as it is given up."""
    zombie = chance.choice(fleet.alive)
    fleet.suspend(zombie)
    await asyncio.sleep(SESSION_S + chance.uniform(-1.5, 0.3))
    fleet.resume(zombie)


async def suspend_and_kill(fleet: Fleet, chance: Random) -> None:
    """One is suspended while the other is killed and replaced."""
    zombie, victim = chance.sample(fleet.alive, 2)
    fleet.suspend(zombie)
    await asyncio.sleep(chance.uniform(0.0, SESSION_S))
    fleet.kill(victim)
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    fleet.start()
    await asyncio.sleep(chance.uniform(0.5, SESSION_S / 2))
    fleet.resume(zombie)


async def kill_both(fleet: Fleet, chance: Random) -> None:
    """Nobody is left for a moment."""
    for one in list(fleet.alive):
        fleet.kill(one)
        await asyncio.sleep(chance.uniform(0.0, 0.5))
    fleet.start()
    fleet.start()


async def kill_at_start(fleet: Fleet, chance: Random) -> None:
    """One is replaced, and the new one is killed on its way up."""
    await fleet.stop(chance.choice(fleet.alive))
    new = fleet.start()
    await asyncio.sleep(chance.uniform(0.2, 4.0))
    fleet.kill(new)
    fleet.start()


async def kill_in_rebalance(fleet: Fleet, chance: Random) -> None:
    """A third one joins; while the partitions move, one of the old ones is killed."""
    victim = chance.choice(fleet.alive)
    third = fleet.start()
    await until_assigned(third, within_s=20.0)
    await asyncio.sleep(chance.choice([0.0, chance.uniform(0.0, 0.5)]))
    fleet.kill(victim)


async def stop_and_kill(fleet: Fleet, chance: Random) -> None:
    """One leaves its groups cleanly; in the rebalance that this brings about the other is killed."""
    first, second = chance.sample(fleet.alive, 2)
    new = fleet.start()
    await fleet.ready(new)
    await fleet.stop(first)
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    fleet.kill(second)
    fleet.start()


async def alone(fleet: Fleet, chance: Random) -> None:
    """A fleet of one: that one is stopped or killed, and starts anew."""
    await fleet.stop(chance.choice(fleet.alive))
    await asyncio.sleep(chance.uniform(0.2, 1.0))
    (last,) = fleet.alive
    if chance.random() < 0.5:
        fleet.kill(last)
    else:
        await fleet.stop(last)
    await fleet.ready(fleet.start())
    fleet.start()


# How often each is drawn in a round.
KINDS: Mapping[Disturbance, int] = MappingProxyType(
    {
        terminate: 5,
        kill: 5,
        kill_and_take_over: 3,
        come_and_go: 4,
        suspend: 4,
        suspend_shortly: 2,
        suspend_and_kill: 2,
        kill_both: 2,
        kill_at_start: 3,
        kill_in_rebalance: 3,
        stop_and_kill: 2,
        alone: 2,
    }
)


def drawn(chance: Random) -> Iterator[Disturbance]:
    """One after the other, for ever: in each round every kind, as often as it is listed."""
    while True:
        round_ = [kind for kind, times in KINDS.items() for _ in range(times)]
        chance.shuffle(round_)
        yield from round_


def words_of(one: Disturbance) -> str:
    """Its name for a person."""
    return getattr(one, "__name__", "?").replace("_", " ")
