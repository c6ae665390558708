"""The whole process on real servers: commands in, decisions, documents, events and wake-ups out."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from repo.clock import now_ms
from repo.core.object_keys import file_key, input_key, session_keys, user_prefix
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_jobs import MongoJobStore
from repo.ports import ObjectStore
from schemas.chunks import Chunks
from schemas.codec import Encoded, decode
from schemas.commands import AttemptHandedBack, AttemptStarted, AttemptSucceeded, CancelJob, DeleteJob, DeleteUser
from schemas.dispatch import JobMoved, RunAttempt, StopAttempt, Tick, WorkerBeat, WorkerState
from schemas.endpoints import DAY, EndpointKind, ServerlessEndpoint
from schemas.events import JobEvent, Outcome
from schemas.instants import LAST
from schemas.jobs import Charge, ChargeState, Job, Output
from schemas.lifecycle import State
from schemas.progress import QueuePlace
from schemas.requests import external_request
from schemas.topics import ASSIGNMENTS, COMMANDS, DEADLETTER, DISPATCH, EVENTS, PROGRESS
from tests.repo.jobs import a_job
from tests.streams.streams_process import StreamsProcess, eventually, streams_running
from tests.streams.submissions import Ear, new_id, send, submission

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def environment(servers: Mapping[str, str], database: str) -> dict[str, str]:
    """What the process under test is told."""
    return {**servers, "MONGODB_DATABASE": database}


@pytest.fixture(scope="module")
async def kept_too_long(mongo: MongoDatabase, object_store: ObjectStore) -> Job:
    """An external job of long ago, with its input in the object store and chunks; there before the process starts."""
    endpoint = ServerlessEndpoint(
        endpoint_id="old", kind=EndpointKind.EXTERNAL, pool="endpoint.old", version=1, created_at=1, updated_at=1
    )
    await mongo.endpoints.store_endpoint(endpoint, 0)
    user_id, job_id = new_id("user-"), new_id("job-")
    key = input_key(user_id, job_id)
    await object_store.put_bytes(key, b'{"input":1}', "application/json")
    ended = now_ms() - DAY - 1
    job = a_job(
        user_id,
        job_id=job_id,
        endpoint="old",
        external=True,
        state=State.FAILED,
        finished_at=ended,
        charge=Charge(state=ChargeState.REFUNDED, seconds=0.0, reserved_at=ended),
        request=external_request(key=key),
    )
    await mongo.jobs.store_job(job, 0)
    await mongo.endpoints.store_chunks(Chunks(job_id=job_id, attempt=1, version=1, delete_at=LAST), 0)
    await mongo.endpoints.store_chunks(Chunks(job_id=f"{job_id}-2", attempt=1, version=1, delete_at=ended), 0)
    return job


@pytest.fixture(scope="module")
async def streams(
    environment: dict[str, str], topics: list[str], tmp_path_factory: pytest.TempPathFactory, kept_too_long: Job
) -> AsyncIterator[StreamsProcess]:
    """All roles in one process."""
    log: Path = tmp_path_factory.mktemp("streams") / "log"
    async with streams_running(environment, log) as one:
        yield one


async def test_a_submission_becomes_a_document_an_event_a_wake_up_and_an_answer(
    streams: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    command = submission(new_id("user-"), new_id("pool-"))
    async with Ear(kafka_log, EVENTS.name) as events, Ear(kafka_log, DISPATCH.name) as dispatch:
        await send(kafka_log, command)
        answer = (await events.answered(command))[command.command_id]
        job = await job_store.job(command.job_id)

        assert answer.outcome is Outcome.ADMITTED
        assert job is not None
        assert (job.state, job.version, answer.version) == (State.QUEUED, 1, 1)
        assert JobEvent(job) in events.messages()
        moved = [m for m in map(decode, dispatch.records) if isinstance(m, JobMoved) and m.job_id == job.job_id]
        assert [(m.version, m.pool) for m in moved] == [(1, command.pool)]


async def test_fifty_users_at_once(streams: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore) -> None:
    pool = new_id("pool-")
    commands = [submission(new_id("user-"), pool) for _ in range(50)]
    async with Ear(kafka_log, EVENTS.name) as events:
        await send(kafka_log, *commands)
        answers = await events.answered(*commands)

    assert {answer.outcome for answer in answers.values()} == {Outcome.ADMITTED}
    jobs = await asyncio.gather(*(job_store.job(command.job_id) for command in commands))
    assert all(job is not None and job.state is State.QUEUED for job in jobs)


async def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_rest_flows(
    streams: StreamsProcess, kafka_log: KafkaEventLog
) -> None:
    command = submission(new_id("user-"), new_id("pool-"))
    key = command.user_id.encode()
    poison = [
        Encoded(COMMANDS.name, key, b"\xff not JSON", (("ce_type", b"dev.openv.command.submit.v1"),)),
        Encoded(COMMANDS.name, key, b'{"commandId": 7}', (("ce_type", b"dev.openv.command.cancel.v1"),)),
        Encoded(COMMANDS.name, key, b"{}", (("ce_type", b"dev.openv.command.unheard_of.v9"),)),
        Encoded(COMMANDS.name, key, b"{}", ()),
    ]
    async with Ear(kafka_log, EVENTS.name) as events, Ear(kafka_log, DEADLETTER.name) as dead:
        await kafka_log.append_all(poison)
        await send(kafka_log, command)
        await events.answered(command)

        async def all_there() -> bool:
            return len(dead.records) >= len(poison)

        await eventually(all_there)
    letters = [record for record in dead.records if record.key == key]
    assert [letter.value for letter in letters] == [one.value for one in poison]
    assert [letter.header("openv_reason") for letter in letters] == [
        "not valid: value: json_invalid",
        "not valid: commandId: string_type; userId: missing; jobId: missing",
        "unknown type dev.openv.command.unheard_of.v9",
        "no ce_type header: not a CloudEvents record in binary mode",
    ]
    assert {letter.header("kafka_dlt-original-topic") for letter in letters} == {COMMANDS.name}


class FakeWorker:
    """A worker as the scheduler sees it: beats and reports."""

    def __init__(self, log: KafkaEventLog, pool: str) -> None:
        self.log = log
        self.pool = pool
        self.worker_id = new_id("worker-")
        self.session = new_id("session-")
        self.sequence = 0

    async def beat(self, state: WorkerState, run: RunAttempt | None = None) -> None:
        self.sequence += 1
        beat = WorkerBeat(
            pool=self.pool,
            worker_id=self.worker_id,
            session=self.session,
            sequence=self.sequence,
            state=state,
            job_id=run.job_id if run else None,
            attempt=run.attempt if run else None,
        )
        await send(self.log, beat)

    async def ordered(self, ear: Ear, kind: type[RunAttempt] | type[StopAttempt]) -> RunAttempt | StopAttempt:
        """The next order of this kind to this worker's session."""

        async def order() -> RunAttempt | StopAttempt | None:
            mine = [one for one in ear.messages() if isinstance(one, kind) and one.session == self.session]
            return mine[-1] if mine else None

        found = await eventually(order, what=f"{kind.__name__} to {self.worker_id}")
        assert found is not None
        return found

    async def report(self, kind: type, run: RunAttempt, **members: object) -> None:
        report = kind(
            command_id=new_id(),
            user_id=run.user_id,
            job_id=run.job_id,
            attempt=run.attempt,
            worker_id=self.worker_id,
            **members,
        )
        await send(self.log, report)


async def reaches(store: MongoJobStore, job_id: str, state: State) -> None:
    async def there() -> bool:
        job = await store.job(job_id)
        return job is not None and job.state is state

    await eventually(there, what=f"{job_id} {state}")


async def test_a_whole_round_from_the_request_to_the_video(
    streams: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    worker = FakeWorker(kafka_log, new_id("pool-"))
    command = submission(new_id("user-"), worker.pool)
    async with Ear(kafka_log, ASSIGNMENTS.name) as orders, Ear(kafka_log, PROGRESS.name) as progress:
        await send(kafka_log, command)

        async def has_a_place() -> bool:
            return any(isinstance(m, QueuePlace) and m.job_id == command.job_id for m in progress.messages())

        await eventually(has_a_place, what="a place in the queue, which a tick shows")
        await worker.beat(WorkerState.READY)
        run = await worker.ordered(orders, RunAttempt)
        assert isinstance(run, RunAttempt)
        assert (run.job_id, run.attempt, run.request) == (command.job_id, 1, command.request)
        await worker.beat(WorkerState.BUSY, run)
        await worker.report(AttemptStarted, run)
        await reaches(job_store, run.job_id, State.PROCESSING)
        await worker.report(AttemptSucceeded, run, output=Output(width=848, height=480, frames=7))
        await reaches(job_store, run.job_id, State.COMPLETED)
        await worker.beat(WorkerState.READY)

    job = await job_store.job(command.job_id)
    assert job is not None
    assert job.output == Output(width=848, height=480, frames=7)
    assert job.charge.state == "captured"


async def test_a_cancelled_job_stops_its_worker(
    streams: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    worker = FakeWorker(kafka_log, new_id("pool-"))
    command = submission(new_id("user-"), worker.pool)
    async with Ear(kafka_log, ASSIGNMENTS.name) as orders:
        await worker.beat(WorkerState.READY)
        await send(kafka_log, command)
        run = await worker.ordered(orders, RunAttempt)
        assert isinstance(run, RunAttempt)
        await worker.beat(WorkerState.BUSY, run)
        await worker.report(AttemptStarted, run)
        await reaches(job_store, run.job_id, State.PROCESSING)
        await send(kafka_log, CancelJob(command_id=new_id(), user_id=command.user_id, job_id=command.job_id))
        stop = await worker.ordered(orders, StopAttempt)
        assert (stop.job_id, stop.attempt) == (run.job_id, 1)  # type: ignore[union-attr]
    await reaches(job_store, command.job_id, State.CANCELLED)


async def test_an_attempt_handed_back_goes_to_the_next_worker(
    streams: StreamsProcess, kafka_log: KafkaEventLog
) -> None:
    first = FakeWorker(kafka_log, new_id("pool-"))
    second = FakeWorker(kafka_log, first.pool)
    command = submission(new_id("user-"), first.pool)
    async with Ear(kafka_log, ASSIGNMENTS.name) as orders:
        await first.beat(WorkerState.READY)
        await send(kafka_log, command)
        run = await first.ordered(orders, RunAttempt)
        assert isinstance(run, RunAttempt)
        await first.beat(WorkerState.DRAINING)
        await second.beat(WorkerState.READY)
        await first.report(AttemptHandedBack, run, reason="draining")
        again = await second.ordered(orders, RunAttempt)
        assert isinstance(again, RunAttempt)
        assert (again.job_id, again.attempt) == (run.job_id, 2)


async def test_ticks_go_into_every_partition_of_the_dispatch_topic_one_after_the_other(
    streams: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    async with Ear(kafka_log, DISPATCH.name) as dispatch:

        async def thrice_each() -> bool:
            ticks = [record for record in dispatch.records if isinstance(decode(record), Tick)]
            return all(sum(t.partition == p for t in ticks) >= 3 for p in range(DISPATCH.partitions))

        await eventually(thrice_each)

    async def applied() -> bool:
        offsets, ends = await job_store.applied_offsets("scheduler"), await kafka_log.ends(DISPATCH.name)
        return all(offsets.get(partition, -1) >= end - 3 for partition, end in ends.items())

    await eventually(applied)


async def test_what_was_kept_too_long_is_deleted_with_its_input_and_its_chunks(
    streams: StreamsProcess, mongo: MongoDatabase, object_store: ObjectStore, kept_too_long: Job
) -> None:
    async def is_deleted() -> bool:
        job = await mongo.jobs.job(kept_too_long.job_id)
        return job is not None and job.state is State.DELETED and job.request.input_key is None

    async def chunks_are_gone() -> bool:
        found = [await mongo.endpoints.chunks(f"{kept_too_long.job_id}{more}") for more in ("", "-2")]
        return found == [None, None]

    await eventually(is_deleted)
    await eventually(chunks_are_gone)
    await gone(object_store, user_prefix(kept_too_long.user_id))


async def test_files_of_deleted_jobs_and_discarded_attempts_are_deleted_and_nothing_else(
    streams: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore, object_store: ObjectStore
) -> None:
    command, other = (submission(new_id("user-"), new_id("pool-")) for _ in range(2))
    kept = file_key(other.user_id, other.job_id, 1, "w", "s", "video")
    mine = session_keys(command.user_id, command.job_id, 1, "w", "s")
    for key in (*mine, kept):
        await object_store.put_bytes(key, b"video", "video/mp4")
    async with Ear(kafka_log, EVENTS.name) as events:
        delete = DeleteJob(command_id=new_id(), user_id=command.user_id, job_id=command.job_id)
        await send(kafka_log, command, other)
        await events.answered(command, other)
        await send(kafka_log, delete)
        await events.answered(delete)
        await gone(object_store, user_prefix(command.user_id))

        late = session_keys(command.user_id, command.job_id, 1, "late", "s")
        for key in late:
            await object_store.put_bytes(key, b"video", "video/mp4")
        report = AttemptSucceeded(
            command_id=new_id(),
            user_id=command.user_id,
            job_id=command.job_id,
            attempt=1,
            worker_id="late",
            output=Output(),
        )
        await send(kafka_log, report)
        await gone(object_store, user_prefix(command.user_id))

        assert await object_store.read(kept) == b"video"
        whole = DeleteUser(command_id=new_id(), user_id=other.user_id, issued_at=other.append_by)
        await send(kafka_log, whole)
        await events.answered(whole)
        await gone(object_store, user_prefix(other.user_id))
    assert [job.state for job in await job_store.jobs_of(other.user_id)] == [State.DELETED]


async def gone(objects: ObjectStore, prefix: str) -> None:
    async def empty() -> bool:
        return not await objects.list_keys(prefix)

    await eventually(empty, what=f"nothing under {prefix}")
