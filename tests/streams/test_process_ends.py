"""Processes that die, wait and stop: nothing lost, nothing acked that was not applied, another one takes over."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repo.kafka import KafkaEventLog
from repo.mongo_jobs import MongoJobStore
from schemas.codec import Record
from schemas.commands import (
    AnyCommand,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelJob,
    DeleteJob,
    Report,
    SubmitJob,
)
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import Job, Output
from schemas.topics import COMMANDS, EVENTS
from streams.core.policy import Policy
from tests.servers import Wire
from tests.streams.core_replay import replayed
from tests.streams.streams_process import StreamsProcess, eventually, streams_running
from tests.streams.submissions import Ear, new_id, send, submission

pytestmark = [pytest.mark.beside, pytest.mark.servers]

LIMITS = {"OPENV_MAX_ACTIVE": "4", "OPENV_RATE_LIMIT": "1000", "MONTHLY_LIMIT_SECONDS": "2"}
POLICY = Policy(max_active=4, rate_limit=1000, monthly_limit_seconds=2.0)


@pytest.fixture(scope="module")
def environment(servers: Mapping[str, str], database: str) -> dict[str, str]:
    """What the processes under test are told."""
    return {**servers, **LIMITS, "MONGODB_DATABASE": database}


@pytest.fixture
async def processes(environment: dict[str, str], tmp_path: Path, topics: list[str]) -> AsyncIterator[Any]:
    """Starts processes; ends them however they stand."""
    started: list[StreamsProcess] = []

    def start(*arguments: str, **changes: str) -> StreamsProcess:
        one = StreamsProcess({**environment, **changes}, tmp_path / f"log-{len(started)}", *arguments)
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()


def load(seed: int, users: list[str], count: int) -> list[AnyCommand]:
    """What users and workers may say. Half of the jobs are reported on, the other half asked for again.

    No worker reports on a job that was never admitted, or on an attempt that no decision has made yet.
    """
    chance = random.Random(seed)  # a load that is the same every time
    jobs: list[SubmitJob] = []
    commands: list[AnyCommand] = []
    for _ in range(count):
        if len(jobs) < 5 or chance.random() < 0.4:
            jobs.append(submission(chance.choice(users), "pool-load"))
            commands.append(jobs[-1])
        else:
            number = chance.randrange(len(jobs))
            commands.append(a_word(chance, jobs[number], reported=number % 2 == 0))
    return commands


def a_word(chance: random.Random, job: SubmitJob, *, reported: bool) -> AnyCommand:
    """Something that is said of a job later."""
    named: dict[str, Any] = {"command_id": new_id(), "user_id": job.user_id, "job_id": job.job_id}
    report = {**named, "attempt": 1, "worker_id": "w1"}
    words: list[AnyCommand] = [CancelJob(**named), DeleteJob(**named)]
    if reported:
        words += [
            AttemptStarted(**report),
            AttemptSucceeded(**report, output=Output(width=848)),
            AttemptFailed(**report, code=FailureCode.WORKER_CRASHED),
        ]
    else:
        words += [replace(job, command_id=new_id())] * 2
    return chance.choice(words)


async def read_from(log: KafkaEventLog, starts: Mapping[int, int]) -> list[Record]:
    ends = await log.ends(COMMANDS.name)
    lanes = [await log.read(COMMANDS.name, partition, start, ends[partition]) for partition, start in starts.items()]
    return [record for lane in lanes for record in lane]


async def test_killed_in_the_middle_of_a_load_it_loses_nothing_and_decides_as_the_core_alone(
    processes: Any, kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    users = [new_id("user-") for _ in range(40)]
    commands = load(7, users, 300)
    starts = await kafka_log.ends(COMMANDS.name)
    one = processes("--role", "ledger")
    await one.ready()
    async with Ear(kafka_log, EVENTS.name) as events:
        await send(kafka_log, *commands[:200])

        async def midway() -> bool:
            return len(events.answers()) >= 60

        await eventually(midway)
        one.kill()
        await send(kafka_log, *commands[200:])
        another = processes("--role", "ledger")
        await another.ready()
        await events.answered(*(one for one in commands if not isinstance(one, Report)))  # reports have no answer

        async def all_applied() -> bool:
            applied, ends = await job_store.applied_offsets("ledger"), await kafka_log.ends(COMMANDS.name)
            return all(applied.get(partition, -1) >= end - 1 for partition, end in ends.items())

        await eventually(all_applied)

    expected = replayed(await read_from(kafka_log, starts), set(users), POLICY)
    found = {job_id: await job_store.job(job_id) for job_id in expected}
    assert {job_id: timeless(job) for job_id, job in found.items()} == {
        job_id: timeless(job) for job_id, job in expected.items()
    }
    stored = [job.job_id for user in users for job in await job_store.jobs_of(user, limit=1000)]
    assert sorted(stored) == sorted(expected)
    assert {job.state for job in expected.values()} > {"queued", "processing", "completed", "cancelled", "deleted"}


def timeless(job: Job | None) -> Job:
    """A document but for when it was written."""
    assert job is not None
    return replace(job, updated_at=0)


async def test_of_two_processes_the_other_takes_over(processes: Any, kafka_log: KafkaEventLog) -> None:
    first, second = processes(), processes()
    await first.ready()
    await second.ready()
    async with Ear(kafka_log, EVENTS.name) as events:
        for victim in (first, None):
            commands = [submission(new_id("user-"), "pool-takeover") for _ in range(30)]
            await send(kafka_log, *commands)
            if victim is not None:
                victim.kill()
            answers = await events.answered(*commands)
            assert {answer.outcome for answer in answers.values()} == {Outcome.ADMITTED}
    assert await second.terminate() == 0


async def test_the_database_away_it_waits_says_so_and_decides_when_it_is_back(
    processes: Any, environment: dict[str, str], kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    host, port = environment["MONGODB_URI"].removeprefix("mongodb://").split("/")[0].split(":")
    async with Wire(host, int(port)) as wire:
        one = processes(MONGODB_URI=f"mongodb://127.0.0.1:{wire.port}/?directConnection=true")
        await one.ready()
        async with Ear(kafka_log, EVENTS.name) as events:
            await wire.cut()
            commands = [submission(new_id("user-"), "pool-away") for _ in range(20)]
            await send(kafka_log, *commands)
            await one.says("ledger waits for mongodb")
            assert events.answers().keys().isdisjoint(command.command_id for command in commands)
            await wire.mend()
            answers = await events.answered(*commands)

        assert {answer.outcome for answer in answers.values()} == {Outcome.ADMITTED}
        assert all([await job_store.job(command.job_id) for command in commands])

        await wire.cut()
        late = submission(new_id("user-"), "pool-away")
        await send(kafka_log, late)
        one.statuses.clear()
        await one.says("ledger waits for mongodb")
        assert await one.terminate() == 0

    async with Ear(kafka_log, EVENTS.name) as events:
        another = processes()
        await another.ready()
        await events.answered(late)
        assert await another.terminate() == 0


def assignments(one: StreamsProcess) -> list[int]:
    """How many partitions the process's ledger was assigned, each time."""
    lines = [json.loads(line) for line in one.log.read_text().splitlines() if line.startswith("{")]
    told = [line for line in lines if line["event"] == "partitions assigned" and line["role"] == "ledger"]
    return [len(line["partitions"]) for line in told]


async def test_a_rebalance_during_an_outage_loses_nobody(
    processes: Any, environment: dict[str, str], kafka_log: KafkaEventLog
) -> None:
    """A handler that waits must not keep its process from joining the group again."""
    host, port = environment["MONGODB_URI"].removeprefix("mongodb://").split("/")[0].split(":")
    async with Wire(host, int(port)) as wire, Ear(kafka_log, EVENTS.name) as events:
        uri = f"mongodb://127.0.0.1:{wire.port}/?directConnection=true"
        first, second = processes(MONGODB_URI=uri), processes(MONGODB_URI=uri)
        await first.ready()
        await second.ready()
        await wire.cut()
        commands = [submission(new_id("user-"), "pool-outage") for _ in range(100)]
        await send(kafka_log, *commands)
        await first.says("ledger waits for mongodb")
        await second.says("ledger waits for mongodb")
        before = len(assignments(first))
        second.kill()

        async def first_owns_all() -> bool:
            return 8 in assignments(first)[before:]

        await eventually(first_owns_all)
        await wire.mend()
        answers = await events.answered(*commands)
    assert {answer.outcome for answer in answers.values()} == {Outcome.ADMITTED}


async def test_settings_that_are_missing_are_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    for changes, sentence in (
        ({"MONGODB_URI": ""}, "MONGODB_URI is not set"),
        ({"OPENV_MAX_ACTIVE": "many"}, "OPENV_MAX_ACTIVE is not valid"),
        ({"OPENV_LOG_LEVEL": "loud"}, "OPENV_LOG_LEVEL is 'loud'"),
    ):
        log = tmp_path / "log"
        one = StreamsProcess({**environment, **changes}, log)
        try:
            assert await asyncio.to_thread(one.process.wait, 60) == 2
        finally:
            one.close()
        assert log.read_text().startswith(sentence)
        assert log.read_text().count("\n") == 1
        log.unlink()


async def test_it_waits_for_the_servers_at_the_start_and_can_be_stopped_meanwhile(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with Wire("127.0.0.1", 9) as wire:
        await wire.cut()
        one = StreamsProcess({**environment, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{wire.port}"}, tmp_path / "log")
        try:
            await one.says("waiting for kafka")
            assert not one.is_ready
            assert await one.terminate() == 0
        finally:
            one.close()


async def test_one_process_after_another_hands_over_cleanly(
    environment: dict[str, str], tmp_path: Path, topics: list[str], kafka_log: KafkaEventLog
) -> None:
    async with Ear(kafka_log, EVENTS.name) as events:
        for number in range(2):
            async with streams_running(environment, tmp_path / f"log-{number}"):
                command = submission(new_id("user-"), "pool-handover")
                await send(kafka_log, command)
                await events.answered(command)
