"""Acts on jobs where somebody is quicker, or nobody decides: over memory twins, with a ledger that a test plays."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from operations import desk as desks
from operations.audit.recording import Actor
from operations.core.job_acts import Verb, Way, way_of
from operations.desk import Desk
from operations.jobs.acts import Act, Asked, act
from operations.jobs.bulk import named_jobs, on_each
from operations.jobs.following import follow
from operations.jobs.listing import Sought
from operations.stack.errors import StackError
from repo.memory import MemoryDatabase, MemoryEventLog
from repo.ports import Position, Unavailable
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import Encoded, decode, encode
from schemas.commands import AttemptHandedBack, AttemptLost, RetryJob
from schemas.events import JobEvent
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, EarlierAttempt, Failure, Job
from schemas.lifecycle import State
from schemas.topics import AUDIT, COMMANDS
from tests.repo.jobs import a_job

OPERATOR = Actor("ann@desk", "cli", "desk")
Then = Callable[[Job], Awaitable[None]]


class PlayedLedger(MemoryEventLog):
    """After each command the test's own ledger has its turn."""

    then: Callable[[], Awaitable[None]] | None = None
    away_for: str = ""

    async def append(self, message: Encoded, *, partition: int | None = None) -> Position:
        if message.topic == self.away_for:
            raise Unavailable("kafka", "away")
        position = await super().append(message, partition=partition)
        if message.topic == COMMANDS.name and self.then is not None:
            await self.then()
        return position


@pytest.fixture
def world() -> tuple[Desk, PlayedLedger, MemoryDatabase]:
    log, database = PlayedLedger(), MemoryDatabase()
    return Desk(log, database), log, database


@pytest.fixture
async def running(world: tuple[Desk, PlayedLedger, MemoryDatabase]) -> Job:
    _, _, database = world
    job = a_job("ann", state=State.PROCESSING, worker_id="w-1", started_at=1, version=2)
    await database.jobs.store_job(job, 0)
    return job


async def becomes(desk: Desk, job: Job, **changes: object) -> None:
    """The ledger decides so, and announces it."""
    after = replace(job, version=job.version + 1, **changes)  # type: ignore[arg-type]
    await desk.database.jobs.store_job(after, job.version)
    await desk.log.append(encode(JobEvent(after), source="/ledger", at=0))


def ended(end: AttemptEnd) -> tuple[EarlierAttempt, ...]:
    return (EarlierAttempt(attempt=1, worker_id="w-1", end=end),)


async def done_to(desk: Desk, verb: Verb, job: Job, *, final: bool = False) -> Act:
    return await act(desk, OPERATOR, verb, job.job_id, Asked("a reason", final))


def audit_of(log: MemoryEventLog) -> list[AuditEntry]:
    entries = [decode(record) for record in log.records(AUDIT.name)]
    return [entry for entry in entries if isinstance(entry, AuditEntry)]


async def test_a_report_names_job_attempt_and_worker(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job
) -> None:
    desk, log, _ = world
    log.then = lambda: becomes(
        desk, running, state=State.QUEUED, attempt=2, worker_id=None, earlier_attempts=ended(AttemptEnd.HANDED_BACK)
    )
    came = await done_to(desk, Verb.REQUEUE, running)
    assert (came.done, came.decided, came.job.attempt) == (True, True, 2)
    assert "w-1 is told to stop" in came.words
    (command,) = [decode(record) for record in log.records(COMMANDS.name)]
    assert isinstance(command, AttemptHandedBack)
    assert (command.user_id, command.job_id, command.attempt, command.worker_id, command.reason) == (
        "ann",
        running.job_id,
        1,
        "w-1",
        "a reason",
    )
    begun, done = audit_of(log)
    assert (begun.stage, begun.action, begun.target, begun.reason) == (
        AuditStage.BEGUN,
        "jobs.requeue",
        running.job_id,
        "a reason",
    )
    assert done.detail is not None
    assert (done.stage, done.detail["outcome"], done.actor) == (AuditStage.DONE, "done", "ann@desk")


async def test_a_requeue_that_would_cost_the_client_a_try_is_refused(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job
) -> None:
    """The third time in a run that an external worker gives a job back, the ledger takes it for lost."""
    desk, log, _ = world
    (given_back,) = ended(AttemptEnd.HANDED_BACK)
    twice = tuple(replace(given_back, attempt=number, started_at=1) for number in (1, 2))
    slot = "sdk:upscale:pod-1:0123456789ab:0"
    held = replace(running, version=3, attempt=3, worker_id=slot, earlier_attempts=twice)
    await desk.database.jobs.store_job(held, 2)
    came = await done_to(desk, Verb.REQUEUE, held)
    assert (came.done, came.decided) == (False, True)
    assert "openv jobs kill" in came.words
    assert log.records(COMMANDS.name) == []
    assert [one.does for one in await named_jobs(desk, Verb.REQUEUE, [held.job_id])] == [False]
    assert way_of(Verb.REQUEUE, replace(held, earlier_attempts=twice[:1])) is Way.HAND_BACK
    assert way_of(Verb.REQUEUE, replace(held, worker_id="w-1")) is Way.HAND_BACK
    assert way_of(Verb.KILL, held) is Way.END


@pytest.mark.parametrize("verb", [Verb.REQUEUE, Verb.KILL])
async def test_an_attempt_that_delivered_meanwhile_stays_as_it_ended(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job, verb: Verb
) -> None:
    desk, log, _ = world
    log.then = lambda: becomes(desk, running, state=State.COMPLETED, winning_attempt=1)
    came = await done_to(desk, verb, running)
    assert (came.done, came.decided, came.job.state) == (False, True, State.COMPLETED)
    assert "ended meanwhile by itself: it is completed" in came.words


async def test_what_the_scheduler_said_first_is_not_called_ours(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job
) -> None:
    desk, log, _ = world
    log.then = lambda: becomes(
        desk, running, state=State.QUEUED, attempt=2, tries=2, worker_id=None, earlier_attempts=ended(AttemptEnd.LOST)
    )
    came = await done_to(desk, Verb.REQUEUE, running)
    assert (came.done, came.decided) == (False, True)
    assert "given up, not by this word" in came.words


async def test_without_a_ledger_it_is_recorded_and_said_to_be(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, log, _ = world
    monkeypatch.setattr(desks, "ANSWER_WITHIN_S", 0.05)
    log.then = lambda: becomes(desk, replace(running, job_id="another"))
    for verb, kind in ((Verb.KILL, AttemptLost), (Verb.CANCEL, None)):
        came = await done_to(desk, verb, running)
        assert (came.done, came.decided, came.job) == (False, False, running)
        assert "not decided yet" in came.words
        assert kind is None or isinstance(decode(log.records(COMMANDS.name)[-1]), kind)
    assert [one.detail["outcome"] for one in audit_of(log) if one.detail and "outcome" in one.detail] == [
        "not decided yet"
    ] * 2


async def test_an_announcement_that_changes_nothing_is_no_decision(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, log, _ = world
    monkeypatch.setattr(desks, "ANSWER_WITHIN_S", 0.05)

    async def announced_again() -> None:
        await log.append(encode(JobEvent(running), source="/ledger", at=0))

    log.then = announced_again
    came = await done_to(desk, Verb.KILL, running)
    assert (came.done, came.decided) == (False, False)


async def test_nothing_is_done_where_the_audit_cant_be_written(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job
) -> None:
    desk, log, _ = world
    log.away_for = AUDIT.name
    with pytest.raises(Unavailable):
        await done_to(desk, Verb.KILL, running)
    assert log.records(COMMANDS.name) == []
    log.away_for = COMMANDS.name
    with pytest.raises(StackError, match="may be recorded all the same"):
        await done_to(desk, Verb.KILL, running)
    assert [one.stage for one in audit_of(log)] == [AuditStage.BEGUN, AuditStage.FAILED]


@pytest.mark.parametrize(
    ("state", "verb", "done"),
    [
        (State.QUEUED, Verb.REQUEUE, True),
        (State.QUEUED, Verb.KILL, False),
        (State.COMPLETED, Verb.REQUEUE, False),
        (State.COMPLETED, Verb.CANCEL, False),
        (State.REJECTED, Verb.REQUEUE, False),
        (State.CANCELLED, Verb.CANCEL, True),
        (State.DELETED, Verb.DELETE, True),
        (State.DELETED, Verb.REQUEUE, False),
    ],
)
async def test_what_needs_nothing_or_has_no_way_sends_nothing(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], state: State, verb: Verb, *, done: bool
) -> None:
    desk, log, database = world
    job = a_job("ann", state=state)
    await database.jobs.store_job(job, 0)
    came = await done_to(desk, verb, job)
    assert (came.done, came.decided, came.job) == (done, True, job)
    assert log.records(COMMANDS.name) == log.records(AUDIT.name) == []


async def test_a_retry_is_measured_by_the_endpoint_as_it_is_now(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, log, database = world
    monkeypatch.setattr(desks, "ANSWER_WITHIN_S", 0.01)
    job = a_job(
        "ann", state=State.FAILED, run=3, endpoint="gone", failure=Failure(code=FailureCode.WORKER_LOST, message="")
    )
    await database.jobs.store_job(job, 0)
    await done_to(desk, Verb.REQUEUE, job)
    command = decode(log.records(COMMANDS.name)[-1])
    assert isinstance(command, RetryJob)
    assert (command.run, command.endpoint, command.limits) == (3, None, None), "of before, where there is none now"


async def test_one_that_is_not_there_stops_no_other(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job
) -> None:
    desk, log, _ = world
    log.then = lambda: becomes(desk, running, state=State.FAILED, earlier_attempts=ended(AttemptEnd.LOST))
    came = {one.job_id: one async for one in on_each(desk, OPERATOR, Verb.KILL, ["nobody", running.job_id], Asked())}
    assert came["nobody"].act is None
    assert "There is no job nobody" in came["nobody"].words
    good = came[running.job_id].act
    assert good is not None
    assert good.done


async def test_what_becomes_of_jobs_is_followed_from_now_on(
    world: tuple[Desk, PlayedLedger, MemoryDatabase], running: Job
) -> None:
    desk, _, _ = world
    await becomes(desk, running, tries=2)
    heard = follow(desk, Sought(user="ann", states=(State.FAILED,), code=FailureCode.WORKER_LOST), running.job_id)
    first = asyncio.ensure_future(anext(heard))
    for _ in range(10):  # it listens now
        await asyncio.sleep(0)
    lost = Failure(code=FailureCode.WORKER_LOST, message="")
    await becomes(desk, replace(running, version=3), tries=3)
    await becomes(desk, replace(running, job_id="other"), state=State.FAILED, failure=lost)
    await becomes(desk, replace(running, version=4), state=State.FAILED, failure=lost)
    async with asyncio.timeout(30):
        _, job = await first
    await heard.aclose()  # type: ignore[attr-defined]
    assert (job.job_id, job.version) == (running.job_id, 5)
