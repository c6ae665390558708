"""What the ledger holds of a user between two commands, over memory twins: no more than counts, and never less."""

from dataclasses import replace
from typing import Any

from repo.memory import MemoryEventLog, MemoryJobStore
from schemas.codec import Record, Unreadable, decode, encode
from schemas.commands import AnyCommand, AttemptSucceeded, DeleteUser, RetryJob, SubmitJob
from schemas.endpoints import EndpointLimits
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FailureCode
from schemas.jobs import Charge, ChargeState, Job, Output
from schemas.lifecycle import State
from schemas.requests import external_request
from schemas.topics import EVENTS
from streams.core.policy import Policy
from streams.ledger import Ledger
from streams.views import PRUNED_FROM

NOW = 1_700_000_000_000
HOUR = 3_600_000


class Store(MemoryJobStore):
    """Counts how often a user is loaded."""

    loads = 0

    async def counted_jobs(self, user_id: str, charged_since: int, asked_since: int) -> list[Job]:
        self.loads += 1
        return await super().counted_jobs(user_id, charged_since, asked_since)


class Books:
    """A ledger and what it works on; ``clock`` is what it stamps by."""

    def __init__(self, store: Store | None = None) -> None:
        self.store, self.log, self.clock = store or Store(), MemoryEventLog(), NOW
        self.ledger = Ledger(self.store, self.log, Policy(), clock=lambda: self.clock)
        self._offset = 0

    async def tell(self, command: AnyCommand, at: int) -> CommandAnswered | None:
        encoded = encode(command, source="/tests", at=at)
        record = Record(encoded.topic, 0, self._offset, at, encoded.key, encoded.value, encoded.headers)
        self._offset += 1
        await self.ledger.handle(command, record, 1)
        said = [decode(one) for one in self.log.records(EVENTS.name)[-1:]]
        assert not any(isinstance(one, Unreadable) for one in said)
        return next((one for one in said if isinstance(one, CommandAnswered)), None)

    async def run(self, job_id: str, at: int, limits: EndpointLimits) -> CommandAnswered:
        answer = await self.tell(submit(job_id, limits), at)
        assert answer is not None
        return answer

    async def finish(self, job_id: str, at: int) -> None:
        done = AttemptSucceeded(
            command_id=f"d{job_id}", user_id="ann", job_id=job_id, attempt=1, worker_id="w", output=Output(value="{}")
        )
        await self.tell(done, at)

    def held(self) -> int:
        return len(self.ledger._views._views["ann"].view.jobs)


def submit(job_id: str, limits: EndpointLimits, **more: Any) -> SubmitJob:
    members: dict[str, Any] = {
        "command_id": f"c{job_id}",
        "user_id": "ann",
        "job_id": job_id,
        "pool": "endpoint.echo",
        "request": external_request(text="{}"),
        "request_hash": "h",
        "append_by": NOW + 100 * HOUR,
        "endpoint": "echo",
        "external": True,
        "limits": limits,
    }
    return SubmitJob(**{**members, **more})


SHORT = EndpointLimits(max_active=10, rate_limit=3, rate_window_ms=10_000)
LONG = EndpointLimits(max_active=10, rate_limit=3, rate_window_ms=HOUR)


async def test_a_user_with_many_small_jobs_is_loaded_once_and_held_by_the_handful() -> None:
    books = Books()
    most = 0
    for n in range(5 * PRUNED_FROM):
        at = NOW + 4_000 * n
        assert (await books.run(f"j{n}", at, SHORT)).outcome is Outcome.ADMITTED
        await books.finish(f"j{n}", at + 1)
        most = max(most, books.held())
    assert books.store.loads == 1
    assert most <= PRUNED_FROM


async def test_a_longer_window_is_looked_up_once_and_kept_to() -> None:
    books = Books()
    for n in range(3):
        await books.run(f"j{n}", NOW + 20_000 * n, SHORT)
        await books.finish(f"j{n}", NOW + 20_000 * n + 1)
    assert (await books.run("j3", NOW + 60_000, LONG)).code is FailureCode.RATE_LIMITED
    assert books.store.loads == 2
    assert (await books.run("j4", NOW + 60_000, SHORT)).outcome is Outcome.ADMITTED
    assert (await books.run("j5", NOW + 60_001, LONG)).code is FailureCode.RATE_LIMITED
    assert books.store.loads == 2


async def test_time_that_goes_back_finds_what_had_been_left_out() -> None:
    store = Store()
    for n in range(3):
        await store.store_job(ended(f"old{n}", NOW, limits=SHORT), 0)
    books = Books(store)
    assert (await books.run("j1", NOW + HOUR, SHORT)).outcome is Outcome.ADMITTED
    assert (await books.run("j2", NOW + 9_000, SHORT)).code is FailureCode.RATE_LIMITED
    assert store.loads == 2


async def test_a_retry_is_measured_by_the_window_that_its_job_was() -> None:
    store = Store()
    for n in range(3):
        await store.store_job(ended(f"old{n}", NOW, state=State.FAILED, limits=LONG), 0)
    books = Books(store)
    retry = RetryJob(command_id="r", user_id="ann", job_id="old0", run=1, append_by=NOW + 100 * HOUR)
    answer = await books.tell(retry, NOW + 60_000)
    assert answer is not None
    assert answer.code is FailureCode.RATE_LIMITED
    assert (await store.job("old0")) != ended("old0", NOW, state=State.FAILED, limits=LONG)
    later = await books.tell(replace(retry, command_id="r2"), NOW + HOUR)
    assert later is not None
    assert later.outcome is Outcome.ADMITTED


async def test_stamps_do_not_go_back_behind_jobs_that_are_not_loaded() -> None:
    """Another process, whose clock was ahead, wrote them; a client polls by the time of the last change that it saw."""
    store = Store()
    await store.store_job(ended("old", NOW - 50 * HOUR, updated_at=NOW + 5_000), 0)
    books = Books(store)
    await books.run("j1", NOW, SHORT)
    job = await store.job("j1")
    assert job is not None
    assert job.updated_at == NOW + 5_001


async def test_a_deletion_of_the_user_reaches_what_had_been_left_out() -> None:
    books = Books()
    for n in range(PRUNED_FROM + 5):
        at = NOW + 4_000 * n
        await books.run(f"j{n}", at, SHORT)
        await books.finish(f"j{n}", at + 1)
    assert books.held() < PRUNED_FROM
    await books.tell(DeleteUser(command_id="x", user_id="ann", issued_at=NOW), NOW + 4_000 * PRUNED_FROM + 100_000)
    jobs = await books.store.jobs_of("ann", limit=10_000)
    assert len(jobs) == PRUNED_FROM + 5
    assert {job.state for job in jobs} == {State.DELETED}


async def test_anothers_job_that_a_command_named_is_not_kept() -> None:
    books = Books()
    await books.store.store_job(replace(ended("theirs", NOW), user_id="bob"), 0)
    assert (await books.run("theirs", NOW, SHORT)).code is FailureCode.KEY_REUSED
    assert books.held() == 0


def ended(job_id: str, at: int, **changes: Any) -> Job:
    """A finished external job that was asked for at ``at``."""
    job = Job(
        job_id=job_id,
        user_id="ann",
        pool="endpoint.echo",
        state=State.COMPLETED,
        version=1,
        request=external_request(text="{}"),
        request_hash="h",
        charge=Charge(state=ChargeState.CAPTURED, seconds=0.0, reserved_at=at),
        created_at=at,
        updated_at=at,
        due_at=at,
        expires_at=at + HOUR,
        execution_timeout_ms=1_000,
        finished_at=at,
        endpoint="echo",
        external=True,
    )
    return replace(job, **changes)
