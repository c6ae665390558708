"""What must be true once faults have stopped and all has come to rest; and the replay of the whole commands log."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from schemas.accounts import Account
from schemas.codec import Message, Record, Unreadable
from schemas.commands import AttemptReport, DeleteJob, JobExpired
from schemas.events import CommandAnswered, JobEvent
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import ACTIVE, State
from schemas.replays import Replayed
from schemas.topics import COMMANDS, EVENTS, Topic
from streams.core.policy import Policy
from streams.ledger import Ledger
from streams.settings import Role
from tests.simulation.checkers import Safety, visible
from tests.simulation.faults import Plan
from tests.simulation.pods import Pod
from tests.simulation.processes import Servers, StreamsProcess, read
from tests.simulation.servers import Broker, Database, LogPort, StorePort, at_once
from tests.simulation.workers import Slot
from tests.simulation.world import World


def unrest(servers: Servers, slots: list[Slot], streams: list[StreamsProcess], safety: Safety) -> str:
    """What has not come to rest yet, in words; empty when all has."""
    for job in servers.database.jobs.values():
        if job.state in ACTIVE:
            return f"{job.job_id} is {job.state} (run {job.run}, attempt {job.attempt} on {job.worker_id})"
    for slot in slots:
        if not slot.gone and not slot.is_ready:
            return f"{slot.name} is {slot.run.core.state}"
    for process in streams:
        if process.process.alive and (words := _unread(servers, process)):
            return words
    left = [key for key in leftovers(servers) if key not in orphans(slots, safety)]
    return f"files of nobody: {' '.join(left)}" if left else ""


def _unread(servers: Servers, process: StreamsProcess) -> str:
    """What this process has still to read."""
    member = process.member
    lanes, topic = servers.broker.lanes, member.group.topic
    ticking = process.role is Role.SCHEDULER
    for number, offset in member.positions.items():
        if offset < len(lanes[topic, number]) - 2 * ticking or (process.deciding and not ticking):
            return f"{process.process.name} is at {offset} of {len(lanes[topic, number])} in partition {number}"
    return ""


def leftovers(servers: Servers) -> list[str]:
    """Files that no document shows."""
    shown = {key for job in servers.database.jobs.values() for key in visible(job)}
    return [key for key in servers.bucket.keys if key not in shown]


def orphans(slots: list[Slot], safety: Safety) -> set[str]:
    """Files that came late, and whose worker then died, or could not reach S3, before it had deleted or reported them.

    The design has no promise for these: nobody is left who knows of them. They are counted in ``Outcome.orphans``.
    """
    return {key for slot in slots for key in slot.orphans()} & safety.late_files


def check_documents(world: World, database: Database, policy: Policy) -> None:
    """Pending admissions are stored; every charge is final, and usage is that of the videos there are."""
    for account in database.accounts.values():
        for job_id, job in account.pending.items():
            stored = database.jobs.get(job_id)
            if stored is None or stored.version < job.version:
                world.fail(f"{job_id} was admitted and never stored")
    for job in database.jobs.values():
        if job.charge.state is ChargeState.RESERVED:
            world.fail(f"{job.job_id} is {job.state} and its seconds are still reserved")
    if policy.refund_on_cancel == "all":
        for job in database.jobs.values():
            charged = job.charge.state is ChargeState.CAPTURED
            if job.state is not State.DELETED and charged != (job.state is State.COMPLETED):
                world.fail(f"{job.job_id} is {job.state} and its charge {job.charge.state}")


def check_events(world: World, broker: Broker, safety: Safety) -> None:
    """Each job was first told in the order of its versions, each as it was written, the last one last."""
    newest: dict[str, int] = {}
    told: set[tuple[str, int]] = set()
    for message in _messages(broker, EVENTS):
        if not isinstance(message, JobEvent):
            continue
        job = message.job
        written = safety.versions.get((job.job_id, job.version))
        if written != job:
            world.fail(f"an event tells {job.job_id} as it never was: {job} but {written}")
        if job.version > newest.get(job.job_id, 0):
            newest[job.job_id] = job.version
        elif (job.job_id, job.version) not in told:
            world.fail(f"{job.job_id} version {job.version} was first told after {newest[job.job_id]}")
        told.add((job.job_id, job.version))
    for job_id, job in safety.newest.items():
        if newest.get(job_id) != job.version:
            world.fail(f"{job_id} is at version {job.version}, but the last told is {newest.get(job_id)}")


def check_answers(world: World, broker: Broker) -> None:
    """Each command whose record is in the log was answered; reports and expiries are not waited for."""
    answered = {one.command_id for one in _messages(broker, EVENTS) if isinstance(one, CommandAnswered)}
    for command in _messages(broker, COMMANDS):
        if not isinstance(command, AttemptReport | JobExpired) and command.message_id not in answered:
            world.fail(f"{command.message_id} was never answered")


def _messages(broker: Broker, topic: Topic) -> Iterator[Message]:
    for number in range(topic.partitions):
        for record in broker.lanes[topic.name, number]:
            message = read(record)
            if not isinstance(message, Unreadable):
                yield message


class Idleness:
    """Look once a second: no worker may be READY for long while a job of its pool is due for as long."""

    def __init__(self, world: World, patience_ms: int) -> None:
        self._world = world
        self._patience_ms = patience_ms
        self._ready: dict[str, int] = {}
        self._due: dict[str, int] = {}

    def look(self, database: Database, slots: Sequence[Slot | Pod]) -> None:
        now = self._world.now
        ready = {slot.name: slot.pool for slot in slots if slot.is_ready}
        due = {
            job.job_id: job.pool for job in database.jobs.values() if job.state is State.QUEUED and job.due_at <= now
        }
        self._ready = {name: self._ready.get(name, now) for name in ready}
        self._due = {job_id: self._due.get(job_id, now) for job_id in due}
        for name, since in self._ready.items():
            for job_id, due_since in self._due.items():
                if ready[name] == due[job_id] and now - max(since, due_since) > self._patience_ms:
                    self._world.fail(f"{name} is READY and {job_id} due, both for {now - max(since, due_since)} ms")


def check_replay(world: World, servers: Servers, policy: Policy, later_ms: int, *, marked: bool = False) -> None:
    """Process the whole commands log once more, by a ledger that starts afresh: no document may change.

    ``marked``: with the headers that a replay writes, so that every record says when it was recorded.
    """
    plan = Plan(world.random, calm=True)
    now = world.now
    jobs: dict[str, Job] = dict(servers.database.jobs)
    accounts: dict[str, Account] = dict(servers.database.accounts)
    database = Database(world, plan)
    database.twin = servers.database.twin
    store: Any = _Direct(database)
    ledger = Ledger(store, _Silent(Broker(world, plan)), policy, clock=lambda: now)  # type: ignore[arg-type]
    for number in range(COMMANDS.partitions):
        for record in servers.broker.lanes[COMMANDS.name, number]:
            again = replace(record, timestamp=record.timestamp + later_ms)
            if marked:
                told = Replayed("r-1", COMMANDS.name, number, record.offset, record.timestamp, 1)
                again = replace(again, headers=(*record.headers, *told.headers()))
            message = read(record)
            if isinstance(message, Unreadable) or _was_early(message, record, jobs, 0 if marked else later_ms):
                continue
            at_once(ledger.handle(message, again, 1))
            changed = [key for key, job in database.jobs.items() if jobs.get(key) != job]
            changed += [key for key, account in database.accounts.items() if accounts.get(key) != account]
            if changed:
                key = changed[0]
                before: object = jobs.get(key) or accounts.get(key)
                after: object = database.jobs.get(key) or database.accounts.get(key)
                world.fail(f"replayed {later_ms} ms later, {message} changed {key}:\n{before}\n{after}")


def _was_early(message: Message, record: Record, jobs: dict[str, Job], later_ms: int) -> bool:
    """A deletion recorded before its job was: said anew later, it is a new wish, and rightly fulfilled.

    Replayed as it is, it is known by its time, unless both were recorded in the very same millisecond.
    """
    job = jobs.get(message.job_id) if isinstance(message, DeleteJob) else None
    if job is None:
        return False
    return record.timestamp == job.created_at or (later_ms > 0 and record.timestamp < job.created_at)


class _Direct(StorePort):
    """Answers at once, so that the replay needs no world."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, lambda: ("replay", database.world.now))

    async def _reach(self) -> None:
        return

    async def _ask(self, ask: Any) -> Any:
        return at_once(ask())

    async def _write(self, write: Any) -> Any:
        return write()


class _Silent(LogPort):
    """What a replay announces is not looked at."""

    async def append_all(self, messages: Any) -> Any:
        return []
