"""The whole process on real servers: commands in, decisions, documents, events and wake-ups out."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from repo.kafka import KafkaEventLog
from repo.mongo import MongoJobStore
from schemas.codec import decode
from schemas.dispatch import JobMoved
from schemas.events import JobEvent, Outcome
from schemas.lifecycle import State
from schemas.topics import DISPATCH, EVENTS
from tests.streams.streams_process import StreamsProcess, streams_running
from tests.streams.submissions import Ear, new_id, send, submission

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def environment(servers: Mapping[str, str], database: str) -> dict[str, str]:
    """What the process under test is told."""
    return {**servers, "MONGODB_DATABASE": database}


@pytest.fixture(scope="module")
async def streams(
    environment: dict[str, str], topics: list[str], tmp_path_factory: pytest.TempPathFactory
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
