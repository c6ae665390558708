"""The scheduler's shell over memory twins: loading, offers against documents, words to the ledger, ticks, faults."""

from dataclasses import replace
from typing import Any

import pytest

from repo.core.documents import DamagedDocumentError
from repo.memory import MemoryEventLog, MemoryJobStore
from schemas.codec import Message, Record, decode, encode
from schemas.commands import JobExpired
from schemas.dispatch import DrainWorker, JobMoved, RunAttempt, Tick, WorkerBeat, WorkerKind, WorkerState
from schemas.failures import FailureCode
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.progress import PoolShown
from schemas.replays import Replayed
from schemas.slots import Slot
from schemas.topics import ASSIGNMENTS, COMMANDS, DISPATCH, PROGRESS
from streams import patience, pools
from streams.board import Board
from streams.core.announce import announcements
from streams.deadletters import CannotProcess
from streams.patience import Patience
from streams.pools import Pools
from streams.settings import Role
from streams.vitals import new_vitals
from tests.streams.test_janitor import job as any_job

NOW = 1_700_000_000_000


def queued(**changes: Any) -> Job:
    """A job that waits for a worker."""
    times = {"created_at": NOW, "due_at": NOW, "expires_at": NOW + 3_600_000, "execution_timeout_ms": 600_000}
    return replace(any_job(state=State.QUEUED, version=1), **{**times, **changes})


class Desk:
    """A scheduler and what it works on."""

    def __init__(self) -> None:
        self.store, self.log = MemoryJobStore(), MemoryEventLog()
        board = Board(new_vitals((Role.SCHEDULER,)), ready=lambda _: None, waiting=lambda _: None)
        self.pools = Pools(self.store, self.log, Patience(Role.SCHEDULER, board), reconcile_ms=60_000)
        self.generation = 1
        self.sequence = 0

    async def tell(self, message: Message, at: int = NOW, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        pool = getattr(message, "pool", "mochi")
        partition = self.log.partition_of(DISPATCH.name, pool.encode())
        encoded = encode(message, source="/tests", at=at)
        record = Record(DISPATCH.name, partition, 0, at, encoded.key, encoded.value, headers)
        await self.pools.handle(message, record, self.generation)

    def beat(self, state: WorkerState = WorkerState.READY, **changes: Any) -> WorkerBeat:
        self.sequence += 1
        beat = WorkerBeat(pool="mochi", worker_id="w", session="s", sequence=self.sequence, state=state)
        return replace(beat, **changes)

    def orders(self) -> list[Message]:
        return [decode(record) for record in self.log.records(ASSIGNMENTS.name)]  # type: ignore[misc]

    def words(self) -> list[Message]:
        return [decode(record) for record in self.log.records(COMMANDS.name)]  # type: ignore[misc]


def moved(job: Job) -> JobMoved:
    return announcements(job)[1]


async def test_jobs_that_wait_are_found_at_first_touch_and_handed_out() -> None:
    desk = Desk()
    await desk.store.store_job(queued(), 0)
    await desk.tell(desk.beat())
    (run,) = desk.orders()
    assert isinstance(run, RunAttempt)
    assert (run.job_id, run.attempt, run.worker_id, run.session, run.assigned_at) == ("j1", 1, "w", "s", NOW)


@pytest.mark.parametrize("external", [True, False])
async def test_a_handler_of_others_is_told_the_webhook_and_our_own_worker_is_not(external: bool) -> None:
    desk = Desk()
    await desk.store.store_job(queued(external=external, webhook="https://a.test/told"), 0)
    await desk.tell(desk.beat())
    (run,) = desk.orders()
    assert isinstance(run, RunAttempt)
    assert run.webhook == ("https://a.test/told" if external else None)


async def test_a_slot_is_handed_its_order_with_its_poll_and_the_pool_is_shown() -> None:
    desk = Desk()
    slot = Slot("echo", "pod", "0123456789ab", 1)
    await desk.store.store_job(queued(), 0)
    await desk.tell(desk.beat(worker_id=slot.worker_id, session=slot.gateway, kind=WorkerKind.SDK, poll_id="p7"))
    (run,) = desk.orders()
    assert isinstance(run, RunAttempt)
    assert (run.worker_id, run.session, run.poll_id) == (slot.worker_id, slot.gateway, "p7")
    await desk.tell(Tick(tick_id="1"), at=NOW + 1_000)
    told = [decode(record) for record in desk.log.records(PROGRESS.name)]
    shown = PoolShown(pool="mochi", idle=1, running=0, starting=0, draining=0, shown_at=NOW + 1_000)
    assert [one for one in told if isinstance(one, PoolShown)] == [shown]
    assert {record.key for record in desk.log.records(PROGRESS.name)} == {b"mochi"}


async def test_a_job_that_comes_later_is_read_and_handed_out() -> None:
    desk = Desk()
    await desk.tell(desk.beat())
    await desk.store.store_job(queued(), 0)
    await desk.tell(moved(queued()))
    assert [type(order) for order in desk.orders()] == [RunAttempt]


async def test_an_offer_that_the_document_outran_goes_to_nobody_and_frees_the_worker_for_another() -> None:
    desk = Desk()
    await desk.store.store_job(queued(), 0)
    await desk.store.store_job(queued(job_id="j2", created_at=NOW + 1), 0)
    await desk.tell(Tick(tick_id="1"))  # both are known
    await desk.store.store_job(queued(version=2, state=State.CANCELLED), 1)  # its wake-up is still on the way
    await desk.tell(desk.beat())
    assert [order.job_id for order in desk.orders() if isinstance(order, RunAttempt)] == ["j2"]


async def test_a_pool_nobody_has_spoken_of_is_found_by_a_tick_and_its_overdue_job_expires() -> None:
    desk = Desk()
    await desk.store.store_job(queued(expires_at=NOW - 1), 0)
    await desk.tell(Tick(tick_id="1"))
    (word,) = desk.words()
    assert isinstance(word, JobExpired)
    assert (word.job_id, word.run, word.code) == ("j1", 1, FailureCode.TTL_EXPIRED)


async def test_pools_of_other_partitions_are_left_to_others() -> None:
    desk = Desk()
    mine = desk.log.partition_of(DISPATCH.name, b"mochi")
    other = next(name for name in map(str, range(99)) if desk.log.partition_of(DISPATCH.name, name.encode()) != mine)
    await desk.store.store_job(queued(pool=other, expires_at=NOW - 1), 0)
    await desk.tell(Tick(tick_id="1"))
    assert desk.words() == []


async def test_documents_are_compared_again_after_a_while_and_in_a_new_generation() -> None:
    desk = Desk()
    await desk.tell(Tick(tick_id="1"))
    await desk.store.store_job(queued(), 0)  # nobody says so
    await desk.tell(desk.beat(), NOW + 1000)
    assert len(desk.orders()) == 1  # the pool was touched for the first time

    await desk.store.store_job(queued(job_id="j2"), 0)
    await desk.tell(desk.beat(worker_id="w2"), NOW + 2000)
    assert len(desk.orders()) == 1
    await desk.tell(Tick(tick_id="2"), NOW + 60_000)
    assert len(desk.orders()) == 2

    await desk.store.store_job(queued(job_id="j3"), 0)
    desk.generation = 2
    await desk.tell(desk.beat(worker_id="w3"), NOW + 61_000)
    assert [order.job_id for order in desk.orders() if isinstance(order, RunAttempt)][-1] in {"j1", "j2", "j3"}


async def test_an_outage_in_the_middle_of_a_step_delays_its_effects_and_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.0)
    desk = Desk()
    await desk.store.store_job(queued(), 0)
    await desk.tell(Tick(tick_id="1"))
    desk.store.away = True
    asked = 0
    read = desk.store.job

    async def job(job_id: str) -> Job | None:
        nonlocal asked
        asked += 1
        if asked == 5:
            desk.store.away = False
        return await read(job_id)

    monkeypatch.setattr(desk.store, "job", job)
    await desk.tell(desk.beat())
    assert len(desk.orders()) == 1


async def test_a_core_that_raises_puts_the_message_aside_and_the_pool_is_loaded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    await desk.store.store_job(queued(), 0)
    step = pools.step

    def fail(state: Any, event: Any, now: int) -> Any:
        if isinstance(event, WorkerBeat | Tick):
            raise IndexError("a bug")
        return step(state, event, now)

    monkeypatch.setattr(pools, "step", fail)
    with pytest.raises(CannotProcess, match="IndexError in fail"):
        await desk.tell(desk.beat())
    await desk.tell(Tick(tick_id="1"))  # carries nothing, so there is nothing to put aside
    monkeypatch.setattr(pools, "step", step)
    await desk.tell(desk.beat())
    assert len(desk.orders()) == 1


async def test_a_damaged_document_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    async def damaged(_: str) -> list[Job]:
        raise DamagedDocumentError("Job 'j9': version: missing")

    monkeypatch.setattr(desk.store, "active_jobs", damaged)
    await desk.tell(desk.beat())
    await desk.store.store_job(queued(), 0)
    await desk.tell(moved(queued()))
    assert len(desk.orders()) == 1


async def test_what_a_worker_said_long_ago_is_no_news_when_it_is_written_again() -> None:
    """A worker that is gone is given no job, and one that is here is not drained; jobs are looked at as they stand."""
    desk = Desk()
    await desk.store.store_job(queued(), 0)
    said = Replayed("r-1", DISPATCH.name, 0, 1, NOW - 86_400_000, 1).headers()
    await desk.tell(desk.beat(worker_id="gone"), headers=said)
    assert desk.orders() == []
    await desk.tell(moved(queued()), headers=said)
    await desk.tell(desk.beat())
    await desk.tell(DrainWorker(command_id="d", pool="mochi", worker_id="w"), headers=said)
    assert [type(order) for order in desk.orders()] == [RunAttempt]
