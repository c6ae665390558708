"""Kafka, MongoDB and S3 as the simulation has them, and the ports through which a process reaches them.

Every answer takes time, so a process can be killed between asking and hearing; what was asked still happens then.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from repo.core.documents import LeftOut
from repo.core.sizes import check_size
from repo.memory_objects import MemoryObjectStore
from repo.memory_store import MemoryJobStore
from repo.partitions import partition_of
from repo.ports import Position, Unavailable
from schemas.accounts import Account
from schemas.codec import Encoded, Record
from schemas.jobs import Job, StoredFile
from schemas.lifecycle import State
from schemas.topics import PROGRESS, TOPICS
from tests.simulation.faults import Plan
from tests.simulation.world import Signal, World

T = TypeVar("T")
Lane = tuple[str, int]
PATIENCE_MS = 3_000
located = lru_cache(maxsize=None)(partition_of)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits (a memory twin's)."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waited")


class Server:
    """Something that can be away for a while."""

    def __init__(self, world: World, plan: Plan, name: str) -> None:
        self.world, self.plan, self.name = world, plan, name
        self.away_until = 0

    @property
    def away(self) -> bool:
        return self.world.now < self.away_until

    def leave(self, for_ms: int) -> None:
        self.world.note(self.name, "away", "", f"{for_ms} ms")
        self.away_until = max(self.away_until, self.world.now + for_ms)

    def come_back(self) -> None:
        self.away_until = 0


class Broker(Server):
    """Kafka: partitions as lists; a record's time is when it landed."""

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan, "kafka")
        self.lanes: dict[Lane, list[Record]] = {
            (name, number): [] for name, topic in TOPICS.items() for number in range(topic.partitions)
        }
        self._grown: defaultdict[Lane, Signal] = defaultdict(Signal)

    def land(self, message: Encoded, partition: int) -> Position:
        lane = self.lanes[message.topic, partition]
        now = self.world.now
        record = Record(message.topic, partition, len(lane), now, message.key, message.value, message.headers)
        lane.append(record)
        self._grown.pop((message.topic, partition), Signal()).give()
        return Position(partition, record.offset)

    def grown(self, topic: str, partition: int) -> Signal:
        """Given when the partition gets another record."""
        return self._grown[topic, partition]


class LogPort:
    """What of ``EventLog`` the parts use. One process's producer: its records keep their order in each partition."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._world = broker.world
        self._last: dict[Lane, int] = {}
        self._cut_until = 0

    @property
    def is_cut(self) -> bool:
        return self._world.now < self._cut_until and not self._broker.plan.calm

    def cut(self, for_ms: int) -> None:
        """This process does not reach Kafka for a while; others do."""
        self._cut_until = self._world.now + for_ms

    async def append(self, message: Encoded, *, partition: int | None = None) -> Position:
        return (await self._send([message], partition))[0]

    async def append_all(self, messages: Sequence[Encoded]) -> list[Position]:
        return await self._send(messages, None)

    async def ends(self, topic: str) -> dict[int, int]:
        await self._world.sleep(self._world.between(1, 10))
        if self._broker.away or self.is_cut:
            raise Unavailable("kafka", "away")
        return {number: len(self._broker.lanes[topic, number]) for number in range(TOPICS[topic].partitions)}

    def partition_of(self, topic: str, key: bytes) -> int:
        return located(topic, key)

    async def _send(self, messages: Sequence[Encoded], partition: int | None) -> list[Position]:
        """All at once; each lands when it does. Not answered in time is no word about which landed."""
        sent = [self._begin(one, located(one.topic, one.key) if partition is None else partition) for one in messages]
        for signal in sent:
            await signal
        return [signal.value for signal in sent]

    def _begin(self, message: Encoded, partition: int) -> Signal:
        check_size(message)
        world, plan = self._world, self._broker.plan
        lane = message.topic, partition
        delay = world.between(1, 8)
        if plan.strikes("slow_record"):
            delay += world.between(50, 2 * PATIENCE_MS)
        reached = self._cut_until if self.is_cut else world.now
        lands = max(reached, self._broker.away_until) + delay
        lands = max(lands, self._last.get(lane, 0))
        signal = Signal()
        lost = lands - world.now >= PATIENCE_MS and world.random.random() < 0.5
        if not lost:
            self._last[lane] = lands
            world.at(lands - world.now, lambda: self._landed(message, partition, signal))
        if lost or lands - world.now >= PATIENCE_MS:
            world.at(PATIENCE_MS, lambda: signal.give(error=Unavailable("kafka", "no answer in time")))
        return signal

    def _landed(self, message: Encoded, partition: int, signal: Signal) -> None:
        world, plan = self._world, self._broker.plan
        position = self._broker.land(message, partition)
        if message.topic != PROGRESS.name and plan.strikes("record_twice"):
            world.at(world.between(1, 15_000), lambda: _again(self._broker, message, partition))
        answer_in = world.between(1, 5)
        if plan.strikes("record_unanswered"):
            world.at(PATIENCE_MS, lambda: signal.give(error=Unavailable("kafka", "the answer was lost")))
        else:
            world.at(answer_in, lambda: signal.give(position))


def _again(broker: Broker, message: Encoded, partition: int) -> None:
    broker.land(message, partition)


class Database(Server):
    """MongoDB: the job store's memory twin, and whoever watches its writes."""

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan, "mongodb")
        self.twin = MemoryJobStore()
        self.on_job: Callable[[Job, str, int], None] = lambda *_: None
        self.on_account: Callable[[Account | None, Account, str, int], None] = lambda *_: None

    @property
    def jobs(self) -> dict[str, Job]:
        return self.twin._jobs

    @property
    def accounts(self) -> dict[str, Account]:
        return self.twin._accounts


class StorePort:
    """What of ``JobStore`` the streams use. ``about``: who writes, and the time of the record it decides on."""

    def __init__(self, database: Database, about: Callable[[], tuple[str, int]]) -> None:
        self._database = database
        self._world = database.world
        self._twin = database.twin
        self._about = about

    async def job(self, job_id: str) -> Job | None:
        return await self._ask(lambda: self._twin.job(job_id))

    async def jobs_of(
        self,
        user_id: str,
        *,
        updated_since: int | None = None,
        states: Iterable[State] | None = None,
        before: tuple[int, str] | None = None,
        oldest_first: bool = False,
        external: bool | None = None,
        limit: int = 100,
        damaged: LeftOut | None = None,
    ) -> list[Job]:
        return await self._ask(
            lambda: self._twin.jobs_of(
                user_id,
                updated_since=updated_since,
                states=states,
                before=before,
                oldest_first=oldest_first,
                external=external,
                limit=min(limit, 200),
                damaged=damaged,
            )
        )

    async def counted_jobs(self, user_id: str, charged_since: int, asked_since: int) -> list[Job]:
        return await self._ask(lambda: self._twin.counted_jobs(user_id, charged_since, asked_since))

    async def last_change(self, user_id: str) -> int:
        return at_once(self._twin.last_change(user_id))  # in one breath with the next, which takes its time

    async def active_jobs(self, pool: str) -> list[Job]:
        return await self._ask(lambda: self._twin.active_jobs(pool))

    async def active_pools(self) -> list[str]:
        return await self._ask(self._twin.active_pools)

    async def account(self, user_id: str) -> Account | None:
        return await self._ask(lambda: self._twin.account(user_id))

    async def store_job(self, job: Job, expected: int) -> bool:
        about = self._about()
        return await self._write(lambda: self._job_written(self._twin.store_job(job, expected), job, about))

    async def settle_job(self, job: Job) -> bool:
        about = self._about()
        return await self._write(lambda: self._job_written(self._twin.settle_job(job), job, about))

    async def store_account(self, account: Account, expected: int) -> bool:
        about = self._about()

        def store() -> bool:
            before = self._database.accounts.get(account.user_id)
            done = at_once(self._twin.store_account(account, expected))
            if self._database.accounts.get(account.user_id) is not before:
                self._database.on_account(before, account, *about)
            return done

        return await self._write(store)

    def _job_written(self, work: Coroutine[Any, Any, T], job: Job, about: tuple[str, int]) -> T:
        before = self._database.jobs.get(job.job_id)
        done = at_once(work)
        if self._database.jobs.get(job.job_id) is not before:
            self._database.on_job(job, *about)
        return done

    async def _ask(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        await self._reach()
        result = at_once(ask())
        await self._world.sleep(self._world.between(0, 4))
        return result

    async def _write(self, write: Callable[[], T]) -> T:
        await self._reach()
        plan = self._database.plan
        if plan.strikes("late_write"):
            self._world.at(self._world.between(10, 4_000), lambda: _ignore(write()))
            raise Unavailable("mongodb", "not answered in time; it will still be done")
        result = write()
        if plan.strikes("write_unanswered"):
            await self._world.sleep(self._world.between(1, 500))
            raise Unavailable("mongodb", "done, but the answer was lost")
        await self._world.sleep(self._world.between(0, 4))
        return result

    async def _reach(self) -> None:
        delay = self._world.between(0, 4)
        if self._database.plan.strikes("slow_store"):
            delay += self._world.between(20, 3_000)
        await self._world.sleep(delay)
        if self._database.away:
            await self._world.sleep(self._world.between(100, 1_000))
            raise Unavailable("mongodb", "away")


def _ignore(_: object) -> None:
    pass


class Bucket(Server):
    """S3: the object store's memory twin, and whoever watches what is deleted."""

    def __init__(self, world: World, plan: Plan) -> None:
        super().__init__(world, plan, "s3")
        self.twin = MemoryObjectStore()
        self.on_put: Callable[[str], None] = lambda *_: None
        self.on_delete: Callable[[str, str], None] = lambda *_: None

    @property
    def keys(self) -> list[str]:
        return sorted(self.twin.objects)


class ObjectsPort(MemoryObjectStore):
    """What of ``ObjectStore`` the janitor and the workers use; a put that was begun lands though its sender dies."""

    def __init__(self, bucket: Bucket, who: str) -> None:
        super().__init__()
        self._bucket = bucket
        self._who = who

    async def put_bytes(self, key: str, data: bytes, media_type: str) -> StoredFile:
        await self._reach()
        signal = Signal()
        world = self._bucket.world

        def put() -> None:
            signal.give(at_once(self._bucket.twin.put_bytes(key, data, media_type)))
            self._bucket.on_put(key)
            world.note(self._who, "stored", key.rsplit("/", 1)[1], key)

        world.at(world.between(1, 50), put)
        stored: StoredFile = await signal
        return stored

    async def list_keys(self, prefix: str) -> list[str]:
        await self._reach()
        return at_once(self._bucket.twin.list_keys(prefix))

    async def delete(self, keys: Iterable[str]) -> None:
        await self._reach()
        for key in keys:
            if key in self._bucket.twin.objects:
                self._bucket.on_delete(key, self._who)
                at_once(self._bucket.twin.delete([key]))
        await self._bucket.world.sleep(1)

    async def _reach(self) -> None:
        world = self._bucket.world
        await world.sleep(world.between(1, 20))
        if self._bucket.away:
            await world.sleep(world.between(100, 1_000))
            raise Unavailable("s3", "away")
