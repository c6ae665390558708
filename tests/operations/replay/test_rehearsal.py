"""What would change: decided by the real ledger and notifier over a copy, which is bounded, and writes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from operations.core.replay_report import OTHERS, Histogram
from operations.replay.overlay import OverlayJobStore
from operations.replay.rehearsal import Effects, Rehearsal
from repo import tracing
from repo.memory import MemoryDatabase
from repo.tracing_sdk import SdkTracer
from schemas.accounts import Account
from schemas.codec import Message, Record, encode
from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded, CancelJob, DeleteJob, DeleteUser, RetryJob
from schemas.deliveries import Endpoint, Hooks, WebhookEvent
from schemas.events import JobEvent
from schemas.failures import FailureCode
from schemas.jobs import Output
from schemas.lifecycle import State
from streams.core.policy import Policy
from tests.streams.submissions import new_id, submission
from tests.streams.test_janitor import job as any_job

NOW = 1_790_000_000_000


def record(message: Message) -> Record:
    made = encode(message, source="/t", at=NOW)
    return Record(made.topic, 0, 0, NOW, made.key, made.value, made.headers)


def rehearsal(database: MemoryDatabase, **policy: float) -> Rehearsal:
    return Rehearsal(
        database.jobs,
        database.deliveries,
        Policy(**policy),
        lambda: NOW,
        origin=None,
        mail=False,  # type: ignore[arg-type]
    )


def listening(user_id: str) -> Hooks:
    endpoint = Endpoint(
        endpoint_id="e1",
        url="https://a.test/",
        secret="whsec_x",
        listens={WebhookEvent.COMPLETED: 1},
        created_at=1,
        updated_at=1,
    )
    return Hooks(user_id=user_id, version=1, endpoints=(endpoint,))


async def test_a_video_that_would_be_made_is_counted_once_with_what_follows_from_it() -> None:
    database = MemoryDatabase()
    await database.deliveries.store_hooks(listening("ann"), 0)
    one = rehearsal(database)
    asked = submission("ann", "mochi-1", append_by=NOW + 1)
    said = {"user_id": "ann", "job_id": asked.job_id, "attempt": 1, "worker_id": "w"}
    story: list[Message] = [
        asked,
        AttemptStarted(command_id="1", **said),  # type: ignore[arg-type]
        AttemptSucceeded(command_id="2", output=Output(), **said),  # type: ignore[arg-type]
    ]
    for message in story * 2:
        await one.take(record(message))
    effects = one.effects
    assert effects.jobs.plain() == {"none → queued": 1, "processing → completed": 1, "queued → processing": 1}
    assert effects.generations == 1
    assert effects.seconds == asked.request.seconds
    assert effects.deliveries.plain() == {"webhook video.completed": 1}
    assert effects.decided == 6
    assert not effects.changes_nothing
    assert await database.jobs.job(asked.job_id) is None, "nothing is written"
    assert await database.jobs.account("ann") is None


class OnlyRead:
    """A store of which nothing may be asked but what it holds."""

    READS = frozenset({"job", "jobs_of", "counted_jobs", "last_change", "account", "hooks", "delivery"})

    def __init__(self, real: object) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        assert name in self.READS, f"a rehearsal asked the real store to {name}"
        return getattr(self._real, name)


async def test_nothing_is_asked_of_the_real_stores_but_what_they_hold() -> None:
    """Of jobs and accounts that are there, with a user who is told of everything."""
    database = MemoryDatabase()
    await database.deliveries.store_hooks(listening("ann"), 0)
    waiting, failed, done = (
        replace(any_job(state=state, version=3, attempt=1, run=1), job_id=new_id(), max_retries=0, due_at=NOW,
                expires_at=NOW + 1, execution_timeout_ms=60_000, updated_at=NOW)
        for state in (State.QUEUED, State.FAILED, State.COMPLETED)
    )  # fmt: skip
    for one in (waiting, failed, done):
        await database.jobs.store_job(one, 0)
    before = dict(database.jobs._jobs)
    only = Rehearsal(
        OnlyRead(database.jobs),  # type: ignore[arg-type]
        OnlyRead(database.deliveries),  # type: ignore[arg-type]
        Policy(),
        lambda: NOW,
        origin=None,
        mail=False,
    )
    late = {"append_by": NOW + 1}
    asked = submission("ann", "mochi", **late)
    of_waiting = {"user_id": "ann", "job_id": waiting.job_id, "attempt": 1, "worker_id": "w"}
    of_asked = of_waiting | {"job_id": asked.job_id}
    story: list[Message] = [
        asked,
        AttemptStarted(command_id="1", **of_asked),
        AttemptSucceeded(command_id="2", output=Output(), **of_asked),
        AttemptStarted(command_id="3", **of_waiting),
        AttemptFailed(command_id="4", code=FailureCode.INVALID_INPUT, message="", **of_waiting),
        RetryJob(command_id="5", user_id="ann", job_id=failed.job_id, run=1, **late),
        CancelJob(command_id="6", user_id="ann", job_id=failed.job_id, run=2),
        DeleteJob(command_id="7", user_id="ann", job_id=done.job_id),
        DeleteUser(command_id="8", user_id="ann", issued_at=NOW),
    ]
    for message in story:
        await only.take(record(message))
    changed = only.effects.jobs.plain()
    assert {"none → queued", "queued → processing", "processing → completed", "failed → queued"} <= changed.keys()
    assert only.effects.deliveries.total
    assert not only.effects.dead_letters.plain()
    assert database.jobs._jobs == before


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Whatever this process tells a collector."""
    exporter = InMemorySpanExporter()
    tracing.use(SdkTracer(exporter, Resource.get_empty(), 1.0))
    yield exporter
    tracing.close(5)


async def test_what_is_only_tried_out_is_in_no_trace(spans: InMemorySpanExporter) -> None:
    one = rehearsal(MemoryDatabase())
    asked = submission("ann", "mochi-1", append_by=NOW + 1)
    said = {"user_id": "ann", "job_id": asked.job_id, "attempt": 1, "worker_id": "w"}
    await one.take(record(asked))
    await one.take(record(AttemptStarted(command_id="1", **said)))  # type: ignore[arg-type]
    await one.take(record(AttemptSucceeded(command_id="2", output=Output(), **said)))  # type: ignore[arg-type]
    assert one.effects.jobs["processing → completed"] == 1
    with tracing.span("after it", job_id=asked.job_id):
        pass
    tracing.close(5)
    assert [span.name for span in spans.get_finished_spans()] == ["after it"]


async def test_what_was_decided_already_changes_nothing() -> None:
    database = MemoryDatabase()
    done = any_job(state=State.COMPLETED, version=3)
    await database.jobs.store_job(done, 0)
    one = rehearsal(database)
    await one.take(
        record(AttemptStarted(command_id="1", user_id=done.user_id, job_id=done.job_id, attempt=1, worker_id="w"))
    )
    assert one.effects.changes_nothing
    await one.take(record(DeleteJob(command_id="2", user_id=done.user_id, job_id=done.job_id)))
    assert one.effects.jobs.plain() == {"completed → deleted": 1}


async def test_refusals_garbage_and_deletions_are_counted() -> None:
    database = MemoryDatabase()
    one = rehearsal(database, max_active=0)
    await one.take(record(submission("ann", "mochi-1", append_by=NOW + 1)))
    assert one.effects.refusals.total == 1
    assert one.effects.generations == 0
    bad = record(submission("ann", "mochi-1"))
    await one.take(replace(bad, value=b"{not JSON"))
    assert one.effects.dead_letters.total == 1
    before = one.effects.jobs.total
    await one.take(record(DeleteUser(command_id="d", user_id="ann", issued_at=NOW)))
    assert one.effects.jobs.total > before


async def test_an_event_of_long_ago_tells_nobody() -> None:
    database = MemoryDatabase()
    one = rehearsal(database)
    await database.deliveries.store_hooks(listening("u1"), 0)
    old = replace(any_job(state=State.COMPLETED, version=3), user_id="u1", finished_at=1_000, updated_at=1_000)
    await one.take(record(JobEvent(old)))
    assert one.effects.changes_nothing


async def test_the_copy_is_bounded_and_says_what_it_forgot() -> None:
    database, effects = MemoryDatabase(), Effects()
    copy = OverlayJobStore(database.jobs, effects, kept=10)
    for number in range(50):
        made = replace(any_job(state=State.QUEUED, version=1), user_id=f"u{number % 25}", job_id=new_id())
        assert await copy.store_job(made, 0)
    assert effects.jobs.plain() == {"none → queued": 50}
    assert len(copy._owner) == 10
    assert effects.forgotten == 40
    mine = [replace(any_job(state=State.QUEUED, version=1), user_id="one", job_id=f"j{number}") for number in range(30)]
    for made in mine:
        assert await copy.store_job(made, 0)
        assert await copy.job(made.job_id) == made
        assert not await copy.store_job(replace(made, version=7), 3), "compared"
    assert len(copy._owner) <= 10


def test_a_histogram_does_not_grow_without_end() -> None:
    counts = Histogram(most=3)
    for number in range(100):
        counts.add(f"{number}")
    counts.add("1", 5)
    assert counts.plain() == {OTHERS: 97, "1": 6, "0": 1, "2": 1}
    assert counts.total == 105


async def test_an_account_that_changes_twice_is_one_account() -> None:
    effects = Effects()
    copy = OverlayJobStore(MemoryDatabase().jobs, effects)
    for version in (1, 2, 3):
        assert await copy.store_account(Account(user_id="ann", version=version), version - 1)
    assert effects.accounts == 1
