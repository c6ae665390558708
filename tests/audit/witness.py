"""The witness: reads the topics for the judge, asks for offsets and documents, and waits in bounded time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from repo.kafka_clients import connection_options
from repo.ports import EventLog, JobStore
from repo.settings import ServerSettings
from schemas.codec import Record, decode
from schemas.dispatch import RunAttempt, StopAttempt
from schemas.topics import ASSIGNMENTS, COMMANDS, DEADLETTER, DISPATCH, EVENTS
from streams.service import TOPIC_OF_ROLE
from tests.audit.judge import Judge
from tests.audit.probes import Probes, stop_key

HEARD = (COMMANDS.name, EVENTS.name, DISPATCH.name, ASSIGNMENTS.name)
TOPICS = {str(role): topic.name for role, topic in TOPIC_OF_ROLE.items()}
LOOK_EVERY_S = 0.25
Ends = dict[str, dict[int, int]]


@dataclass(frozen=True, slots=True)
class Bookkeeping:
    """What a consumer group has come to: offsets committed to Kafka, applied ones in MongoDB, and its members."""

    committed: Mapping[int, int]
    applied: Mapping[int, int]
    members: int


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

    async def hear(self, topic: str) -> None:
        """Feed the judge for ever."""
        async with aclosing(self._log.tail(topic, self._read[topic])) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for record in batch:
                    self._take(record)
                    self._read[topic][record.partition] = record.offset + 1

    async def ends(self) -> Ends:
        """Where the topics end."""
        return {topic: await self._log.ends(topic) for topic in (*HEARD, DEADLETTER.name)}

    async def settled(self, ends: Ends, probes: Probes, members: int, within_s: float) -> list[str]:
        """Wait until every record before these ends has had its effects and the bookkeeping has come there too.

        What is missing after the time, in words; nothing if all is well.
        """
        deadline = time.monotonic() + within_s
        while True:
            late = time.monotonic() > deadline
            await probes.look()
            books = {role: await self._books(role) for role in TOPICS}
            missing = self._judge.missing(ends) if self._has_read(ends) or late else None
            found = [] if missing is not None else ["the audit itself has not read the log to its end yet"]
            for place, what in (missing or {}).items():
                committed = max(
                    (
                        one.committed.get(place.partition, 0)
                        for role, one in books.items()
                        if TOPICS[role] == place.topic
                    ),
                    default=0,
                )
                word = "skipped" if committed > place.offset else "stuck"
                found.append(f"{word}: {place} (committed: {committed}) has not had its effect: {what}")
            for role, topic in TOPICS.items():
                found += behind(role, topic, ends[topic], books[role], members)
            if not found or late or self._judge.differences:
                return found
            await asyncio.sleep(LOOK_EVERY_S)

    async def dead_letters(self) -> list[str]:
        """Every dead letter is a fault: nothing that the audit says is unreadable."""
        ends = await self._log.ends(DEADLETTER.name)
        return [
            f"{ends[number] - start} dead letters in {DEADLETTER.name} {number} from {start} on"
            for number, start in self._dead.items()
            if ends[number] > start
        ]

    async def compare(self, users: Sequence[str], least: Mapping[str, int], *, at_rest: bool = False) -> list[str]:
        """Compare these users' documents; those who are to be asked for again, because MongoDB is ahead."""
        again = []
        for user in users:
            jobs, account = await self._store.jobs_of(user, limit=10_000), await self._store.account(user)
            if not self._judge.versions.check(self._judge.users[user], jobs, account, least, at_rest=at_rest):
                again.append(user)
        return again

    async def active_jobs(self, pools: Sequence[str]) -> list[str]:
        """The jobs that are queued or run in these pools."""
        return [job.job_id for pool in pools for job in await self._store.active_jobs(pool)]

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
        tasks = [asyncio.create_task(witness.hear(topic)) for topic in HEARD]
        try:
            yield witness
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await admin.close()
