"""kill -9 of ``openv replay --execute`` at random points, against the real Kafka: each record is there once."""

import asyncio
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
from schemas.replay_plans import Checkpoint, ReplayState
from schemas.replays import ORIGIN, REPLAY_ID, replayed
from tests.operations.replay.cluster import PARTITIONS, OpenV, fill, topics_named, whole
from tests.servers import settings_of
from tests.streams.streams_process import eventually
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


async def stored(mongo: MongoDatabase, replay_id: str) -> tuple[ReplayState, Checkpoint]:
    plan = await mongo.replays.replay(replay_id)
    assert plan is not None
    return plan.state, plan.checkpoint or Checkpoint()


async def ended_midway(openv: OpenV, mongo: MongoDatabase, replay_id: str, how: signal.Signals, wait: float) -> int:
    """Begun, and ended by this signal so long (s) after it noted that it had written more; how much it had then."""
    _, before = await stored(mongo, replay_id)
    # So slowly that on a busy machine too all the signals come before its end.
    process = await openv.start("replay", replay_id, "--execute", "--json", "--rate", "100")

    async def has_written_more() -> bool:
        assert process.returncode is None, [one.decode() for one in await process.communicate()]
        return (await stored(mongo, replay_id))[1].written > before.written

    await eventually(has_written_more, 90)
    await asyncio.sleep(wait)  # nothing is waited for: the point in time is what is tried out
    process.send_signal(how)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    state, checkpoint = await stored(mongo, replay_id)
    expected = (-signal.SIGKILL, ReplayState.RUNNING) if how is signal.SIGKILL else (WAITS, ReplayState.PAUSED)
    found = (process.returncode, state)
    assert found == expected, (found, checkpoint, out.decode(), err.decode())
    return checkpoint.written


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
        async with MongoDatabase(settings) as mongo:
            for how in SIGNALS:
                assert await ended_midway(openv, mongo, replay_id, how, chance.uniform(0, 0.7)) < RECORDS
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
