"""The witness: reads the topics for the judge, asks for offsets and documents, and waits in bounded time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from repo.kafka_clients import FAILURES, connection_options
from repo.ports import EventLog, JobStore, Unavailable
from repo.settings import ServerSettings
from schemas.codec import Record, decode
from schemas.dispatch import RunAttempt, StopAttempt
from schemas.topics import ASSIGNMENTS, COMMANDS, DEADLETTER, DISPATCH, EVENTS
from streams.service import TOPIC_OF_ROLE
from tests.audit.judge import Judge, Place
from tests.audit.probes import Probes, stop_key

HEARD = (COMMANDS.name, EVENTS.name, DISPATCH.name, ASSIGNMENTS.name)
TOPICS = {str(role): topic.name for role, topic in TOPIC_OF_ROLE.items()}
LOOK_EVERY_S = 0.25
ANSWER_WITHIN_S = 60.0
T = TypeVar("T")
Ends = dict[str, dict[int, int]]


@dataclass(frozen=True, slots=True)
class Bookkeeping:
    """What a consumer group has come to: offsets committed to Kafka, applied ones in MongoDB, and its members."""

    committed: Mapping[int, int]
    applied: Mapping[int, int]
    members: int


async def answered(ask: Callable[[], Awaitable[T]], within_s: float = ANSWER_WITHIN_S) -> T:
    """What a server answers; on a busy machine it may take a few questions."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await ask()
        except (Unavailable, *FAILURES):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(LOOK_EVERY_S)


def behind(role: str, topic: str, ends: Mapping[int, int], books: Bookkeeping, members: int) -> list[str]:
    """What of the group's bookkeeping has not come to these ends, in words."""
    found = []
    for partition, end in sorted(ends.items()):
        committed, applied = books.committed.get(partition, 0), books.applied.get(partition, -1)
        if end and committed < end:
            found.append(f"stuck: {topic} {partition}: {role} has committed {committed} of {end}")
        if end and applied < end - 1:
            found.append(f"stuck: {topic} {partition}: {role} has noted {applied} as applied, the log ends at {end}")
    if books.members != members:
        found.append(f"the group of the {role} has {books.members} members, {members} processes run")
    return found


class Witness:
    """``async with witnessing(...) as witness``."""

    def __init__(self, judge: Judge, log: EventLog, store: JobStore, admin: Any, start: Ends) -> None:
        self._judge = judge
        self._log = log
        self._store = store
        self._admin = admin
        self._read = start
        self._dead = dict(start[DEADLETTER.name])
        self.orders: dict[str, Callable[[RunAttempt], None]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def hear(self, topic: str) -> None:
        """Feed the judge for ever."""
        async with aclosing(self._log.tail(topic, self._read[topic])) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for record in batch:
                    self._take(record)
                    self._read[topic][record.partition] = record.offset + 1

    async def ends(self) -> Ends:
        """Where the topics end."""
        return {topic: await answered(partial(self._log.ends, topic)) for topic in (*HEARD, DEADLETTER.name)}

    async def settled(self, ends: Ends, probes: Probes, members: int, within_s: float) -> list[str]:
        """Wait until every record before these ends has had its effects and the bookkeeping has come there too.

        What is missing after the time, in words; nothing if all is well.
        """
        deadline = time.monotonic() + within_s
        while True:
            late = time.monotonic() > deadline
            await answered(probes.look)
            books = {role: await answered(partial(self._books, role)) for role in TOPICS}
            if self._has_read(ends):
                found = [self._told(place, what, books) for place, what in self._judge.missing(ends).items()]
            else:
                found = ["the audit itself has not read the log to its end yet"]
            for role, topic in TOPICS.items():
                found += behind(role, topic, ends[topic], books[role], members)
            if not found or late or self._judge.differences:
                return found
            await asyncio.sleep(LOOK_EVERY_S)

    def _told(self, place: Place, what: str, books: Mapping[str, Bookkeeping]) -> str:
        # What the judge looks for on `openv.events` is the janitor's doing, which comes before the notifier.
        role = next(role for role, topic in TOPICS.items() if topic == place.topic)
        committed = books[role].committed.get(place.partition, 0)
        word = "skipped" if committed > place.offset else "stuck"
        return f"{word}: {place} (the {role} has committed {committed}) has not had its effect: {what}"

    async def dead_letters(self) -> list[str]:
        """Every dead letter is a fault: nothing that the audit says is unreadable."""
        ends = await answered(partial(self._log.ends, DEADLETTER.name))
        return [
            f"{ends[number] - start} dead letters in {DEADLETTER.name} {number} from {start} on"
            for number, start in self._dead.items()
            if ends[number] > start
        ]

    async def compare(self, users: Sequence[str], least: Mapping[str, int], *, at_rest: bool = False) -> list[str]:
        """Compare these users' documents; those who are to be asked for again, because MongoDB is ahead."""
        again = []
        for user in users:
            jobs = await answered(partial(self._store.jobs_of, user, limit=10_000))
            account = await answered(partial(self._store.account, user))
            if not self._judge.versions.check(self._judge.users[user], jobs, account, least, at_rest=at_rest):
                again.append(user)
        return again

    async def active_jobs(self, pools: Sequence[str]) -> list[str]:
        """The jobs that are queued or run in these pools."""
        found = [await answered(partial(self._store.active_jobs, pool)) for pool in pools]
        return [job.job_id for jobs in found for job in jobs]

    def _take(self, record: Record) -> None:
        if record.topic == COMMANDS.name:
            self._judge.command(record)
        elif record.topic != ASSIGNMENTS.name:
            self._judge.announcement(record)
        else:
            order = decode(record)
            if isinstance(order, StopAttempt):
                self._judge.effect(stop_key(order), None, record.timestamp)
            elif isinstance(order, RunAttempt) and order.worker_id in self.orders:
                self.orders[order.worker_id](order)

    def _has_read(self, ends: Ends) -> bool:
        return all(self._read[topic][number] >= end for topic in HEARD for number, end in ends[topic].items())

    async def _books(self, role: str) -> Bookkeeping:
        group, topic = f"openv-{role}", TOPICS[role]
        offsets: dict[TopicPartition, Any] = await self._admin.list_consumer_group_offsets(group)
        committed = {at.partition: one.offset for at, one in offsets.items() if at.topic == topic}
        ((answer,),) = [response.groups for response in await self._admin.describe_consumer_groups([group])]
        state, members = answer[2], answer[5]
        return Bookkeeping(
            committed, await self._store.applied_offsets(role), len(members) if state == "Stable" else -1
        )


@asynccontextmanager
async def witnessing(judge: Judge, settings: ServerSettings, log: EventLog, store: JobStore) -> AsyncIterator[Witness]:
    """Reads from the topics' present ends on."""
    admin = AIOKafkaAdminClient(client_id="audit", **connection_options(settings))
    await admin.start()
    try:
        start = {topic: await log.ends(topic) for topic in (*HEARD, DEADLETTER.name)}
        witness = Witness(judge, log, store, admin, start)
        witness.tasks = [asyncio.create_task(witness.hear(topic)) for topic in HEARD]
        try:
            yield witness
        finally:
            for task in witness.tasks:
                task.cancel()
            await asyncio.gather(*witness.tasks, return_exceptions=True)
    finally:
        await admin.close()
