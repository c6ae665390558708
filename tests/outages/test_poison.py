"""A record that is no message, on any topic: it goes to the dead letters once, with its reason, and the rest flows on.

Every kind of poison is written to the very partition that a good message before it and one after it go through.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

import pytest

from inference_worker.assignments import Order, end_of_orders, follow_orders
from repo.clock import now_ms
from repo.ports import Position
from schemas.codec import Message, Record, encode
from schemas.dispatch import RunAttempt, StopAttempt, WorkerBeat, WorkerState
from schemas.events import JobEvent
from schemas.phases import Phase
from schemas.progress import AttemptProgress
from schemas.requests import MODEL
from schemas.topics import ASSIGNMENTS, COMMANDS, DEADLETTER, DISPATCH, EVENTS, PROGRESS
from streams.inspector import consumer_of
from tests.outages.foreign import Foreign, Raw
from tests.outages.kafka_world import World, sailing
from tests.outages.poison import Poison, origin, poisons, pour
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id, submission

# The first test also waits for the servers to start, on a machine that may be busy with other things.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

ORIGIN = "kafka_dlt-original-topic"
CONSUMERS = {
    "ledger": COMMANDS.name,
    "janitor": EVENTS.name,
    consumer_of(ASSIGNMENTS): ASSIGNMENTS.name,
    consumer_of(PROGRESS): PROGRESS.name,
}


@pytest.fixture(scope="module")
async def world(servers: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with sailing(servers, tmp_path_factory.mktemp("poison")) as made:
        yield made


@pytest.fixture(scope="module")
async def foreign(world: World) -> AsyncIterator[Foreign]:
    async with Foreign(world.broker.address) as made:
        yield made


async def letters_of(world: World, topic: str, since: Mapping[int, int]) -> list[Record]:
    """The dead letters of this topic's records, written since then."""
    letters = await world.records(DEADLETTER.name, since)
    return [letter for letter in letters if origin(letter)[0] == topic]


async def check_letters(world: World, topic: str, since: Mapping[int, int], poured: Mapping[Position, Poison]) -> None:
    """One letter for each record, whole, with its reason. A partition is read in order: the last one means all."""
    last = max(poured, key=lambda position: position.offset)

    async def looked_through() -> bool:
        return last in [origin(letter)[1] for letter in await letters_of(world, topic, since)]

    await eventually(looked_through, 60, what=f"the dead letter of the last poison on {topic}")
    letters = await letters_of(world, topic, since)
    assert sorted(origin(letter)[1].offset for letter in letters) == sorted(position.offset for position in poured)
    for letter in letters:
        one = poured[origin(letter)[1]]
        assert (letter.header("openv_reason") or "").startswith(one.reason), (one, letter.headers)
        assert letter.header("kafka_dlt-original-consumer-group")
        assert letter.key == (one.key or b"")
        value = one.value or b""
        cut = letter.header("openv_cut_from_bytes")
        assert letter.value == value if cut is None else cut == str(len(value)) and value.startswith(letter.value)
    world.unharmed()


async def ends(world: World) -> dict[int, int]:
    return await world.log.ends(DEADLETTER.name)


async def test_among_commands(world: World, foreign: Foreign) -> None:
    since = await ends(world)
    async with world.user() as user:
        good = submission(user.user_id, MODEL)
        kinds = poisons(good, progress(user.user_id, good.job_id))
        before = await user.submit()
        poured = await pour(foreign, COMMANDS.name, world.log.partition_of(COMMANDS.name, user.user_id.encode()), kinds)
        after = await user.submit()
        await check_letters(world, COMMANDS.name, since, poured)
        assert sorted(await world.queued(user.user_id)) == sorted([before["jobId"], after["jobId"]])


async def test_among_events(world: World, foreign: Foreign) -> None:
    """A socket sees the good ones and nothing else; the janitor puts the rest aside."""
    since = await ends(world)
    async with world.user() as user, world.watching(user) as socket:
        before = await user.submit()
        job = await world.store.job(before["jobId"])
        assert job is not None
        kinds = poisons(JobEvent(replace(job, version=7)), progress(user.user_id, job.job_id))
        poured = await pour(foreign, EVENTS.name, world.log.partition_of(EVENTS.name, user.user_id.encode()), kinds)
        after = await user.submit()
        shown = await socket.until(lambda frame: frame["type"] == "event" and frame["data"]["jobId"] == after["jobId"])
        events = [frame["data"] for frame in shown if frame["type"] != "place"]
        assert [(event["jobId"], event["version"]) for event in events] == [(before["jobId"], 1), (after["jobId"], 1)]
        await check_letters(world, EVENTS.name, since, poured)


class Hands:
    """A worker of a pool: what the scheduler hears of it, and what its real reader of orders takes."""

    def __init__(self, world: World, pool: str) -> None:
        self._world = world
        self.pool = pool
        self.worker_id = new_id("w-")
        self.session = new_id("s-")
        self.taken: list[Order] = []
        self._sequence = 0

    def beat(self) -> WorkerBeat:
        """The next READY."""
        self._sequence += 1
        return WorkerBeat(
            pool=self.pool,
            worker_id=self.worker_id,
            session=self.session,
            sequence=self._sequence,
            state=WorkerState.READY,
        )

    async def handed(self, job_id: str) -> RunAttempt:
        """The order to run this job; READY is said until it is there."""

        async def look() -> RunAttempt | None:
            await say(self._world, self.beat())
            return next((one for one in self.taken if isinstance(one, RunAttempt) and one.job_id == job_id), None)

        found = await eventually(look, 60, what=f"{job_id} handed out")
        assert found is not None
        return found

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Self]:
        start = await end_of_orders(self._world.log, self.worker_id)
        following = asyncio.create_task(follow_orders(self._world.log, start, self.worker_id, self.taken.append))
        try:
            yield self
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def say(world: World, message: Message) -> None:
    await world.log.append(encode(message, source="/tests", at=now_ms()))


async def test_among_dispatches(world: World, foreign: Foreign) -> None:
    since, pool = await ends(world), new_id("pool-")
    first, second = (submission(new_id("u-"), pool) for _ in range(2))
    async with Hands(world, pool).reading() as one, Hands(world, pool).reading() as other:
        await say(world, first)
        await one.handed(first.job_id)
        kinds = poisons(one.beat(), first)
        poured = await pour(foreign, DISPATCH.name, world.log.partition_of(DISPATCH.name, pool.encode()), kinds)
        await say(world, second)
        await other.handed(second.job_id)
    await check_letters(world, DISPATCH.name, since, poured)


async def test_among_assignments(world: World, foreign: Foreign) -> None:
    since, pool = await ends(world), new_id("pool-")
    job = submission(new_id("u-"), pool)
    async with Hands(world, pool).reading() as worker:
        await say(world, job)
        order = await worker.handed(job.job_id)
        partition = world.log.partition_of(ASSIGNMENTS.name, worker.worker_id.encode())
        poured = await pour(foreign, ASSIGNMENTS.name, partition, poisons(order, job))
        stop = StopAttempt(worker_id=worker.worker_id, session=worker.session, job_id=job.job_id, attempt=1)
        await say(world, stop)

        async def told_to_stop() -> bool:
            return stop in worker.taken

        await eventually(told_to_stop, what="the order after the poison")
        assert [one for one in worker.taken if one.job_id != job.job_id] == []
    await check_letters(world, ASSIGNMENTS.name, since, poured)


def progress(user_id: str, job_id: str, sequence: int = 1) -> AttemptProgress:
    return AttemptProgress(
        user_id=user_id, job_id=job_id, sequence=sequence, attempt=1, worker_id="w",
        phase=Phase.DENOISE, step=sequence, steps=10, fraction=0.1, elapsed_ms=sequence,
    )  # fmt: skip


async def test_among_progress(world: World, foreign: Foreign) -> None:
    since = await ends(world)
    async with world.user() as user, world.watching(user) as socket:
        job_id = new_id()
        said = [progress(user.user_id, job_id, number) for number in (1, 2)]
        await say(world, said[0])
        first = await socket.receive()
        kinds = poisons(said[0], submission(user.user_id, MODEL))
        partition = world.log.partition_of(PROGRESS.name, user.user_id.encode())
        poured = await pour(foreign, PROGRESS.name, partition, kinds)
        await say(world, said[1])
        second = await socket.receive()
        assert [(one["type"], one["data"]["sequence"]) for one in (first, second)] == [("progress", 1), ("progress", 2)]
    await check_letters(world, PROGRESS.name, since, poured)


async def test_among_dead_letters_where_nobody_is_hurt(world: World, foreign: Foreign) -> None:
    since = await ends(world)
    async with world.user() as user:
        command = submission(user.user_id, MODEL)
        kinds = poisons(command, progress(user.user_id, command.job_id))
        junk = [at for p in since for at in await pour(foreign, DEADLETTER.name, p, kinds)]
        key = user.user_id.encode()
        partition = world.log.partition_of(COMMANDS.name, key)
        offset = await foreign.write(COMMANDS.name, partition, key, b"{}")
        await user.submit()

        async def written() -> list[Record]:
            return [one for one in await world.records(DEADLETTER.name, since) if one.header(ORIGIN) is not None]

        letters = await eventually(written, 60, what="the letter among the junk")
        assert [origin(letter) for letter in letters] == [(COMMANDS.name, Position(partition, offset))]
        assert len(await world.records(DEADLETTER.name, since)) == len(junk) + 1
    world.unharmed()


async def test_a_good_message_with_odd_company_is_a_good_message(world: World, foreign: Foreign) -> None:
    """Headers that we don't know, twice, without a value or named in bytes; a codec of the sender's choice."""
    since = await ends(world)
    async with world.user() as user:
        commands = [submission(user.user_id, MODEL) for _ in range(2)]
        for command, snappy in zip(commands, (False, True), strict=True):
            made = encode(command, source="/foreign", at=now_ms())
            odd = ((Raw(b"\xff\xfe"), b"\xff"), *made.headers, ("ce_type", b"again"), ("x", None), ("", b""))
            partition = world.log.partition_of(made.topic, made.key)
            await foreign.write(made.topic, partition, made.key, made.value, odd, snappy=snappy)

        async def decided() -> bool:
            return sorted(await world.queued(user.user_id)) == sorted(command.job_id for command in commands)

        await eventually(decided, 60, what="both commands decided")
    assert await world.records(DEADLETTER.name, since) == []
    world.unharmed()


async def test_nothing_is_put_aside_again_by_those_who_come_after(world: World, foreign: Foreign) -> None:
    """Other streams take over: each new poison has a letter, no old one has another."""
    since = await ends(world)
    await world.replace_streams()
    places = [(topic.name, topic.partitions - 1) for topic in (COMMANDS, EVENTS, DISPATCH, ASSIGNMENTS, PROGRESS)]
    written = [(topic, Position(p, await foreign.write(topic, p, b"k", b"{}"))) for topic, p in places]

    async def letters() -> bool:
        return len(await world.records(DEADLETTER.name, since)) >= len(written)

    await eventually(letters, 60, what="a letter for each of the new ones")
    for consumer, topic in CONSUMERS.items():
        await world.applied(consumer, topic)
    assert sorted(map(str, map(origin, await world.records(DEADLETTER.name, since)))) == sorted(map(str, written))
    world.unharmed()
