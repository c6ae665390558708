"""What must be true once MongoDB is back: every command decided once and in order, nothing lost, nothing too early."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from schemas.codec import Record, decode
from schemas.commands import AnyCommand, AttemptLost, JobExpired, Report
from schemas.events import CommandAnswered, JobEvent
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import COMMANDS
from tests.outages.mongo_load import Load, Renderer
from tests.outages.mongo_world import PATIENCE_S, POLICY, TOPIC_OF, World
from tests.streams.core_replay import answered, replayed
from tests.streams.streams_process import eventually
from tests.streams.submissions import Ear


async def all_decided(world: World, within_s: float = PATIENCE_S) -> None:
    """Wait until ledger and janitor have applied all there is, and have it written down; the scheduler what was there.

    Its own ticks go on, and every one of them is a record.
    """
    ticked = await world.log.ends(TOPIC_OF["scheduler"].name)

    async def written_down() -> bool:
        for role, topic in TOPIC_OF.items():
            ends = ticked if role == "scheduler" else await world.log.ends(topic.name)
            stored = await world.store.applied_offsets(role)
            if any(stored.get(partition, -1) < end - 1 for partition, end in ends.items()):
                return False
        return True

    await eventually(written_down, within_s, what="the stored offsets are the topics' ends")
    for role in ("ledger", "janitor"):
        stored, ends = await world.store.applied_offsets(role), await world.log.ends(TOPIC_OF[role].name)
        ahead = {partition: offset for partition, offset in stored.items() if offset >= ends[partition]}
        assert not ahead, f"{role} claims offsets that are not in the log: {ahead}"


async def answers_are_whole(world: World, ear: Ear, commands: Sequence[AnyCommand]) -> None:
    """Each was answered as the core alone answers, however often; the versions were announced one after the other."""
    await ear.answered(*(command for command in commands if not isinstance(command, Report)), within_s=PATIENCE_S)
    expected = answered(await _records(world), world.users, POLICY)
    seen: defaultdict[str, int] = defaultdict(int)
    for message in ear.messages():
        if isinstance(message, CommandAnswered) and message.command_id in expected:
            known = expected[message.command_id]
            assert (message.outcome, message.code) == (known.outcome, known.code), f"{message} is not {known}"
        if isinstance(message, JobEvent):
            version, before = message.job.version, seen[message.job.job_id]
            # An ear that was opened late may first hear a job in the middle of its life.
            assert version <= before + 1 or before == 0, f"{message.job.job_id}: after {before} came {version}"
            seen[message.job.job_id] = max(version, before)


async def documents_are_the_cores(world: World) -> dict[str, Job]:
    """Every document of the world's users is what the core alone makes of the same log; the jobs."""
    records = await _records(world)
    expected = replayed(records, world.users, POLICY)
    for job_id, job in expected.items():
        stored = await world.store.job(job_id)
        assert stored is not None, f"{job_id} has no document"
        assert replace(stored, updated_at=0) == replace(job, updated_at=0), f"{stored} is not {job}"
    stored_ids = [job.job_id for user in sorted(world.users) for job in await world.store.jobs_of(user, limit=10_000)]
    assert sorted(stored_ids) == sorted(expected)
    _nothing_expired_early(records, expected)
    return expected


def _nothing_expired_early(records: Sequence[Record], jobs: dict[str, Job]) -> None:
    for record in records:
        command = decode(record)
        if isinstance(command, JobExpired) and command.job_id in jobs:
            due = jobs[command.job_id].expires_at
            assert record.timestamp >= due, f"{command.job_id} was called expired {due - record.timestamp} ms too early"


async def lease_was_kept(world: World, renderer: Renderer) -> None:
    """The outage cost the attempt nothing: it was never called lost, and its video counts."""
    await renderer.finish()

    async def completed() -> bool:
        job = await world.store.job(renderer.job.job_id)
        return job is not None and job.state is State.COMPLETED

    await eventually(completed, PATIENCE_S, what="the job that was rendered meanwhile is completed")
    job = await world.store.job(renderer.job.job_id)
    assert job is not None
    assert (job.attempt, job.worker_id, job.earlier_attempts) == (1, renderer.worker_id, ())
    assert not await _called_lost(world, renderer)


async def death_was_noticed(world: World, renderer: Renderer, within_s: float = PATIENCE_S) -> None:
    """The counterpart, without which the check above could not fail."""

    async def lost() -> bool:
        return await _called_lost(world, renderer)

    await eventually(lost, within_s, what="the worker that died is noticed")


async def _called_lost(world: World, renderer: Renderer) -> bool:
    commands = [decode(record) for record in await _records(world)]
    return any(isinstance(one, AttemptLost) and one.job_id == renderer.job.job_id for one in commands)


async def load_ended_well(world: World, load: Load) -> None:
    """The job whose time was over has expired, the other one lives; the rest is as the core has it."""

    async def expired() -> bool:
        job = await world.store.job(load.expires.job_id)
        return job is not None and job.state is State.TIMED_OUT

    await eventually(expired, PATIENCE_S, what="the job whose time was over has expired")
    await all_decided(world)
    jobs = await documents_are_the_cores(world)
    assert jobs[load.lives.job_id].state is State.QUEUED
    assert {job.state for job in jobs.values()} >= {State.COMPLETED, State.DELETED, State.CANCELLED, State.QUEUED}


async def _records(world: World) -> list[Record]:
    ends = await world.log.ends(COMMANDS.name)
    lanes = [await world.log.read(COMMANDS.name, number, start, ends[number]) for number, start in world.starts.items()]
    return [record for lane in lanes for record in lane]
