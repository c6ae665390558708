"""MongoDB goes away under load and comes back: what is asked meanwhile, and what must be true in the end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.topics import EVENTS
from tests.outages.mongo_checks import answers_are_whole, death_was_noticed, lease_was_kept, load_ended_well
from tests.outages.mongo_load import Load, Renderer, Requests
from tests.outages.mongo_world import PATIENCE_S, Members, World
from tests.streams.submissions import Ear

NEVER_LOGGED = ("Traceback", "unexpected failure", "message to the dead letters", "ending the process")
# A line when something begins to wait, one every half a minute and one when it waits no more, of few things at a time.
LINES_AT_MOST = 100
FLOOD = 34  # times three reads at once, far more than the driver has threads


@dataclass(frozen=True)
class Away:
    """How MongoDB goes and comes back, and for how long."""

    go: Callable[[], Awaitable[None]]
    come_back: Callable[[], Awaitable[None]]
    seconds: float
    look_every_s: float


@dataclass(frozen=True)
class Figures:
    """What was seen, for whoever wants to know. ``lines``: logged by each streams process meanwhile."""

    looks: int
    slowest_answer_s: float
    promised: int
    refused: int
    lines: tuple[int, ...]


async def lived_through(world: World, away: Away, *, with_a_death: bool = False) -> Figures:
    """The whole story. ``with_a_death``: a worker dies meanwhile, which must be noticed afterwards."""
    requests, load = Requests(world), Load(world)
    before = await world.settled_members(2)
    pids, lines = [one.process.pid for one in world.streams], [len(one.lines()) for one in world.streams]
    looks = 0
    async with Ear(world.log, EVENTS.name) as events, Renderer(world) as lives, Renderer(world) as dies:
        await load.begin()
        job_id = await requests.known_job()
        world.forget()
        await away.go()
        try:
            over = asyncio.create_task(asyncio.sleep(away.seconds))
            dies.mute = with_a_death
            await _ask_at_first(world, requests, load, job_id)
            while not over.done():
                looks += 1
                await _look(world, requests, before, job_id)
                await asyncio.wait([over], timeout=away.look_every_s)
        finally:
            await away.come_back()
        async with world.http() as http:
            await requests.readiness(http, [])
        await answers_are_whole(world, events, [load.expires, load.lives, *load.before, *load.during])
        await lease_was_kept(world, lives)
        if with_a_death:
            await death_was_noticed(world, dies)
        else:  # and no job is left whose worker nobody hears of: it would be called lost in the middle of a later look
            await lease_was_kept(world, dies)
    await requests.kept()
    await load_ended_well(world, load)
    assert await world.members() == before, "the groups are as they were"
    assert [one.process.pid for one in world.streams if one.process.poll() is None] == pids
    told = tuple(len(one.lines()) - count for one, count in zip(world.streams, lines, strict=True))
    assert max(told) < LINES_AT_MOST, f"{told} lines for an outage of {away.seconds:g} s"
    well_behaved(world)
    return Figures(looks, round(requests.slowest_s, 1), len(requests.promised), len(requests.refused), told)


async def _ask_at_first(world: World, requests: Requests, load: Load, job_id: str) -> None:
    """The first seconds, in which the driver itself still learns of it."""
    async with world.http() as http:
        await load.go_on()
        status = await requests.submit(http)
        assert status == 202, "the caller's key was good a moment ago, and Kafka is there"
        await requests.readiness(http, ["mongodb"])
        await requests.reads_refused(http, job_id, times=FLOOD)
        await requests.submit(http)
    await asyncio.gather(*(one.says("waits for mongodb", PATIENCE_S) for one in world.streams))


async def _look(world: World, requests: Requests, before: Members, job_id: str) -> None:
    """Nothing has changed: the members are the ones they were, reads say so at once, the processes live."""
    async with world.http() as http:
        await requests.readiness(http, ["mongodb"])
        await requests.reads_refused(http, job_id)
        await requests.submit(http)
    assert await world.members() == before, "every member is the one it was, with the partitions it had"
    for one in world.streams:
        assert one.process.poll() is None, one.words()
        one.hear()
        assert "waits for mongodb" in one.statuses[-1]


def well_behaved(world: World) -> None:
    """Nothing in the logs that speaks of a fault of ours."""
    for one in (*world.streams, world.gateway):
        found = [line for line in one.lines() if any(word in str(line) for word in NEVER_LOGGED)]
        assert not found, found
