"""kill -9 of ``openv replay --execute`` at random points, against the real Kafka: each record is there once."""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from operations.replay.commands import WAITS
from operations.stack.servers import EmbeddedServers
from repo.mongo import MongoDatabase
from repo.topic_admin import TopicAdmin
from schemas.replay_plans import ReplayState
from schemas.replays import ORIGIN, REPLAY_ID, replayed
from tests.operations.replay.cluster import PARTITIONS, OpenV, fill, topics_named, whole
from tests.servers import settings_of
from tests.streams.submissions import new_id

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(300)]

RECORDS = 2_400
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """Servers of this module's own."""
    async with EmbeddedServers(tmp_path_factory.mktemp("killed") / "data") as environment:
        async with TopicAdmin(settings_of(environment)) as admin:
            await admin.apply()
        yield environment


async def ended_midway(openv: OpenV, replay_id: str, how: signal.Signals, chance: random.Random) -> None:
    """Begun, and ended by this signal a random moment after it said that it had written something."""
    process = await openv.start(
        "replay", replay_id, "--execute", "--json", "--rate", "400"
    )  # so that all the signals come before its end
    assert process.stdout is not None
    async with asyncio.timeout(90):
        line = await process.stdout.readline()
    assert line, (await process.communicate())[1].decode()
    assert json.loads(line)["written"]
    await asyncio.sleep(chance.uniform(0, 0.7))  # nothing is waited for: the point in time is what is tried out
    process.send_signal(how)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    if how is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == WAITS, (out.decode(), err.decode())


async def test_whoever_is_killed_at_random_points_writes_each_record_once(own: dict[str, str], tmp_path: Path) -> None:
    openv, settings = OpenV(own, tmp_path), settings_of(own)
    chance = random.Random(8)
    source, target = new_id("x.source-"), new_id("x.target-")
    async with topics_named(settings, source, target):
        rows = [
            (n % PARTITIONS, f"key-{n % 37}".encode(), f"{n}".encode(), [("ce_type", b"x.thing")])
            for n in range(RECORDS)
        ]
        await fill(settings, source, rows)
        planned = await openv.json("replay", source, "--into", target)
        assert (planned["found"]["inScope"], planned["state"]) == (RECORDS, "planned")
        replay_id = planned["id"]
        for how in SIGNALS:
            await ended_midway(openv, replay_id, how, chance)
            async with MongoDatabase(settings) as mongo:
                plan = await mongo.replays.replay(replay_id)
            assert plan is not None
            assert plan.state is (ReplayState.RUNNING if how is signal.SIGKILL else ReplayState.PAUSED)
        ended = await openv.json("replay", replay_id, "--execute")
        assert (ended["state"], ended["written"], ended["quarantined"]) == ("done", RECORDS, 0)

        read, written = await whole(settings, source), await whole(settings, target)
        origins = Counter(dict(one.headers)[ORIGIN].decode() for one in written)
        assert origins == Counter(f"{source}/{one.partition}/{one.offset}" for one in read)
        assert Counter((one.key, one.value) for one in written) == Counter((one.key, one.value) for one in read)
        for record in written:
            said = replayed(record.headers)
            assert said is not None
            assert (said.replay_id, said.count) == (replay_id, 1)
            assert dict(record.headers)["ce_type"] == b"x.thing"
        assert all(dict(one.headers)[REPLAY_ID] == replay_id.encode() for one in written)
        for key in {one.key for one in read}:
            # In the source a key lies in several partitions here; each one's order is kept.
            for partition in range(PARTITIONS):
                mine = [one.value for one in read if (one.key, one.partition) == (key, partition)]
                theirs = [one.value for one in written if one.value in set(mine)]
                assert theirs == mine
        again = await openv("replay", replay_id, "--execute", code=1)
        assert f"{replay_id} is done" in again
