"""An executor that dies at any moment, again and again: in the end every record lies there once, in its order.

The target behaves as Kafka does to a client that is killed: of what it has not acknowledged, each partition has some
first part, whatever the other partitions have.
"""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from operations.core.replay_records import Readable, Rules, Written
from operations.core.replay_scope import Asked
from operations.replay import execution as module
from operations.replay import pace
from operations.replay.execution import Execution, Landed
from operations.replay.pace import Wishes
from operations.replay.readers import Readers
from operations.replay.sieve import Sieve
from operations.replay.sources import Resolved
from operations.replay.tenure import PausedError, Tenure
from repo.memory_replays import MemoryReplayStore
from repo.memory_store import MemoryJobStore
from schemas.replay_plans import Place, ReplayPlan, ReplayState, Span
from tests.operations.replay.made import ListSource, Made, a_plan
from tests.streams.streams_process import eventually

ASKED = Asked("x.source", "x.target")
NOBODY = Readers(MemoryJobStore(), ())
Where = tuple[str, int]


class Killed(BaseException):
    """The process is no more."""


class Kafka:
    """The target's partitions. ``kill_after`` steps the client dies."""

    def __init__(self, chance: random.Random, store: MemoryReplayStore) -> None:
        self.store = store
        self.lanes: dict[Where, list[tuple[int, int]]] = defaultdict(list)
        self.chance = chance
        self._steps = 0
        self._waiting: list[dict[Where, list[tuple[int, int]]]] = []
        self._open: dict[Where, list[tuple[int, int]]] = defaultdict(list)

    def live(self, steps: int) -> None:
        self._steps = steps
        self.store.away = False
        self._waiting.clear()
        self._open.clear()

    def put(self, record: Readable, judged: Written, partition: int) -> None:
        lane = (partition + (record.key or b"\0")[0]) % 3
        self._open[judged.topic, lane].append((partition, record.offset))

    async def send(self) -> object:
        self._step()
        bundle, self._open = dict(self._open), defaultdict(list)
        self._waiting.append(bundle)
        await asyncio.sleep(0)  # a checkpoint may be stored meanwhile, or not yet
        return bundle

    async def durable(self, sent: object) -> dict[Where, int]:
        self._step()
        if self.chance.random() < 0.5:
            await asyncio.sleep(0)
        ends: dict[Where, int] = {}
        while self._waiting:
            bundle = self._waiting.pop(0)
            self._land(bundle)
            if bundle is sent:
                ends = {at: len(self.lanes[at]) for at in bundle}
                break
        return ends

    def _land(self, bundle: dict[Where, list[tuple[int, int]]]) -> None:
        for at, records in bundle.items():
            self.lanes[at] += records

    def _step(self) -> None:
        self._steps -= 1
        if self._steps > 0:
            return
        lanes = {at for bundle in self._waiting for at in bundle}
        for at in lanes:
            for bundle in self._waiting[: self.chance.randint(0, len(self._waiting))]:
                self.lanes[at] += bundle.get(at, [])
        self.store.away = True  # the dead store nothing
        raise Killed

    def landed(self, plan: ReplayPlan) -> Landed:
        """What ``landing.landed`` finds: all that lies behind the checkpoint's ends, ahead of where it has read."""
        assert plan.checkpoint is not None
        ends = {(one.topic, one.partition): one.offset for one in plan.checkpoint.ends}
        read = {one.partition: one.offset for one in plan.checkpoint.read}
        found = [one for at, records in self.lanes.items() for one in records[ends.get(at, 0) :]]
        return {one: at for one in found if one[1] >= read[one[0]] for at in ("there",)}


async def one_life(kafka: Kafka, store: MemoryReplayStore, records: dict[int, list[Made]]) -> bool:
    """Until it dies or is done; whether it is done."""
    plan = await store.replay("r-test")
    assert plan is not None
    assert plan.checkpoint is not None
    read = {one.partition: one.offset for one in plan.checkpoint.read}
    spans = {one.partition: (read[one.partition], one.end) for one in plan.spans}
    sieve = Sieve(ASKED, Resolved(plan.spans, None, None), Rules(plan.replay_id, ASKED.target, 5))
    landed = kafka.landed(plan)
    execution = Execution(ListSource(records, spans), sieve, kafka, Tenure(store, plan, "me"), plan, landed, NOBODY)
    try:
        assert await execution.run(Wishes(), lambda _: None) is None
    except Killed:
        return False
    checkpoint = execution.checkpoint
    assert checkpoint.written == sum(map(len, records.values()))
    return True


@pytest.mark.parametrize("seed", range(60))
async def test_each_record_is_written_once_and_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(pace, "AT_A_TIME", chance.choice([1, 3, 10]))
    monkeypatch.setattr(module, "SAVE_EVERY_S", 0.0)
    records = {
        partition: [
            Made(partition=partition, offset=offset, key=chance.choice([b"a", b"b", b"c", b"d"]))
            for offset in range(chance.randint(1, 40))
        ]
        for partition in range(3)
    }
    spans = [Span(partition=at, first=0, end=len(those)) for at, those in records.items()]
    ends = [Place(topic="x.target", partition=at, offset=0) for at in range(3)]
    store = MemoryReplayStore()
    assert await store.store_replay(a_plan(spans, ASKED, ends), 0)
    kafka, lives = Kafka(chance, store), 0
    while True:
        kafka.live(chance.randint(1, 12) if lives < 12 else 10**6)
        lives += 1
        if await one_life(kafka, store, records):
            break
    written = Counter(one for lane in kafka.lanes.values() for one in lane)
    everything = {(one.partition, one.offset) for those in records.values() for one in those}
    assert written == Counter(everything), f"after {lives} lives"
    for lane in kafka.lanes.values():
        for partition in records:
            offsets = [offset for at, offset in lane if at == partition]
            assert offsets == sorted(offsets), "a partition's order is kept"


async def test_a_checkpoint_before_all_was_found_does_not_pass_over_it() -> None:
    """What an executor before has written of what lies ahead must stay behind the ends, or the next one misses it."""
    records = {at: [Made(partition=at, offset=offset) for offset in range(6)] for at in range(2)}
    spans = [Span(partition=at, first=0, end=6) for at in records]
    start = [Place(topic="x.target", partition=at, offset=0) for at in range(3)]
    plan = a_plan(spans, ASKED, start)
    store = MemoryReplayStore()
    await store.store_replay(plan, 0)
    kafka = Kafka(random.Random(1), store)
    kafka.live(10**6)
    landed: Landed = {(1, 5): "there"}
    sieve = Sieve(ASKED, Resolved(tuple(spans), None, None), Rules("r-test", ASKED.target, 5))
    source = ListSource(records, dict.fromkeys(records, (0, 6)))
    execution = Execution(source, sieve, kafka, Tenure(store, plan, "me"), plan, landed, NOBODY)
    chunks = await source.next(2)
    assert chunks is not None
    await execution._send(chunks)
    await execution._confirm_oldest(Wishes(), lambda _: None)
    assert execution.checkpoint.written == 2
    assert [one.offset for one in execution.checkpoint.ends] == [0, 0, 0]


async def test_an_executor_that_was_ousted_sends_nothing_more() -> None:
    records = {0: [Made(offset=offset) for offset in range(100)]}
    spans = [Span(partition=0, first=0, end=100)]
    plan = a_plan(spans, ASKED)
    store = MemoryReplayStore()
    await store.store_replay(plan, 0)
    await store.store_replay(replace(plan, version=2), 1)
    kafka = Kafka(random.Random(1), store)
    kafka.live(10**6)
    tenure = Tenure(store, replace(plan, lease=None), "me")
    sieve = Sieve(ASKED, Resolved(tuple(spans), None, None), Rules("r-test", ASKED.target, 5))
    execution = Execution(ListSource(records, {0: (0, 100)}), sieve, kafka, tenure, plan, {}, NOBODY)
    with pytest.raises(Exception, match="taken over"):
        await execution.run(Wishes(), lambda _: None)
    assert not kafka.lanes


class SlowKafka(Kafka):
    """It acknowledges when it is told to."""

    def __init__(self, chance: random.Random, store: MemoryReplayStore) -> None:
        super().__init__(chance, store)
        self.acknowledges = asyncio.Event()
        self.given_up = False

    async def durable(self, sent: object) -> dict[Where, int]:
        try:
            await self.acknowledges.wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        return await super().durable(sent)


async def slow_one(monkeypatch: pytest.MonkeyPatch) -> tuple[SlowKafka, "asyncio.Task[str | None]"]:
    monkeypatch.setattr(module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.01)
    records = {0: [Made(offset=offset) for offset in range(10)]}
    spans = [Span(partition=0, first=0, end=10)]
    plan, store = a_plan(spans, ASKED), MemoryReplayStore()
    await store.store_replay(plan, 0)
    kafka = SlowKafka(random.Random(1), store)
    kafka.live(10**6)
    sieve = Sieve(ASKED, Resolved(tuple(spans), None, None), Rules("r-test", ASKED.target, 5))
    execution = Execution(ListSource(records, {0: (0, 10)}), sieve, kafka, Tenure(store, plan, "me"), plan, {}, NOBODY)
    return kafka, asyncio.create_task(execution.run(Wishes(), lambda _: None))


async def version_above(store: MemoryReplayStore, version: int) -> ReplayPlan:
    async def found() -> ReplayPlan | None:
        plan = await store.replay("r-test")
        return plan if plan is not None and plan.version > version else None

    plan = await eventually(found)
    assert plan is not None
    return plan


async def test_the_lease_is_renewed_while_a_slow_broker_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka, running = await slow_one(monkeypatch)
    plan = await version_above(kafka.store, 4)
    assert plan.lease is not None
    assert not running.done()
    kafka.acknowledges.set()
    assert await running is None
    assert len(kafka.lanes["x.target", b"a"[0] % 3]) == 10


async def test_who_is_ousted_while_it_waits_gives_up_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka, running = await slow_one(monkeypatch)
    plan = await version_above(kafka.store, 2)
    while not await kafka.store.store_replay(
        replace(plan, version=plan.version + 1, state=ReplayState.PAUSED), plan.version
    ):
        plan = await version_above(kafka.store, plan.version)
    with pytest.raises(PausedError, match="stopped by an operator") as paused:
        await running
    assert paused.value.plan.state is ReplayState.PAUSED
    assert kafka.given_up
    assert not kafka.lanes
