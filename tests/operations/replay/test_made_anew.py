"""Topics made anew under a replay, and executors that stand still: nothing is lost, or written twice, in silence."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from operations.core.replay_scope import Asked
from operations.replay import execute as executing
from operations.replay import landing
from operations.replay.dry_run import DryRun, plan
from operations.replay.execute import execute
from operations.replay.files import LinesWriter, is_taken, measured
from operations.replay.pace import Wishes
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from repo.settings import ServerSettings
from repo.topic_writer import TopicWriter
from schemas.replay_plans import ReplayState
from tests.operations.replay.cluster import PARTITIONS, Row, fill, topics_named, whole
from tests.operations.replay.test_replays import ACTOR
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id

ROWS: list[Row] = [(n % PARTITIONS, b"k%d" % n, b'{"n": %d}' % n, []) for n in range(12)]
OTHERS: list[Row] = [(at, key, b'{"other": 1}', headers) for at, key, _, headers in ROWS]


@pytest.fixture
def room(settings: ServerSettings, kafka_log: KafkaEventLog, mongo: MongoDatabase) -> Room:
    return Room(settings, kafka_log, mongo)


@pytest.fixture
async def names(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, str]]:
    monkeypatch.setattr(executing, "SETTLE_S", 0.01)
    monkeypatch.setattr(landing, "QUIET_S", 0.2)
    source, target = new_id("x.source-"), new_id("x.target-")
    async with topics_named(settings, source, target):
        await fill(settings, source, ROWS)
        yield source, target


async def make_anew(settings: ServerSettings, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def made() -> bool:
            answer = await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
            return bool(answer.topic_errors[0][1] == 0)

        await eventually(made)
    finally:
        await admin.close()


@pytest.mark.servers
async def test_a_source_that_was_made_anew_is_not_the_one_that_the_dry_run_saw(
    room: Room, names: tuple[str, str]
) -> None:
    source, target = names
    replay_id = (await plan(room, DryRun(Asked(source, target)))).replay_id
    await make_anew(room.settings, source)
    await fill(room.settings, source, OTHERS)
    with pytest.raises(StackError, match="another record at"):
        await execute(room, replay_id, None, ACTOR, Wishes())
    assert await whole(room.settings, target) == []
    again = (await plan(room, DryRun(Asked(source, target)))).replay_id
    await fill(room.settings, source, ROWS)  # what comes after the dry run is not its business
    assert (await execute(room, again, None, ACTOR, Wishes())).plan.state is ReplayState.DONE
    assert len(await whole(room.settings, target)) == len(OTHERS)


@pytest.mark.servers
async def test_what_was_written_to_a_target_that_was_made_anew_is_known_to_be_gone(
    room: Room, names: tuple[str, str]
) -> None:
    source, target = names
    replay_id = (await plan(room, DryRun(Asked(source, target)))).replay_id
    await execute(room, replay_id, None, ACTOR, Wishes(canary=8))
    await make_anew(room.settings, target)
    with pytest.raises(StackError, match="was made anew, or has lost records"):
        await execute(room, replay_id, None, ACTOR, Wishes())


@pytest.mark.servers
async def test_a_target_that_is_made_anew_while_it_is_written_ends_the_replay(
    room: Room, names: tuple[str, str]
) -> None:
    source, target = names
    await fill(room.settings, source, ROWS * 50)
    replay_id = (await plan(room, DryRun(Asked(source, target)))).replay_id
    begun = asyncio.Event()
    task = asyncio.create_task(
        execute(
            room, replay_id, None, ACTOR, Wishes(rate=100), lambda progress: begun.set() if progress.written else None
        )
    )
    async with asyncio.timeout(60):
        await begun.wait()
    await make_anew(room.settings, target)
    with pytest.raises((StackError, Unavailable)):
        await task
    stands = await room.database.replays.replay(replay_id)
    assert stands is not None
    assert stands.state is ReplayState.PAUSED
    with pytest.raises(StackError, match="was made anew"):
        await execute(room, replay_id, None, ACTOR, Wishes())


@pytest.mark.servers
async def test_what_a_transaction_gave_up_is_not_written(room: Room, names: tuple[str, str]) -> None:
    _, target = names
    source = new_id("x.source-")
    async with topics_named(room.settings, source):
        for value, kept in ((b"1", True), (b"given up", False), (b"2", True)):
            await transact(room.settings, source, value, commit=kept)
        found = await plan(room, DryRun(Asked(source, target)))
        assert found.in_scope == 2
        ended = await execute(room, found.replay_id, None, ACTOR, Wishes())
        assert ended.plan.state is ReplayState.DONE
    assert sorted(one.value or b"" for one in await whole(room.settings, target)) == [b"1", b"2"]


async def transact(settings: ServerSettings, topic: str, value: bytes, *, commit: bool) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=f"tests-{topic}", enable_idempotence=True
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value, key=b"k", partition=0)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


@pytest.mark.servers
async def test_a_plan_that_somebody_wrote_into_is_not_executed(room: Room, names: tuple[str, str]) -> None:
    source, target = names
    made = await plan(room, DryRun(Asked(source, target)))
    changes: list[dict[str, Any]] = [{"target": "openv.commands"}, {"spans": made.spans[:1]}, {"max_replays": 900}]
    for change in changes:
        forged = replace(made, replay_id=new_id("r-"), **change)
        assert await room.database.replays.store_replay(forged, 0)
        with pytest.raises(StackError, match="not as its dry run stored it"):
            await execute(room, forged.replay_id, None, ACTOR, Wishes())


@pytest.mark.servers
async def test_who_may_not_send_any_more_sends_nothing_of_what_was_handed_over(
    names: tuple[str, str], settings: ServerSettings
) -> None:
    """A process that stood still for longer than its lease finds in its client what it had handed over before."""
    _, target = names
    asked, may = 0, False

    def may_send() -> bool:
        nonlocal asked
        asked += 1
        return may

    async def was_asked() -> bool:
        return asked > 3

    async with TopicWriter(settings, "tests", may_send=may_send) as gone:
        gone.add(target, 0, b"k", b"never", [])
        await gone.send()
        await eventually(was_asked)
    assert await whole(settings, target) == []
    asked = 0
    async with TopicWriter(settings, "tests", may_send=may_send) as writer:
        for at, key, value, _ in ROWS:
            writer.add(target, at, key, value, [])
        sent = await writer.send()
        await eventually(was_asked)
        assert await whole(settings, target) == []
        may = True
        await sent.landed(30)
    assert sorted(one.value for one in await whole(settings, target)) == sorted(value for *_, value, _ in ROWS)


async def test_a_file_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "records"
    first = LinesWriter(path, "r-1", "x.source", None)
    with pytest.raises(StackError, match="Another process still has"):
        LinesWriter(path, "r-1", "x.source", 10)
    first.close()
    size = (tmp_path / "records.r-1.part").stat().st_size
    second = LinesWriter(path, "r-1", "x.source", size)
    second.close_whole()
    assert path.stat().st_size == size


async def test_a_link_to_nothing_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "records"
    assert not is_taken(path)
    writer = LinesWriter(path, "r-1", "x.source", None)
    path.symlink_to(tmp_path / "nowhere")
    assert is_taken(path)
    with pytest.raises(StackError, match="is there already"):
        writer.close_whole()
    assert not (tmp_path / "nowhere").exists()


async def test_a_pipe_is_no_file_of_a_replay(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(StackError, match="is no file"):
        measured(path)
