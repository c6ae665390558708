"""Workers that hang, lie, come back from the dead, live twice, or promise and do nothing: no video suffers twice.

Real processes on real servers; the engine is the scripted one of ``staged_engine``, because it can be held where a
test needs it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import uuid4

import pytest
import pytest_asyncio

from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from schemas.codec import Message, Unreadable, decode, encode
from schemas.commands import AttemptFailed, AttemptHandedBack, AttemptLost, AttemptStarted, AttemptSucceeded, JobExpired
from schemas.dispatch import AssignmentDeclined, RunAttempt, WorkerBeat, WorkerGone, WorkerState
from schemas.events import FilesDiscarded
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, Job
from schemas.lifecycle import State
from schemas.topics import ASSIGNMENTS, COMMANDS, DISPATCH, EVENTS, Topic
from tests.end_to_end.fleet import Fleet, Member, sailing
from tests.end_to_end.people import Person
from tests.end_to_end.stack import until
from tests.end_to_end.verdicts import ROUNDED, check_history, events_of, histories, stray_files, used_seconds
from tests.inference_worker.worker_process import alive, children_of

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(400)]

POOL = "mochi-1"
WORKERS = ("worker-1", "worker-2")
STALLED_S, SILENT_S = "8", "6"  # patience with a child


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    patience = {"OPENV_CHILD_STALLED_S": STALLED_S, "OPENV_CHILD_SILENT_S": SILENT_S, "OPENV_STOP_GRACE_S": "2"}
    async with sailing(tmp_path_factory.mktemp("fencing"), ("gateway-1", "streams-1", *WORKERS), **patience) as fleet:
        yield fleet


@dataclass
class Scene:
    """A user of this test's own, and the marks that hold its videos."""

    fleet: Fleet
    person: Person

    async def submit(self, prompt: str, **fields: Any) -> str:
        row = await self.person.submit(uuid4().hex, prompt=prompt, **fields)
        return str(row["jobId"])

    async def hold(self) -> tuple[str, str]:
        """A video that is being made until its mark is raised: mark and job id."""
        mark = uuid4().hex
        job_id = await self.submit(f"held {mark}")
        await self.person.state(job_id, "processing")
        return mark, job_id

    def release(self, mark: str) -> None:
        (self.fleet.stage / mark).touch()

    async def job(self, job_id: str) -> Job:
        job = await self.fleet.store.job(job_id)
        assert job is not None
        return job

    async def completed(self, job_id: str) -> Job:
        await self.person.state(job_id, "completed")
        return await self.job(job_id)

    async def tell(self, *messages: Message) -> None:
        """What anybody may write who reaches Kafka; returns when ledger, scheduler and janitor have read it."""
        await self.fleet.log.append_all([encode(message, source="/liar", at=now_ms()) for message in messages])
        await self.fleet.applied("ledger", COMMANDS.name)
        await self.fleet.applied("scheduler", DISPATCH.name)
        await self.fleet.applied("janitor", EVENTS.name)

    async def all_well(self) -> None:
        """The user's videos ended once each, were charged once, and nothing but their files is left."""
        assert not await self.fleet.store.active_jobs(POOL)
        stories = histories((await events_of(self.fleet.log))[self.person.user_id])
        for job_id, history in stories.items():
            check_history(history, await self.job(job_id))
        documents = [history[-1] for history in stories.values()]
        assert sum(job.charge.seconds for job in documents) == pytest.approx(used_seconds(stories))

        async def clean() -> bool:
            return not await stray_files(self.fleet, self.person.user_id, documents)

        await until(clean, "no file that nobody shows")
        row = await self.person.submit(uuid4().hex, prompt="film")
        made = used_seconds(stories) + row["frames"] / 24
        assert row["monthlyQuota"]["currentUsage"] == pytest.approx(made, abs=ROUNDED)
        await self.completed(row["jobId"])
        assert not await self.fleet.alarms()


@pytest_asyncio.fixture(loop_scope="session")
async def scene(fleet: Fleet) -> AsyncIterator[Scene]:
    await fleet.ready()
    async with fleet.person(f"user-{uuid4().hex[:8]}") as person:
        yield Scene(fleet, person)


def ends_of(job: Job) -> list[tuple[int, AttemptEnd, FailureCode | None]]:
    return [(one.attempt, one.end, one.code) for one in job.earlier_attempts]


async def test_a_child_stuck_in_its_work_is_killed_and_the_video_made_by_the_next(scene: Scene) -> None:
    job = await scene.completed(await scene.submit(f"stuck_once {uuid4().hex}"))
    assert ends_of(job) == [(1, AttemptEnd.FAILED, FailureCode.WORKER_CRASHED)]
    assert (job.attempt, job.tries) == (2, 2)
    assert job.worker_id != job.earlier_attempts[0].worker_id
    await scene.all_well()


async def test_a_child_that_stands_still_is_killed_by_its_parent(scene: Scene) -> None:
    mark, job_id = await scene.hold()
    worker = (await scene.job(job_id)).worker_id
    assert worker
    [child] = children_of(scene.fleet[worker].pid)
    os.kill(child, signal.SIGSTOP)
    scene.release(mark)
    job = await scene.completed(job_id)
    assert ends_of(job) == [(1, AttemptEnd.FAILED, FailureCode.WORKER_CRASHED)]
    assert (job.attempt, job.tries) == (2, 2)
    assert job.worker_id != worker
    assert not alive(child)
    await scene.all_well()


async def test_a_worker_back_from_the_dead_is_refused_and_then_useful_again(scene: Scene) -> None:
    mark, job_id = await scene.hold()
    asleep = (await scene.job(job_id)).worker_id
    assert asleep
    async with scene.fleet[asleep].suspended():
        scene.release(mark)  # its child finishes; the parent finds that when it wakes
        done = await scene.completed(job_id)
    assert (done.winning_attempt, ends_of(done)) == (2, [(1, AttemptEnd.LOST, FailureCode.WORKER_LOST)])
    assert done.worker_id != asleep

    both = [await scene.hold() for _ in WORKERS]  # one each: so it is up again, and knows that its attempt is over
    assert {(await scene.job(one)).worker_id for _, one in both} == set(WORKERS)
    await scene.tell(_succeeded(replace(done, attempt=1, worker_id=asleep)))  # late, whether it said so itself or not
    assert await scene.job(job_id) == done
    for one, held in both:
        scene.release(one)
        assert (await scene.completed(held)).attempt == 1
    await scene.all_well()


def _succeeded(job: Job) -> AttemptSucceeded:
    """Word that this attempt delivered what another has."""
    assert job.output is not None
    assert job.worker_id is not None
    return AttemptSucceeded(
        command_id=uuid4().hex,
        user_id=job.user_id,
        job_id=job.job_id,
        attempt=job.attempt,
        worker_id=job.worker_id,
        output=job.output,
    )


def reports(job: Job, loot: Job, **token: Any) -> list[Message]:
    """Every report that there is of an attempt, as if a worker had made it; ``loot`` is another's finished video."""
    known = {"user_id": job.user_id, "job_id": job.job_id, "attempt": job.attempt, "worker_id": job.worker_id, **token}
    assert loot.output is not None
    return [
        AttemptStarted(command_id=uuid4().hex, **known),
        AttemptSucceeded(command_id=uuid4().hex, output=loot.output, **known),
        AttemptFailed(command_id=uuid4().hex, code=FailureCode.INVALID_INPUT, message="a lie", **known),
        AttemptHandedBack(command_id=uuid4().hex, reason="a lie", **known),
        AttemptLost(command_id=uuid4().hex, reason="a lie", **known),
    ]


def words(job: Job, session: str) -> list[Message]:
    """What a stranger, or a worker in a session that is no more, may say of a job that another one runs."""
    assert job.worker_id is not None
    lies: list[Message] = []
    for attempt in (job.attempt, job.attempt + 1, 99):
        liar: dict[str, Any] = {"pool": POOL, "worker_id": "liar", "session": "s", "job_id": job.job_id}
        lies.append(WorkerBeat(**liar, attempt=attempt, sequence=attempt, state=WorkerState.BUSY))
        lies.append(AssignmentDeclined(**liar, attempt=attempt, sequence=attempt + 100))
    old: dict[str, Any] = {"pool": POOL, "worker_id": job.worker_id, "sequence": 1}
    lies.append(WorkerBeat(**old, session=session, state=WorkerState.READY))
    lies.append(WorkerGone(**old, session="another"))
    lies.append(AssignmentDeclined(**old, session="another", job_id=job.job_id, attempt=job.attempt))
    lies.append(AssignmentDeclined(**old, session=session, job_id=job.job_id, attempt=job.attempt))
    lies.append(WorkerGone(pool=POOL, worker_id="liar", session="s", sequence=1000))
    return lies


async def test_lies_about_anothers_job_change_nothing(scene: Scene) -> None:
    finished = await scene.completed(await scene.submit("film"))
    mark, job_id = await scene.hold()
    job = await scene.job(job_id)
    assert job.worker_id
    lies = reports(job, finished, worker_id="liar")
    for attempt in (0, 2, 99):
        lies += reports(job, finished, attempt=attempt)
    lies += reports(job, finished, user_id="stranger")
    lies += reports(finished, finished, worker_id="liar") + reports(finished, finished, user_id="stranger")
    lies += [one for one in reports(finished, finished) if not isinstance(one, AttemptSucceeded)]
    expiry: dict[str, Any] = {"user_id": job.user_id, "job_id": job_id, "code": FailureCode.EXECUTION_TIMEOUT}
    lies.append(JobExpired(command_id=uuid4().hex, run=1, attempt=2, **expiry))
    lies.append(JobExpired(command_id=uuid4().hex, run=2, attempt=1, **expiry))
    for one in (job, finished):
        lies.append(FilesDiscarded(user_id="stranger", job_id=one.job_id, attempt=1, worker_id=one.worker_id or ""))
    lies.append(
        FilesDiscarded(user_id=job.user_id, job_id=finished.job_id, attempt=1, worker_id=finished.worker_id or "")
    )
    session = scene.fleet[job.worker_id].life.session()
    assert session
    await scene.tell(*lies, *words(job, session))

    assert await scene.job(job_id) == job
    assert await scene.job(finished.job_id) == finished
    other = await scene.completed(await scene.submit("film"))
    assert (other.attempt, other.worker_id) == (1, next(one for one in WORKERS if one != job.worker_id))
    scene.release(mark)
    done = await scene.completed(job_id)
    assert (done.attempt, done.winning_attempt, done.worker_id) == (1, 1, job.worker_id)
    await scene.all_well()


@asynccontextmanager
async def second_life(fleet: Fleet, first: Member) -> AsyncIterator[Member]:
    """Another process under the name of one that lives, as when somebody copies a configuration."""
    member = Member(f"{first.kind}-twin", {**first.environ}, first.logs)
    keeper = asyncio.create_task(member.keep())
    try:
        await member.ready()
        yield member
    finally:
        member.leaving = True
        if member.life.code is None:
            member.end(signal.SIGTERM)
        await keeper
        member.notify.close()


async def test_two_lives_under_one_name_the_older_is_fenced(scene: Scene) -> None:
    fleet = scene.fleet
    mark, job_id = await scene.hold()
    name = (await scene.job(job_id)).worker_id
    assert name
    older = fleet[name].life.session()
    said = await Spoken.since_now(fleet.log, ASSIGNMENTS, name)
    async with second_life(fleet, fleet[name]) as twin:
        newer = twin.life.session()

        async def lost() -> bool:
            return (await scene.job(job_id)).attempt > 1

        await until(lost, "the older life's attempt lost")
        scene.release(mark)
        done = await scene.completed(job_id)
        assert AttemptEnd.LOST in [end for _, end, _ in ends_of(done)]

        two = [await scene.hold() for _ in WORKERS]
        third = uuid4().hex
        waiting = await scene.submit(f"held {third}")
        await asks(scene, older)
        assert (await scene.job(waiting)).state is State.QUEUED
        assert {(await scene.job(one)).worker_id for _, one in two} == set(WORKERS)
        for one, _ in [*two, (third, waiting)]:
            scene.release(one)
        later = [await scene.completed(one) for one in [*(one for _, one in two), waiting]]
    assert [job.attempt for job in later] == [1, 1, 1]
    sessions = {one.session for one in await said.more() if isinstance(one, RunAttempt)}
    assert newer in sessions
    assert older not in sessions
    assert twin.life.code == 0
    await fleet[name].ended(signal.SIGTERM)  # a session of its own again
    await scene.all_well()


async def asks(scene: Scene, session: str | None) -> None:
    """Wait until this session says once more that it is ready, and the scheduler has read it."""
    fleet = scene.fleet
    said = await Spoken.since_now(fleet.log, DISPATCH, POOL)

    async def look() -> bool:
        return any(
            isinstance(one, WorkerBeat) and one.session == session and one.state is WorkerState.READY
            for one in await said.more()
        )

    await until(look, "the older life asking for work")
    await fleet.applied("scheduler", DISPATCH.name)


@dataclass
class Spoken:
    """What is said under one key of a topic, from a moment on."""

    log: KafkaEventLog
    topic: str
    key: bytes
    begin: int

    @classmethod
    async def since_now(cls, log: KafkaEventLog, topic: Topic, key: str) -> Self:
        partition = log.partition_of(topic.name, key.encode())
        return cls(log, topic.name, key.encode(), (await log.ends(topic.name))[partition])

    async def more(self) -> list[Message]:
        """All since the last call."""
        partition = self.log.partition_of(self.topic, self.key)
        end = (await self.log.ends(self.topic))[partition]
        records = await self.log.read(self.topic, partition, self.begin, end)
        self.begin = end
        messages = [decode(record) for record in records if record.key == self.key]
        return [one for one in messages if not isinstance(one, Unreadable)]


@asynccontextmanager
async def idler(fleet: Fleet) -> AsyncIterator[None]:
    """A worker that says it is ready, again and again, and never starts anything."""
    says: dict[str, Any] = {"pool": POOL, "worker_id": "idler", "session": "s"}

    async def beats() -> None:
        sequence = 0
        while True:
            sequence += 1
            beat = WorkerBeat(**says, sequence=sequence, state=WorkerState.READY)
            await fleet.log.append(encode(beat, source="/idler", at=now_ms()))
            await asyncio.sleep(0.5)

    beating = asyncio.create_task(beats())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        gone = WorkerGone(**says, sequence=1_000_000)
        await fleet.log.append(encode(gone, source="/idler", at=now_ms()))


async def test_a_worker_that_promises_and_does_nothing_delays_a_video_but_keeps_none(scene: Scene) -> None:
    busy = [await scene.hold() for _ in WORKERS]
    said = await Spoken.since_now(scene.fleet.log, ASSIGNMENTS, "idler")
    async with idler(scene.fleet):
        job_id = await scene.submit("film")

        async def offered() -> bool:
            return any(isinstance(one, RunAttempt) and one.job_id == job_id for one in await said.more())

        await until(offered, "the video offered to the idler")
        for mark, held in busy:
            scene.release(mark)
            await scene.completed(held)
        job = await scene.completed(job_id)
        assert job.tries == 1
        assert {(one.worker_id, one.end) for one in job.earlier_attempts} == {("idler", AttemptEnd.HANDED_BACK)}
        assert job.worker_id in WORKERS
        following = await scene.completed(await scene.submit("film"))  # it asks still, and comes last
        assert following.attempt == 1
    await scene.all_well()
