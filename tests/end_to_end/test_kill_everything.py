"""Two streams, three workers, two gateways, each killed in turn while 200 videos are made.

The engine is a scripted one (``staged_engine``): the 200 videos of the small real model would take this test many
minutes of bare arithmetic, and the picture is not what is at stake. All around it is real: the worker's parent and
child, the encoder, the files in S3, Kafka, MongoDB, HTTP and sockets.

A batch of videos is asked for before each kill, so there is always work under way, however slow the machine. The
order is seeded; what is asserted does not depend on it, nor on when anything happens.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from schemas.topics import COMMANDS, EVENTS
from tests.end_to_end.fleet import Fleet, sailing
from tests.end_to_end.people import Person, Watcher
from tests.end_to_end.stack import until
from tests.end_to_end.verdicts import (
    ROUNDED,
    check_history,
    check_socket,
    events_of,
    histories,
    stray_files,
    used_seconds,
)

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(900)]

SEED = random.SystemRandom().randrange(1_000_000) if os.environ.get("OPENV_EXPLORE") else 5
JOBS = 200
USERS = 6
NAMES = ("streams-1", "streams-2", "gateway-1", "gateway-2", "worker-1", "worker-2", "worker-3")
POOL = "mochi-1"
CANCELLED, DELETED = 0.1, 0.1  # shares of the videos
LAST_FRAMES = 7
TRIES = 10  # more than there are deaths of workers: none is used up
Deed = tuple[str, signal.Signals]


@dataclass
class Wish:
    """One video as its user wants it, and what became of it as far as the user was told."""

    person: Person
    number: int
    fate: str
    at_once: bool
    frames: int
    job_id: str = ""
    cancelled: bool = False


@dataclass
class Voyage:
    """A fleet, its users, their sockets and their videos."""

    fleet: Fleet
    people: list[Person]
    chance: random.Random
    wishes: list[Wish] = field(default_factory=list)
    fates: list[asyncio.Task[None]] = field(default_factory=list)
    asleep: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def ask_for(self, count: int) -> None:
        """That many more videos; returns when each is decided. What their users do later goes on by itself."""
        await asyncio.gather(*(self._ask(self._wish()) for _ in range(count)))

    def _wish(self) -> Wish:
        number = len(self.wishes)
        draw = self.chance.random()
        fate = "cancel" if draw < CANCELLED else "delete" if draw < CANCELLED + DELETED else "keep"
        at_once = self.chance.random() < 0.5
        wish = Wish(self.people[number % USERS], number, fate, at_once, self.chance.choice((7, 13, 19)))
        self.wishes.append(wish)
        return wish

    async def _ask(self, wish: Wish) -> None:
        fields = {"prompt": "paced", "num_frames": wish.frames, "steps": 10 + wish.number % 21, "seed": wish.number}
        row = await wish.person.submit(f"video-{wish.number}", wish.number, **fields)
        wish.job_id = row["jobId"]
        if wish.fate != "keep":
            self.fates.append(asyncio.create_task(self._meet(wish)))

    async def _meet(self, wish: Wish) -> None:
        if not wish.at_once:
            await wish.person.state(wish.job_id, "processing", "completed")
        if wish.fate == "cancel":
            wish.cancelled = await wish.person.cancel(wish.job_id, wish.number)
        else:
            await wish.person.delete(wish.job_id, wish.number)

    async def do(self, name: str, how: signal.Signals, count: int) -> None:
        """Do this to a process in the middle of the work, while so many more videos are asked for."""
        if name in self.asleep:
            await self.asleep.pop(name)
        batch = asyncio.create_task(self.ask_for(count // 2))
        working = await self.at_work(name, batch)
        member = self.fleet[name]
        if how is not signal.SIGSTOP:
            await asyncio.gather(member.ended(how), self.ask_for(count - count // 2))
        elif member.kind == "worker":
            self.asleep[name] = asyncio.create_task(self._sleep(name, working))
            await self.ask_for(count - count // 2)
        else:
            async with member.suspended():
                await self.ask_for(count - count // 2)  # all of them are decided: the other one has its partitions
        await batch

    async def at_work(self, name: str, batch: asyncio.Task[None]) -> Job:
        """A job that is being made, by this worker if it is one. More are asked for if all are made already."""

        async def look() -> Job | None:
            jobs = await self.fleet.store.active_jobs(POOL)
            if batch.done() and not jobs:
                await self.ask_for(USERS)
            if self.fleet[name].kind == "worker":
                jobs = [job for job in jobs if job.worker_id == name]
            return jobs[0] if jobs else None

        return await until(look, f"{name} at work")

    async def _sleep(self, name: str, working: Job) -> None:
        """The worker stands still until its job is no longer its own."""

        async def look() -> bool:
            job = await self.fleet.store.job(working.job_id)
            return job is None or job.state not in ACTIVE or job.attempt > working.attempt

        async with self.fleet[name].suspended():
            await until(look, f"{working.job_id} taken from {name}")

    async def rest(self) -> None:
        """Until every wish is met, every job has ended, and every word about it was applied."""
        await asyncio.gather(*self.asleep.values())
        await asyncio.gather(*self.fates)

        async def look() -> bool:
            return not await self.fleet.store.active_jobs(POOL)

        await until(look, "no job active")
        await self.fleet.applied("ledger", COMMANDS.name)
        await self.fleet.applied("janitor", EVENTS.name)


def plan(chance: random.Random) -> list[Deed]:
    """kill -9 for each, SIGTERM for one of each kind, SIGSTOP for a streams process and a worker; in any order."""
    deeds = [(name, signal.SIGKILL) for name in NAMES]
    deeds += [(_one(chance, kind), signal.SIGTERM) for kind in ("streams", "gateway", "worker")]
    deeds += [(_one(chance, kind), signal.SIGSTOP) for kind in ("streams", "worker")]
    chance.shuffle(deeds)
    return deeds


def _one(chance: random.Random, kind: str) -> str:
    return chance.choice([name for name in NAMES if name.startswith(kind)])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with sailing(tmp_path_factory.mktemp("everything"), NAMES, OPENV_MAX_RETRIES=str(TRIES)) as fleet:
        yield fleet


@pytest.mark.parametrize("seed", [SEED])
async def test_each_is_killed_in_turn_and_nothing_is_lost_doubled_or_unseen(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(fleet.person(f"user-{number}")) for number in range(USERS)]
        watchers = [Watcher(person, first) for person in people for first in (0, 1)]
        watching = [asyncio.create_task(watcher.run()) for watcher in watchers]
        for task in watching:
            stack.callback(task.cancel)
        voyage = Voyage(fleet, people, chance)
        await voyage.ask_for(USERS)
        await heard(watchers, watching, dict.fromkeys((person.user_id for person in people), 0))
        deeds, rest = plan(chance), JOBS - USERS
        for number, (name, how) in enumerate(deeds):
            await voyage.do(name, how, rest * (number + 1) // len(deeds) - rest * number // len(deeds))
        await voyage.rest()
        assert len(voyage.wishes) >= JOBS
        usage = {person.user_id: await further(person) for person in people}
        await voyage.rest()

        logged = await events_of(fleet.log)
        await heard(watchers, watching, {user: events[-1].offset for user, events in logged.items()})
        stories = {user: histories(events) for user, events in logged.items()}
        await check_wishes(fleet, voyage.wishes, stories)
        for user, used in usage.items():
            assert used == pytest.approx(used_seconds(stories[user]), abs=ROUNDED)
        await check_files(fleet, stories)
        for watcher in watchers:
            check_socket(watcher, logged[watcher.user_id])
    assert any(watcher.resumes for watcher in watchers)
    assert any(history[-1].attempt > 1 for jobs in stories.values() for history in jobs.values())
    assert all(len(member.lives) > 1 for member in fleet.members.values())
    assert not await fleet.alarms()


async def further(person: Person) -> float:
    """The seconds used after one more video was admitted, as the ledger answers. That video is then made."""
    row = await person.submit("further", prompt="paced", num_frames=LAST_FRAMES)
    await person.state(row["jobId"], "completed")
    usage: float = row["monthlyQuota"]["currentUsage"]
    return usage


async def heard(watchers: list[Watcher], watching: list[asyncio.Task[None]], last: dict[str, int]) -> None:
    """Wait until every socket is at this offset of its user's partition. One that was told not to come back fails."""

    async def look() -> bool:
        for task in watching:
            if task.done():
                task.result()
        return all(watcher.offset >= last[watcher.user_id] for watcher in watchers)

    await until(look, "every socket so far")


async def check_wishes(fleet: Fleet, wishes: list[Wish], stories: dict[str, dict[str, list[Job]]]) -> None:
    """Each video ended once, as its user was told; and there is none that nobody asked for."""
    asked = Counter(wish.person.user_id for wish in wishes)
    assert {user: len(jobs) for user, jobs in stories.items()} == {user: count + 1 for user, count in asked.items()}
    for jobs in stories.values():
        for job_id, history in jobs.items():
            check_history(history, await fleet.store.job(job_id))
    for wish in wishes:
        last = stories[wish.person.user_id][wish.job_id][-1]
        kept = State.CANCELLED if wish.cancelled else State.COMPLETED
        assert last.state is (State.DELETED if wish.fate == "delete" else kept), (wish, last)


async def check_files(fleet: Fleet, stories: dict[str, dict[str, list[Job]]]) -> None:
    """Each video is there, and nothing else; but for what a worker killed with kill -9 took its knowledge of along."""
    killed = {life.session() for worker in fleet.of("worker") for life in worker.lives if life.done is signal.SIGKILL}

    async def look() -> set[str] | None:
        strays = set()
        for user, jobs in stories.items():
            strays |= await stray_files(fleet, user, [history[-1] for history in jobs.values()])
        return strays if all(Path(key).stem in killed for key in strays) else None

    strays = await until(look, "no file that nobody shows")
    left_by = {(Path(key).stem, *key.split("/")[2:4]) for key in strays}  # session, job, attempt
    assert len(left_by) == len({session for session, *_ in left_by}), strays
