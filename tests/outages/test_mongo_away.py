"""MongoDB away in each of the ways it goes away: commands wait and are decided after it, reads answer 503, and no
streams process leaves its group, ends or says the same thing for ever. The five minutes are in the last test."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from schemas.topics import EVENTS
from tests.outages.background import Background
from tests.outages.mongo_checks import answers_are_whole, lease_was_kept, load_ended_well
from tests.outages.mongo_load import Load, Renderer, Requests
from tests.outages.mongo_story import Away, lived_through, well_behaved
from tests.outages.mongo_world import PATIENCE_S, World
from tests.servers import closed_port
from tests.streams.streams_process import REPOSITORY, eventually
from tests.streams.submissions import Ear

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

AWAY_S = 10.0  # longer than a group's session (6 s) and every timeout of the driver
LONG_S = 22.0  # longer than a worker may be silent (20 s)
LOST_ANSWERS = 30


@pytest.fixture(scope="module")
async def world(
    servers: Mapping[str, str], topics: list[str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with World(servers, tmp_path_factory.mktemp("world")) as world:
        yield world


async def test_it_refuses_connections(world: World) -> None:
    await lived_through(world, Away(world.wire.cut, world.wire.mend, AWAY_S, 5.0))


async def test_it_is_silent(world: World) -> None:
    async def hold() -> None:
        world.wire.hold()

    async def let_go() -> None:
        world.wire.let_go()

    await lived_through(world, Away(hold, let_go, LONG_S, 8.0))


async def test_answers_are_lost_after_the_writes_happened(world: World) -> None:
    before = await world.settled_members(2)
    load = Load(world)
    async with Ear(world.log, EVENTS.name) as events, Renderer(world) as renderer:
        world.forget()
        await load.begin()
        # Begun whole: of a driver that loses every answer, each takes the others' connections along, for minutes.
        world.wire.lose_writes = True
        await load.go_on()
        await asyncio.gather(*(one.says("waits for mongodb", PATIENCE_S) for one in world.streams))

        async def many_lost() -> bool:
            return world.wire.lost > LOST_ANSWERS

        await eventually(many_lost, PATIENCE_S, what="answers of writes are lost")
        world.wire.lose_writes = False
        await answers_are_whole(world, events, [load.expires, load.lives, *load.before, *load.during])
        await lease_was_kept(world, renderer)
    await load_ended_well(world, load)
    assert await world.members() == before
    well_behaved(world)


async def test_processes_are_stopped_killed_and_started_while_it_is_silent(world: World) -> None:
    load, requests = Load(world), Requests(world)
    async with Ear(world.log, EVENTS.name) as events, Renderer(world) as renderer:
        await load.begin()
        world.forget()
        world.wire.hold()
        await load.go_on()
        await asyncio.gather(*(one.says("waits for mongodb", PATIENCE_S) for one in world.streams))
        stopped, killed = world.streams
        assert await stopped.terminate(within_s=15) == 0, stopped.words()
        assert await world.gateway.terminate(within_s=15) == 0, world.gateway.words()
        killed.kill()
        world.streams = [world.start_streams(), world.start_streams()]
        world.gateway = world.start_gateway()
        await asyncio.gather(*(one.says("waiting for mongodb", PATIENCE_S) for one in (*world.streams, world.gateway)))
        async with world.http() as http:
            await requests.readiness(http, ["mongodb"])
        leaving, staying = world.streams
        assert await leaving.terminate(within_s=15) == 0, leaving.words()
        assert not leaving.is_ready
        world.streams = [staying, world.start_streams()]
        world.wire.let_go()

        await asyncio.gather(*(one.ready(PATIENCE_S) for one in (*world.streams, world.gateway)))
        await answers_are_whole(world, events, [load.expires, load.lives, *load.before, *load.during])
        await lease_was_kept(world, renderer)
    await load_ended_well(world, load)
    well_behaved(world)


def test_openv_up_with_an_address_where_nobody_is_says_one_sentence(servers: Mapping[str, str], tmp_path: Path) -> None:
    port = closed_port()
    done = subprocess.run(
        [sys.executable, "-m", "operations", "up", "--data-dir", str(tmp_path / "data"), "--port", "0", "--no-worker"],
        env={**os.environ, **servers, "MONGODB_URI": f"mongodb://127.0.0.1:{port}/?directConnection=true"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("openv: mongodb does not answer")
    assert f"127.0.0.1:{port}" in done.stderr
    assert "MONGODB_URI" in done.stderr


@pytest.mark.timeout(1200)
async def test_five_minutes(five_minutes: Background) -> None:
    """It began when the tests did, in a process of its own with servers of its own (``background.py``)."""
    assert await five_minutes.ended(1100) == 0, five_minutes.words()
    assert five_minutes.verdict()["seconds"] >= 300
