"""Two gateways, 200 live clients, each gateway restarted in turn under a stream of jobs: nobody misses an event.

Real Kafka, MongoDB, S3, streams and gateways. The workers are scripted: they report over Kafka at once, for the videos
are not what is at stake. Half of the clients go to the other gateway when theirs is gone; the others wait until the new
process is there, which has to fill its window from the log before it can answer them.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.core.submission import job_id_for
from schemas.codec import decode
from schemas.dispatch import RunAttempt
from schemas.topics import ASSIGNMENTS, COMMANDS
from tests.audit.post import Post
from tests.audit.workers import ScriptedWorker
from tests.end_to_end.fleet import Fleet, Member, sailing
from tests.end_to_end.people import Listener, Person, Watcher
from tests.end_to_end.stack import until
from tests.end_to_end.verdicts import Logged, check_socket, events_of

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(400)]

NAMES = ("streams-1", "gateway-1", "gateway-2")
POOL = "mochi-1"
CLIENTS = 200
USERS = 20
JOBS, JOBS_MOST = 150, 600
AT_ONCE, UNFINISHED_MOST = 6, 18
BETWEEN = 30  # jobs that are admitted while nobody is restarted
WORKERS = 6


@dataclass
class Stream:
    """Jobs, one after the other, until ``enough`` is set and there are ``JOBS`` of them."""

    fleet: Fleet
    people: list[Person]
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    admitted: int = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._go_on() for _ in range(AT_ONCE)))

    async def ask(self) -> None:
        """One more job, of the next user."""
        number, self.begun = self.begun, self.begun + 1
        person = self.people[number % len(self.people)]
        await person.submit(key_of(number), number, prompt="a corgi", num_frames=7)
        self.admitted += 1

    async def _go_on(self) -> None:
        while self.begun < (JOBS if self.enough.is_set() else JOBS_MOST):
            await self.ask()
            await until(self._room, "room for another job")

    async def _room(self) -> bool:
        return len(await self.fleet.store.active_jobs(POOL)) < UNFINISHED_MOST

    async def more(self, count: int) -> None:
        """Wait until that many more were admitted."""
        enough = self.admitted + count

        async def look() -> bool:
            return self.admitted >= enough

        await until(look, f"{count} more jobs")

    async def rest(self) -> None:
        """Until every job has ended."""

        async def look() -> bool:
            return not await self.fleet.store.active_jobs(POOL)

        await until(look, "no job active")


@asynccontextmanager
async def workers(fleet: Fleet) -> AsyncIterator[None]:
    """Scripted ones, all of which deliver what they are given."""
    log, chance = fleet.log, random.Random(5)
    crew = [ScriptedWorker(Post(log), POOL, chance) for _ in range(WORKERS)]
    orders = {worker.worker_id: worker.orders for worker in crew}
    start = await log.ends(ASSIGNMENTS.name)

    async def hand_out() -> None:
        async with aclosing(cast("Any", log.tail(ASSIGNMENTS.name, start))) as batches:
            async for batch in batches:
                for order in map(decode, batch):
                    if isinstance(order, RunAttempt) and order.worker_id in orders:
                        orders[order.worker_id].put_nowait(order)

    for worker in crew:
        worker.diligent = True
    tasks = [asyncio.create_task(at_work) for at_work in (hand_out(), *(worker.run() for worker in crew))]
    try:
        yield
    finally:
        await ended(tasks)


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancelled, and over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def crowd_of(person: Person, number: int) -> list[Watcher]:
    """Ten clients of the user with this number, at both gateways: half of them loyal; two are at one job each, which
    is still to be asked for, and one is an event stream, of another kind for each user."""
    jobs = [job_id_for(person.user_id, key_of(number + USERS * turn), "") for turn in (3, 6)]
    made = [Watcher(person, first, loyal=loyal) for first in (0, 1) for loyal in (True, False) for _ in range(2)]
    made[number % 8] = Listener(person, made[number % 8].first, loyal=made[number % 8].loyal)
    return [*made, *(Watcher(person, first, loyal=bool(first), job_id=jobs[first]) for first in (0, 1))]


def key_of(number: int) -> str:
    """The idempotency key of a job of the stream."""
    return f"job-{number}"


async def heard(watching: dict[Watcher, asyncio.Task[None]], last: dict[Watcher, int]) -> None:
    """Wait until each client is at its offset. One that has ended fails."""

    async def look() -> bool:
        for task in watching.values():
            if task.done():
                task.result()
        return all(watcher.epochs and watcher.offset >= offset for watcher, offset in last.items())

    await until(look, "every client so far")


async def restart(member: Member, how: signal.Signals, stream: Stream) -> None:
    """End a gateway in the middle of the stream; back when its successor is ready and the stream has gone on."""
    await stream.more(BETWEEN)
    await member.ended(how)
    await stream.more(BETWEEN)


def mine(watcher: Watcher, logged: dict[str, list[Logged]]) -> list[Logged]:
    """The events of the log that this client watches."""
    return [event for event in logged[watcher.user_id] if watcher.job_id in (None, event.job.job_id)]


def check_client(watcher: Watcher, events: list[Logged]) -> None:
    """One snapshot, at the very beginning; after it all events of the log, in order, none missing, none twice."""
    assert len(watcher.epochs) == 1, f"{watcher.user_id} was told {len(watcher.epochs) - 1} times to begin anew"
    check_socket(watcher, events)
    later = [event for event in events if event.offset > watcher.epochs[0].begin]
    assert len(watcher.offsets) == len(set(watcher.offsets)), f"{watcher.user_id} was sent a record twice"
    assert set(watcher.offsets) <= {event.offset for event in later}


def replayed(watcher: Watcher, events: list[Logged]) -> int:
    """How many of the events that it heard happened while it was connected to nobody."""
    happened = {event.offset: event.job.updated_at for event in events}
    times = [happened[offset] for offset in watcher.offsets]
    return sum(any(lost < at < back for lost, back in watcher.away) for at in times)


async def test_each_gateway_is_restarted_and_every_client_has_the_log_once_and_in_order(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(sailing(tmp_path / "fleet", NAMES))
        await stack.enter_async_context(workers(fleet))
        people = [await stack.enter_async_context(fleet.person(f"user-{number}")) for number in range(USERS)]
        stream = Stream(fleet, people)
        await asyncio.gather(*(stream.ask() for _ in people))
        running = asyncio.create_task(stream.run())
        stack.push_async_callback(ended, [running])
        watchers = [watcher for number, person in enumerate(people) for watcher in crowd_of(person, number)]
        assert len(watchers) == CLIENTS
        watching = {watcher: asyncio.create_task(watcher.run()) for watcher in watchers}
        stack.push_async_callback(ended, watching.values())
        await heard(watching, dict.fromkeys(watchers, 0))

        await restart(fleet["gateway-1"], signal.SIGTERM, stream)
        await restart(fleet["gateway-2"], signal.SIGKILL, stream)
        stream.enough.set()
        await running
        await stream.rest()
        await fleet.applied("ledger", COMMANDS.name)

        logged = await events_of(fleet.log)
        await heard(watching, {watcher: mine(watcher, logged)[-1].offset for watcher in watchers})
        for watcher in watchers:
            check_client(watcher, mine(watcher, logged))
        assert sum(len(mine(watcher, logged)) for watcher in watchers[:: CLIENTS // USERS]) >= 3 * JOBS
        assert all(watcher.resumes for watcher in watchers)
        loyal = [watcher for watcher in watchers if watcher.loyal and watcher.job_id is None]
        for first in (0, 1):
            assert sum(replayed(watcher, logged[watcher.user_id]) for watcher in loyal if watcher.first == first) > 0
        assert not await fleet.alarms()
