"""The trials: one disturbance after the other, and after each what came of every record in the log by then."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.audit.disturbances import Disturbance, drawn, words_of
from tests.audit.stage import Stage, end, own
from tests.audit.witness import Ends

SETTLE_WITHIN_S = 75.0  # past the watchdog's patience: a process that it ends is a fault of its own
COMPARE_ALL_EVERY = 25


@dataclass(slots=True)
class Trial:
    """One disturbance and its verdict. ``waited_ms``: the longest that a record waited for its effect."""

    number: int
    kind: str
    seconds: float = 0.0
    waited_ms: int = 0
    ends: Ends = field(default_factory=dict)
    commands: int = 0
    twice: int = 0
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """For a person."""
        ends = "  ".join(f"{topic.removeprefix('openv.')} …{sum(at.values())}" for topic, at in self.ends.items() if at)
        verdict = "ok" if not self.faults else f"FAULT ({len(self.faults)})"
        return (
            f"{self.number:4}  {self.kind:<18} {self.seconds:5.1f} s  longest wait {self.waited_ms / 1000:4.1f} s  "
            f"{self.commands} commands, {self.twice} twice  {ends}  {verdict}"
        )


async def trials(stage: Stage, count: int, chance: Random, say: Callable[[str], None]) -> list[Trial]:
    """Up to so many; the first one with a fault is the last: what comes after would only be its echo."""
    done: list[Trial] = []
    disturbances = drawn(own(chance))
    for number in range(1, count + 1):
        one = await trial(stage, number, next(disturbances), own(chance))
        if not one.faults and number % COMPARE_ALL_EVERY == 0:
            users = sorted(stage.judge.users)
            await stage.witness.compare(users, {})
            one.faults = stage.faults()
            say(f"      every document of {len(users)} users compared")
        done.append(one)
        say(one.line())
        if one.faults:
            break
    return done


async def trial(stage: Stage, number: int, disturb: Disturbance, chance: Random) -> Trial:
    """One disturbance; then every record before its end has had its effects, and what it touched is the core's."""
    one, began = Trial(number, words_of(disturb)), time.monotonic()
    stage.judge.waits.clear()
    await asyncio.sleep(chance.uniform(0.0, 0.4))
    await disturb(stage.fleet, chance)
    await stage.fleet.ready()
    one.faults = await settle(stage)
    one.seconds = time.monotonic() - began
    one.waited_ms = max(stage.judge.waits, default=0)
    one.ends = await stage.witness.ends()
    one.commands, stage.commands = stage.judge.commands - stage.commands, stage.judge.commands
    one.twice, stage.twice = stage.judge.twice - stage.twice, stage.judge.twice
    return one


async def settle(stage: Stage, *, at_rest: bool = False, within_s: float = SETTLE_WITHIN_S) -> list[str]:
    """Wait for the effects of all that is in the log now, and compare the documents of whom it was about."""
    judge, witness = stage.judge, stage.witness
    touched = sorted(judge.users if at_rest else judge.touched)
    judge.touched.clear()
    least: dict[str, int] = {}
    for user in touched:
        least.update(judge.versions.newest(judge.users[user]))
    missing = await witness.settled(await witness.ends(), stage.probes, len(stage.fleet.alive), within_s)
    if not missing:
        judge.touched.update(await witness.compare(touched, least, at_rest=at_rest))
    return [*stage.faults(), *missing, *await witness.dead_letters()]


async def come_to_rest(stage: Stage) -> list[str]:
    """No more load; the workers deliver what there is; then every document is the core's, to the last version."""
    await end([stage.load])
    for worker in stage.workers:
        worker.diligent = True
    faults = await settle(stage)
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while not faults and (waiting := await stage.witness.active_jobs(stage.pools)):
        if time.monotonic() > deadline:
            faults = [f"{len(waiting)} jobs did not leave their queues though workers ask, e.g. {waiting[0]}"]
        await asyncio.sleep(0.5)
    await end(stage.tasks)
    return faults or [*await settle(stage, at_rest=True), *stage.judge.versions.never_made()]
