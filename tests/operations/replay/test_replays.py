"""Replays on the real Kafka and database: what is copied, what is refused, how they pause and go on."""

import asyncio
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from aiokafka import ConsumerRecord

from operations.audit.recording import Actor
from operations.core.dead_letters import Seen, Sought, Standing, times_replayed
from operations.core.replay_scope import Asked
from operations.deadletters.discarding import discard
from operations.deadletters.reading import those
from operations.replay import execute as executing
from operations.replay import landing
from operations.replay.bound import plan_of
from operations.replay.dry_run import DryRun, plan
from operations.replay.execute import Ended, execute
from operations.replay.pace import Wishes
from operations.replay.room import Room
from operations.replay.tenure import cancel
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.codec import Record, encode
from schemas.commands import CancelJob
from schemas.dispositions import Fate
from schemas.replay_plans import Lease, ReplayState
from schemas.replays import ORIGIN, OURS, REPLAY_ID, Replayed, replayed
from schemas.topics import COMMANDS, DEADLETTER, QUARANTINE, TOPICS
from streams.deadletters import CannotProcess, dead_letter
from tests.operations.replay.cluster import Row, fill, topics_named, whole
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id

pytestmark = pytest.mark.servers
ACTOR = Actor("op@host", "cli", "host")
ODD: list[Row] = [
    (0, b"ann", b'{"n": 1}', [("ce_type", b"x.one"), ("h", b"\xff\xfe"), ("h", b"")]),
    (0, b"\xff\xfe", b"\x00\x01\xff", []),
    (1, b"bob", None, [("ce_type", b"x.two")]),
    (1, None, "grün 🎬 \u2028".encode(), [("ce_type", b"x.two")]),
    (3, b"", b"", [("ce_type", b"x.one")]),
]


@pytest.fixture(scope="module")
def room(settings: ServerSettings, kafka_log: KafkaEventLog, mongo: MongoDatabase) -> Room:
    return Room(settings, kafka_log, mongo)


@pytest.fixture(scope="module")
async def names(settings: ServerSettings) -> AsyncIterator[tuple[str, str]]:
    """A source with odd records, and an empty target."""
    source, target = new_id("x.source-"), new_id("x.target-")
    async with topics_named(settings, source, target):
        await fill(settings, source, ODD)
        yield source, target


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No streams run here, and nobody was killed."""
    monkeypatch.setattr(executing, "SETTLE_S", 0.01)
    monkeypatch.setattr(landing, "QUIET_S", 0.2)


async def planned(room: Room, asked: Asked) -> str:
    return (await plan(room, DryRun(asked))).replay_id


async def done(room: Room, asked: Asked) -> Ended:
    ended = await execute(room, await planned(room, asked), asked, ACTOR, Wishes())
    assert ended.plan.state is ReplayState.DONE
    return ended


async def since(room: Room, topic: str, replay_id: str) -> list[ConsumerRecord]:
    """What this replay has written there."""
    return [one for one in await whole(room.settings, topic) if dict(one.headers).get(REPLAY_ID) == replay_id.encode()]


async def test_a_file_holds_all_of_it_and_gives_it_back(room: Room, names: tuple[str, str], tmp_path: Path) -> None:
    source, target = names
    path = tmp_path / "records.jsonl"
    await done(room, Asked(source, f"file:{path}"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208 -- nothing is left beside it
    back = await done(room, Asked(f"file:{path}", target))
    read, written = await whole(room.settings, source), await since(room, target, back.plan.replay_id)
    assert len(read) == len(written) == len(ODD)

    def bare(one: ConsumerRecord) -> str:
        return repr((one.key, one.value, [pair for pair in one.headers if pair[0] not in OURS]))

    assert sorted(map(bare, read)) == sorted(map(bare, written))
    assert {dict(one.headers)[ORIGIN].decode() for one in written} == {
        f"{source}/{x.partition}/{x.offset}" for x in read
    }
    with pytest.raises(StackError, match="is there already"):
        await plan(room, DryRun(Asked(source, f"file:{path}")))
    content = path.read_bytes()
    planned_id = await planned(room, Asked(f"file:{path}", target))
    path.write_bytes(content.replace(b"bob", b"eve"))
    with pytest.raises(StackError, match="not the file that the dry run read"):
        await execute(room, planned_id, None, ACTOR, Wishes())
    path.write_bytes(content[:-20])
    with pytest.raises(StackError, match="cut off"):
        await plan(room, DryRun(Asked(f"file:{path}", target)))


async def test_the_dry_run_says_what_it_found_and_no_values(room: Room, names: tuple[str, str]) -> None:
    source, target = names
    made = await plan(room, DryRun(Asked(source, target, types=("x.two",))))
    found = orjson.loads(made.report)
    assert (found["read"], found["inScope"], found["quarantine"]) == (5, 2, 0)
    assert found["skipped"] == {"another type": 3}
    assert found["types"] == {"x.two": 2}
    assert found["partitions"] == {"1": 2}
    assert [one["key"] for one in found["first"]] == ["bob", None]
    assert "grün" not in made.report
    one = await plan(room, DryRun(Asked(source, target, partitions=(0,), first_offset=1, end_offset=9)))
    assert orjson.loads(one.report)["inScope"] == 1
    later = await plan(room, DryRun(Asked(source, target, since="now")))
    assert orjson.loads(later.report)["inScope"] == 0
    chosen = await plan(room, DryRun(Asked(source, target, chosen=((1, 1), (3, 0)))))
    assert orjson.loads(chosen.report)["inScope"] == 2
    ended = await execute(room, chosen.replay_id, None, ACTOR, Wishes())
    assert ended.plan.checkpoint is not None
    assert ended.plan.checkpoint.written == 2


async def test_nothing_is_executed_that_no_dry_run_has_seen(room: Room, names: tuple[str, str]) -> None:
    source, target = names
    with pytest.raises(StackError, match="no dry run"):
        await plan_of(room, Asked(source, target, keys=("never",)))
    asked = Asked(source, target, keys=("ann",))
    replay_id = await planned(room, asked)
    assert await plan_of(room, asked) == replay_id
    with pytest.raises(
        StackError, match=rf"{replay_id} comes close: --key is \[\"bob\"\], the dry run had \[\"ann\"\]"
    ):
        await plan_of(room, replace(asked, keys=("bob",)))
    with pytest.raises(StackError, match="not the scope"):
        await execute(room, replay_id, replace(asked, users=("ann",)), ACTOR, Wishes())
    old = await room.database.replays.replay(replay_id)
    assert old is not None
    older = replace(old, replay_id=new_id("r-"), created_at=now_ms() - 90_000_000)
    await room.database.replays.store_replay(older, 0)
    with pytest.raises(StackError, match="older than a day"):
        await execute(room, older.replay_id, asked, ACTOR, Wishes())


async def test_a_canary_stops_and_goes_on(room: Room, names: tuple[str, str]) -> None:
    source, target = names
    replay_id = await planned(room, Asked(source, target))
    ended = await execute(room, replay_id, None, ACTOR, Wishes(canary=2))
    assert (ended.plan.state, ended.plan.reason) == (ReplayState.CANARY, "the first 2 are written")
    assert len(await since(room, target, replay_id)) == 2
    ended = await execute(room, replay_id, None, ACTOR, Wishes(canary=1))
    assert len(await since(room, target, replay_id)) == 3
    ended = await execute(room, replay_id, None, ACTOR, Wishes())
    assert ended.plan.state is ReplayState.DONE
    assert len(await since(room, target, replay_id)) == len(ODD)


async def test_one_that_is_stopped_goes_on_and_one_that_is_cancelled_does_not(
    room: Room, names: tuple[str, str]
) -> None:
    source, target = names
    replay_id = await planned(room, Asked(source, target))
    wishes = Wishes(rate=0.01)
    running = asyncio.create_task(execute(room, replay_id, None, ACTOR, wishes))
    await eventually(lambda: since(room, target, replay_id), what="its first record")
    with pytest.raises(StackError, match="Another process executes"):
        await execute(room, replay_id, None, ACTOR, Wishes())
    wishes.stop.set()
    ended = await running
    assert (ended.plan.state, ended.plan.reason) == (ReplayState.PAUSED, "stopped by an operator")
    assert ended.plan.lease is None
    written = len(await since(room, target, replay_id))
    assert 0 < written < len(ODD)
    assert (await cancel(room.database.replays, replay_id)).state is ReplayState.CANCELLED
    with pytest.raises(StackError, match="is cancelled"):
        await execute(room, replay_id, None, ACTOR, Wishes())
    assert len(await since(room, target, replay_id)) == written


@pytest.mark.parametrize("state", [ReplayState.CANARY, ReplayState.PAUSED, ReplayState.RUNNING])
async def test_one_that_is_back_from_a_backup_writes_nothing_twice(
    room: Room, names: tuple[str, str], state: ReplayState
) -> None:
    """The backup was made while it waited, or ran; after that it was carried on with, and then the backup restored."""
    source, target = names
    replay_id = await planned(room, Asked(source, target))
    saved = (await execute(room, replay_id, None, ACTOR, Wishes(canary=2))).plan
    assert saved.checkpoint is not None
    assert (saved.checkpoint.written, saved.checkpoint.clean) == (2, True)
    later = (await execute(room, replay_id, None, ACTOR, Wishes(canary=2))).plan
    assert later.state is ReplayState.CANARY
    kept = replace(saved.checkpoint, clean=state is not ReplayState.RUNNING)
    restored = replace(saved, version=later.version + 1, state=state, checkpoint=kept)
    assert await room.database.replays.store_replay(restored, later.version)
    ended = await execute(room, replay_id, None, ACTOR, Wishes())
    assert ended.plan.state is ReplayState.DONE
    assert ended.plan.checkpoint is not None
    assert ended.plan.checkpoint.written == len(ODD)
    assert len(await since(room, target, replay_id)) == len(ODD)


async def test_a_lease_that_ran_out_is_taken_over(room: Room, names: tuple[str, str]) -> None:
    source, target = names
    replay_id = await planned(room, Asked(source, target))
    first = await execute(room, replay_id, None, ACTOR, Wishes(canary=2))
    stands = first.plan
    assert stands.checkpoint is not None
    left = replace(
        stands, version=stands.version + 1, state=ReplayState.RUNNING,
        lease=Lease(holder="elsewhere/1/2/x", until=now_ms() + 60_000),
        checkpoint=replace(stands.checkpoint, clean=False),
    )  # fmt: skip
    await room.database.replays.store_replay(left, stands.version)
    with pytest.raises(StackError, match="can be run again in"):
        await execute(room, replay_id, None, ACTOR, Wishes())
    over = replace(left, version=left.version + 1, lease=Lease(holder="elsewhere/1/2/x", until=now_ms() - 1))
    await room.database.replays.store_replay(over, left.version)
    ended = await execute(room, replay_id, None, ACTOR, Wishes())
    assert ended.plan.state is ReplayState.DONE
    assert len(await since(room, target, replay_id)) == len(ODD)


async def test_dead_letters_go_back_and_those_that_came_too_often_are_put_aside(room: Room, tmp_path: Path) -> None:
    user = new_id("u-")
    begin = await room.log.ends(DEADLETTER.name)
    for count in (0, 5):
        made = encode(CancelJob(command_id=new_id(), user_id=user, job_id=new_id()), source="/t", at=1)
        said = Replayed("r-0", COMMANDS.name, 1, 2, 3, count).headers() if count else ()
        record = Record(COMMANDS.name, 4, 40 + count, 1_790_000_000_000, made.key, made.value, (*made.headers, *said))
        await room.log.append(dead_letter(record, "openv-ledger", CannotProcess("a fault that is mended")))
    for name in ("commands", "origin"):
        asked = Asked(DEADLETTER.name, COMMANDS.name if name == "commands" else name, users=(user,))
        before = await ends_of(room)
        made = await plan(room, DryRun(asked))
        assert await ends_of(room) == before, "a dry run writes to no topic"
        found = orjson.loads(made.report)
        assert (found["inScope"], found["quarantine"]) == (2, 1)
        assert found["reasons"] == {"a fault that is mended": 2}
        assert found["effects"]["decided"] == 1
        ended = await execute(room, made.replay_id, asked, ACTOR, Wishes())
        assert ended.plan.checkpoint is not None
        assert (ended.plan.checkpoint.written, ended.plan.checkpoint.quarantined) == (1, 1)
        (back,) = await since(room, COMMANDS.name, made.replay_id)
        (aside,) = await since(room, QUARANTINE.name, made.replay_id)
        assert back.partition == room.log.partition_of(COMMANDS.name, user.encode())
        assert replayed(back.headers) == Replayed(made.replay_id, COMMANDS.name, 4, 40, 1_790_000_000_000, 1)
        assert replayed(aside.headers) == Replayed(made.replay_id, COMMANDS.name, 1, 2, 3, 6)
        now = await room.log.ends(DEADLETTER.name)
        mine = [one for at, end in now.items() for one in await letters_at(room, at, begin[at], end)]
        assert Counter(one.standing for one in mine) == {Standing.REDRIVEN: 1, Standing.QUARANTINED: 1}
        assert {one.disposition.replay_id for one in mine if one.disposition} == {made.replay_id}, "the last word"
        (worn,) = [one for one in mine if one.standing is Standing.QUARANTINED]
        assert times_replayed(worn.record) == 5
    copy = await execute(
        room, await planned(room, replace(asked, target=f"file:{tmp_path}/copy")), None, ACTOR, Wishes()
    )
    assert copy.plan.state is ReplayState.DONE
    (still, *_) = [one for at, end in now.items() for one in await letters_at(room, at, begin[at], end)]
    assert still.disposition is not None
    assert still.disposition.replay_id == made.replay_id, "who copies letters sends none of them back"


async def test_letters_that_were_discarded_before_and_since_the_dry_run_stay_where_they_are(room: Room) -> None:
    user = new_id("u-")
    begin = await room.log.ends(DEADLETTER.name)
    for number in range(3):
        made = encode(CancelJob(command_id=new_id(), user_id=user, job_id=new_id()), source="/t", at=1)
        record = Record(COMMANDS.name, 4, 50 + number, 1_790_000_000_000, made.key, made.value, made.headers)
        await room.log.append(dead_letter(record, "openv-ledger", CannotProcess("a fault that is mended")))
    places = [f"{at}:{n}" for at, end in (await room.log.ends(DEADLETTER.name)).items() for n in range(begin[at], end)]
    first, second, _ = places
    asked = Asked(DEADLETTER.name, COMMANDS.name, users=(user,))
    await discard(room, [first], Sought(), ACTOR, "of no use", execute=True)
    made_of_two = await plan(room, DryRun(asked))
    found = orjson.loads(made_of_two.report)
    assert (found["inScope"], found["skipped"]["it was discarded"], found["effects"]["decided"]) == (2, 1, 2)
    await discard(room, [second], Sought(), ACTOR, "nor is this", execute=True)
    ended = await execute(room, made_of_two.replay_id, asked, ACTOR, Wishes())
    assert ended.plan.checkpoint is not None
    assert (ended.plan.checkpoint.written, ended.plan.state) == (1, ReplayState.DONE)
    assert len(await since(room, COMMANDS.name, made_of_two.replay_id)) == 1
    known = await room.database.dispositions.dispositions(places)
    assert [known[place].fate for place in places] == [Fate.DISCARDED, Fate.DISCARDED, Fate.REDRIVEN]


async def ends_of(room: Room) -> dict[str, Mapping[int, int]]:
    """Where each of our topics ends."""
    return {name: await room.log.ends(name) for name in TOPICS}


async def letters_at(room: Room, partition: int, first: int, end: int) -> list[Seen]:
    return await those(room, [(partition, offset) for offset in range(first, end)])


async def test_too_many_that_come_back_stop_it(room: Room, names: tuple[str, str], settings: ServerSettings) -> None:
    """Whoever reads the target puts all of it to the dead letters."""
    user = new_id("u-")
    source, _ = names
    rows: list[Row] = [(2, user.encode(), b"{not JSON", [("ce_type", b"x")]) for _ in range(300)]
    await fill(settings, source, rows)
    made = await plan(room, DryRun(Asked(source, COMMANDS.name, keys=(user,))))
    assert made.dead_letters == 300
    sure = replace(made, replay_id=new_id("r-"), dead_letters=0)  # as if the dry run had not seen it come
    await room.database.replays.store_replay(sure, 0)
    begin = await room.log.ends(COMMANDS.name)
    running = asyncio.create_task(execute(room, sure.replay_id, None, ACTOR, Wishes(rate=100, came_back_max=3)))
    lane = room.log.partition_of(COMMANDS.name, user.encode())
    async with asyncio.timeout(60):
        while not running.done():
            end = (await room.log.ends(COMMANDS.name))[lane]
            for record in await room.log.read(COMMANDS.name, lane, begin[lane], end):
                await room.log.append(dead_letter(record, "openv-ledger", CannotProcess("not JSON")))
            begin[lane] = end
            await room.database.jobs.store_applied_offsets("ledger", {lane: end - 1})  # a replay waits for its reader
            await asyncio.sleep(0.05)
    ended = await running
    assert ended.plan.state is ReplayState.PAUSED
    assert "came back as dead letters" in ended.plan.reason
    assert ended.plan.checkpoint is not None
    assert ended.plan.checkpoint.written < 300
