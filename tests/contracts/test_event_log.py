"""What ``EventLog`` promises, held against the memory twin and against Kafka."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from repo.kafka import KafkaEventLog
from repo.memory import MemoryEventLog
from repo.ports import EventLog, Position, Unavailable
from repo.settings import ServerSettings
from schemas.codec import Encoded, Record
from schemas.topics import ASSIGNMENTS, COMMANDS, EVENTS, PROGRESS, RECORD_MAX, TOPICS
from tests.servers import Wire, closed_port, settings_of

Trim = Callable[[str, int, int], Awaitable[None]]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def log(request: pytest.FixtureRequest) -> EventLog:
    if request.param == "memory":
        return MemoryEventLog()
    found: KafkaEventLog = request.getfixturevalue("kafka_log")
    return found


@pytest.fixture
def trim(request: pytest.FixtureRequest, log: EventLog) -> Trim:
    """Retention at work: forget a partition's records before an offset."""

    async def in_memory(topic: str, partition: int, start: int) -> None:
        assert isinstance(log, MemoryEventLog)
        log.trim(topic, partition, start)

    async def in_kafka(topic: str, partition: int, start: int) -> None:
        settings: ServerSettings = request.getfixturevalue("settings")
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=start)})
        finally:
            await admin.close()

    if isinstance(log, MemoryEventLog):
        return in_memory
    request.getfixturevalue("settings")
    return in_kafka


def message(value: str = "v", key: bytes | None = None, topic: str = COMMANDS.name) -> Encoded:
    key = uuid.uuid4().bytes if key is None else key
    return Encoded(topic, key, value.encode(), (("ce_id", value.encode()), ("ce_type", b"t"), ("empty", b"")))


async def first(batches: AsyncIterator[Sequence[Record]], count: int) -> list[Record]:
    """The first records of a tail, in bounded time."""
    records: list[Record] = []
    async with asyncio.timeout(30), closing(batches):
        async for batch in batches:
            records += batch
            if len(records) >= count:
                break
    return records


def closing(tail: AsyncIterator[Sequence[Record]]) -> AbstractAsyncContextManager[Any]:
    return aclosing(cast("AsyncGenerator[Sequence[Record], None]", tail))


def values(records: Sequence[Record]) -> list[str]:
    return [record.value.decode() for record in records]


async def test_what_is_appended_is_read_back_whole(log: EventLog) -> None:
    sent = message("säulen ☃", key="ключ".encode())
    position = await log.append(sent)
    (record,) = await log.read(sent.topic, position.partition, position.offset, position.offset + 1)
    assert (record.topic, record.partition, record.offset) == (sent.topic, position.partition, position.offset)
    assert (record.key, record.value, record.headers) == (sent.key, sent.value, sent.headers)


async def test_records_of_a_key_keep_their_order(log: EventLog) -> None:
    key, start = uuid.uuid4().bytes, await log.ends(COMMANDS.name)
    expected = [str(number) for number in range(60)]
    for value in expected:
        await log.append(message(value, key))
    partition = log.partition_of(COMMANDS.name, key)
    tail = log.tail(COMMANDS.name, {partition: start[partition]})
    assert values(await first(tail, len(expected))) == expected


async def test_where_a_command_lies_comes_with_the_brokers_time(log: EventLog) -> None:
    """Which is the time of what is decided on it."""
    position = await log.append(message("v", uuid.uuid4().bytes, COMMANDS.name))
    (record,) = await log.read(COMMANDS.name, position.partition, position.offset, position.offset + 1)
    assert position.at == record.timestamp


async def test_append_all_keeps_the_order_of_each_key_and_says_where_each_record_is(log: EventLog) -> None:
    keys = [uuid.uuid4().bytes for _ in range(5)]
    sent = [message(str(number), keys[number % 5], EVENTS.name) for number in range(500)]
    positions = await log.append_all(sent)
    assert [position.partition for position in positions] == [log.partition_of(EVENTS.name, one.key) for one in sent]
    for key in keys:
        mine = [position for position, one in zip(positions, sent, strict=True) if one.key == key]
        assert mine == sorted(mine, key=lambda position: position.offset)
    for position, one in list(zip(positions, sent, strict=True))[::97]:
        (record,) = await log.read(EVENTS.name, position.partition, position.offset, position.offset + 1)
        assert record.value == one.value


async def test_nothing_to_append_is_nothing(log: EventLog) -> None:
    assert await log.append_all([]) == []


async def test_a_named_partition_beats_the_key(log: EventLog) -> None:
    key = b"worker-1"
    other = (log.partition_of(ASSIGNMENTS.name, key) + 1) % ASSIGNMENTS.partitions
    position = await log.append(message("v", key, ASSIGNMENTS.name), partition=other)
    assert position.partition == other
    (record,) = await log.read(ASSIGNMENTS.name, other, position.offset, position.offset + 1)
    assert record.key == key


async def test_a_cancelled_append_leaves_the_order_and_the_log_as_they_were(log: EventLog) -> None:
    """It may be there or not; what was acknowledged around it is there once, in order."""
    key = uuid.uuid4().bytes
    partition = log.partition_of(COMMANDS.name, key)
    start = (await log.ends(COMMANDS.name))[partition]
    for number in range(40):
        abandoned = asyncio.create_task(log.append(message(f"abandoned {number}", key)))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
        await log.append(message(str(number), key))
    end = (await log.ends(COMMANDS.name))[partition]
    found = values(await log.read(COMMANDS.name, partition, start, end))
    assert [value for value in found if value.isdigit()] == [str(number) for number in range(40)]
    order = [int(value.split()[-1]) for value in found]
    assert order == sorted(order)


async def test_the_largest_record_fits_and_a_larger_one_is_refused(log: EventLog) -> None:
    largest = Encoded(EVENTS.name, b"k", b"x" * (RECORD_MAX - 2048), (("ce_id", b"1"),))
    position = await log.append(largest)
    (record,) = await log.read(EVENTS.name, position.partition, position.offset, position.offset + 1)
    assert record.value == largest.value
    with pytest.raises(ValueError, match="over the limit"):
        await log.append(Encoded(EVENTS.name, b"k", b"x" * RECORD_MAX, ()))
    assert (await log.append(message("still well", b"k", EVENTS.name))).offset == position.offset + 1


async def test_topics_and_partitions_outside_the_table_are_refused(log: EventLog) -> None:
    with pytest.raises(ValueError, match="topic table"):
        await log.append(message(topic="somebody.elses"))
    with pytest.raises(ValueError, match="no partition 99"):
        await log.append(message(), partition=99)
    with pytest.raises(ValueError, match="no partition 99"):
        await log.read(COMMANDS.name, 99, 0, 1)


async def test_ends_count_what_was_appended_partition_by_partition(log: EventLog) -> None:
    before = await log.ends(EVENTS.name)
    assert sorted(before) == list(range(EVENTS.partitions))
    sent = [message(topic=EVENTS.name) for _ in range(30)]
    await log.append_all(sent)
    expected = dict(before)
    for one in sent:
        expected[log.partition_of(EVENTS.name, one.key)] += 1
    assert await log.ends(EVENTS.name) == expected


async def test_offsets_at_finds_the_first_record_of_a_time_and_else_the_end(log: EventLog) -> None:
    key = uuid.uuid4().bytes
    positions = [await log.append(message(str(number), key)) for number in range(5)]
    partition = positions[0].partition
    (middle,) = await log.read(COMMANDS.name, partition, positions[2].offset, positions[2].offset + 1)
    at = (await log.offsets_at(COMMANDS.name, middle.timestamp))[partition]
    (found,) = await log.read(COMMANDS.name, partition, at, at + 1)
    assert at <= middle.offset
    assert found.timestamp == middle.timestamp
    assert await log.offsets_at(COMMANDS.name, middle.timestamp + 10**10) == await log.ends(COMMANDS.name)
    assert await log.offsets_at(COMMANDS.name, -5) == await log.starts(COMMANDS.name)


async def test_a_topic_s_own_clock_never_runs_backwards(log: EventLog) -> None:
    key = uuid.uuid4().bytes
    positions = [await log.append(message(key=key)) for _ in range(10)]
    records = await log.read(COMMANDS.name, positions[0].partition, positions[0].offset, positions[-1].offset + 1)
    times = [record.timestamp for record in records]
    assert times == sorted(times)


async def test_read_gives_exactly_the_range_that_is_there(log: EventLog) -> None:
    key = uuid.uuid4().bytes
    positions = [await log.append(message(str(number), key)) for number in range(10)]
    partition, zero = positions[0].partition, positions[0].offset
    assert values(await log.read(COMMANDS.name, partition, zero + 3, zero + 6)) == ["3", "4", "5"]
    assert values(await log.read(COMMANDS.name, partition, zero + 8, zero + 1000)) == ["8", "9"]
    assert await log.read(COMMANDS.name, partition, zero + 6, zero + 6) == []
    assert await log.read(COMMANDS.name, partition, zero + 6, zero + 3) == []
    assert await log.read(COMMANDS.name, partition, zero + 1000, zero + 2000) == []


async def test_a_tail_begins_where_it_is_told_and_goes_on_with_what_comes(log: EventLog) -> None:
    key = uuid.uuid4().bytes
    old = [await log.append(message(f"old {number}", key)) for number in range(3)]
    tail = log.tail(COMMANDS.name, {old[0].partition: old[1].offset})
    seen: list[Record] = []
    async with asyncio.timeout(30), closing(tail):
        async for batch in tail:
            seen += batch
            if values(seen) == ["old 1", "old 2"] and not batch:
                await log.append(message("new", key))
            if len(seen) == 3:
                break
    assert values(seen) == ["old 1", "old 2", "new"]


async def test_a_tail_of_all_partitions_gives_each_record_once_in_order(log: EventLog) -> None:
    start = await log.ends(COMMANDS.name)
    sent = [message(str(number)) for number in range(300)]
    await log.append_all(sent)
    records = await first(log.tail(COMMANDS.name, start), len(sent))
    assert sorted(map(int, values(records))) == list(range(300))
    for partition in start:
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(start[partition], start[partition] + len(offsets)))


async def test_a_silent_tail_shows_that_it_is_alive(log: EventLog) -> None:
    tail = log.tail(PROGRESS.name, await log.ends(PROGRESS.name))
    async with asyncio.timeout(30), closing(tail):
        batches = [batch async for batch in _counted(tail, 4)]
    assert [list(batch) for batch in batches] == [[], [], [], []]


async def _counted(tail: AsyncIterator[Sequence[Record]], count: int) -> AsyncIterator[Sequence[Record]]:
    for _ in range(count):
        yield await anext(tail)


async def test_what_retention_took_is_skipped(log: EventLog, trim: Trim) -> None:
    key = uuid.uuid4().bytes
    positions = [await log.append(message(str(number), key, PROGRESS.name)) for number in range(6)]
    partition, zero = positions[0].partition, positions[0].offset
    await trim(PROGRESS.name, partition, zero + 4)
    assert (await log.starts(PROGRESS.name))[partition] == zero + 4
    assert values(await log.read(PROGRESS.name, partition, zero + 1, zero + 6)) == ["4", "5"]
    assert values(await first(log.tail(PROGRESS.name, {partition: zero + 1}), 2)) == ["4", "5"]


async def test_a_tail_past_the_end_begins_with_the_first_record_that_is_kept(log: EventLog, trim: Trim) -> None:
    position = await log.append(message("kept", b"past the end", PROGRESS.name))
    await trim(PROGRESS.name, position.partition, position.offset)
    beyond: Mapping[int, int] = {position.partition: position.offset + 1000}
    assert values(await first(log.tail(PROGRESS.name, beyond), 1)) == ["kept"]


@pytest.mark.parametrize(
    ("key", "partition"), [("", 1), ("local", 5), ("user_1", 7), ("ключ", 0), ("a", 4), ("corgi|surfing@sunset", 3)]
)
async def test_partitions_are_those_of_kafkas_own_clients(log: EventLog, key: str, partition: int) -> None:
    """The numbers are what kafka-clients 4.3.1 (Java) says: ``Utils.toPositive(Utils.murmur2(key)) % 8``."""
    assert log.partition_of(COMMANDS.name, key.encode()) == partition
    assert (await log.append(message(key=key.encode()))).partition == partition


async def test_ping_is_content(log: EventLog) -> None:
    await log.ping()


async def test_memory_stamps_by_its_clock_and_fails_when_told_to() -> None:
    times = iter(range(1000, 2000))
    log = MemoryEventLog(clock=lambda: next(times))
    position = await log.append(message("a", b"k"))
    await log.append(message("b", b"k"))
    records = await log.read(COMMANDS.name, position.partition, 0, 2)
    assert [record.timestamp for record in records] == [1000, 1001]
    assert (await log.offsets_at(COMMANDS.name, 1001))[position.partition] == 1
    log.away = True
    for call in (log.append(message()), log.ends(COMMANDS.name), log.ping(), log.read(COMMANDS.name, 0, 0, 1)):
        with pytest.raises(Unavailable):
            await call
    log.away = False
    assert len(await log.read(COMMANDS.name, position.partition, 0, 9)) == 2


@pytest.mark.servers
async def test_an_absent_kafka_is_said_in_bounded_time_and_its_return_is_noticed(
    servers: dict[str, str], topics: list[str]
) -> None:
    host, port = servers["KAFKA_BOOTSTRAP_SERVERS"].split(":")
    async with Wire(host, int(port)) as wire:
        await wire.cut()
        settings = settings_of(servers, kafka_bootstrap_servers=f"127.0.0.1:{wire.port}")
        async with asyncio.timeout(60), KafkaEventLog(settings, client_id="tests", timeout_s=0.5) as log:
            tail = log.tail(COMMANDS.name, {0: 0})
            async with closing(tail):
                assert list(await anext(aiter(tail))) == []
                for call in (
                    log.append(message()),
                    log.ends(COMMANDS.name),
                    log.read(COMMANDS.name, 0, 0, 1),
                    log.ping(),
                ):
                    with pytest.raises(Unavailable, match="kafka"):
                        await call
                await wire.mend()
                await _until_it_answers(log)
                position = await log.append(message("back"), partition=0)
                assert isinstance(position, Position)
                async for batch in tail:
                    if "back" in values(batch):
                        break


async def _until_it_answers(log: EventLog) -> None:
    while True:
        try:
            await log.ping()
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.servers
async def test_leaving_while_kafka_is_away_takes_no_time(servers: dict[str, str]) -> None:
    settings = settings_of(servers, kafka_bootstrap_servers=f"127.0.0.1:{closed_port()}")
    async with asyncio.timeout(10), KafkaEventLog(settings, client_id="tests"):
        pass


def test_every_topic_has_a_partition_for_every_key() -> None:
    log = MemoryEventLog()
    for topic in TOPICS.values():
        assert {log.partition_of(topic.name, str(n).encode()) for n in range(400)} == set(range(topic.partitions))
