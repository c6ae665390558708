"""The event log while its broker dies and comes back."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

import pytest
from aiokafka import TopicPartition

from operations.stack.servers import EmbeddedServers
from operations.stack.supervisor import Change, PartState
from repo.kafka import KafkaEventLog
from repo.ports import Unavailable
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from schemas.codec import Encoded, Record
from schemas.topics import COMMANDS
from tests.servers import settings_of

pytestmark = pytest.mark.servers

WRITERS = 6


class Broker:
    """A broker of this module's own, which may be killed."""

    def __init__(self, settings: ServerSettings, pids: list[int]) -> None:
        self.settings = settings
        self._pids = pids

    def kill(self) -> None:
        os.kill(self._pids[-1], signal.SIGKILL)


@pytest.fixture(scope="module")
async def broker(servers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    pids: list[int] = []

    def note(change: Change) -> None:
        if change.part == "kafka" and change.state is PartState.READY and change.pid is not None:
            pids.append(change.pid)

    others = {name: value for name, value in servers.items() if name.startswith(("MONGODB_", "S3_"))}
    async with EmbeddedServers(tmp_path_factory.mktemp("broker") / "data", others, note) as environment:
        settings = settings_of(environment)
        async with TopicAdmin(settings) as admin:
            await admin.apply()
        yield Broker(settings, pids)


def message(writer: int, number: int) -> Encoded:
    return Encoded(COMMANDS.name, f"writer {writer}".encode(), str(number).encode(), ())


async def test_a_killed_broker_costs_no_acknowledged_record_and_no_order(broker: Broker) -> None:
    """Writers repeat what was not acknowledged; one kill in their midst, one tail over all of it."""
    enough = 150
    acknowledged = [0] * WRITERS
    under_way = asyncio.Event()

    async def write(log: KafkaEventLog, writer: int) -> None:
        while acknowledged[writer] < enough:
            try:
                await log.append(message(writer, acknowledged[writer]))
            except Unavailable:
                continue
            acknowledged[writer] += 1
            if min(acknowledged) == enough // 3:
                under_way.set()

    async def kill_in_the_midst() -> None:
        await under_way.wait()
        broker.kill()

    seen: dict[int, list[int]] = {writer: [] for writer in range(WRITERS)}
    async with asyncio.timeout(120), KafkaEventLog(broker.settings, client_id="tests", timeout_s=2) as log:
        tail = cast("AsyncGenerator[Sequence[Record], None]", log.tail(COMMANDS.name, await log.ends(COMMANDS.name)))
        async with aclosing(tail):
            writing = asyncio.gather(kill_in_the_midst(), *(write(log, writer) for writer in range(WRITERS)))
            async for batch in tail:
                for record in batch:
                    seen[int(record.key.split()[1])].append(int(record.value))
                if all(numbers and numbers[-1] == enough - 1 for numbers in seen.values()):
                    break
            await writing
    for numbers in seen.values():
        assert list(dict.fromkeys(numbers)) == list(range(enough)), "each record, first seen in order"


async def test_after_a_fatal_error_of_the_producer_a_new_one_writes_on(kafka_log: KafkaEventLog) -> None:
    """A gap in the sequence numbers is fatal for aiokafka's producer: the broker refuses whatever follows."""
    first = await kafka_log.append(message(0, 0))
    producer = kafka_log._producer.current
    assert producer is not None
    producer._txn_manager.increment_sequence_number(TopicPartition(COMMANDS.name, first.partition), 5)
    with pytest.raises(Unavailable, match="OutOfOrderSequence"):
        await kafka_log.append(message(0, 1))
    again = await kafka_log.append(message(0, 2))
    assert again.offset == first.offset + 1
    assert kafka_log._producer.current is not producer
    found = await kafka_log.read(COMMANDS.name, first.partition, first.offset, again.offset + 1)
    assert [record.value for record in found] == [b"0", b"2"]


async def test_a_log_that_was_closed_has_delivered_what_it_took(
    kafka_log: KafkaEventLog, settings: ServerSettings
) -> None:
    before = await kafka_log.ends(COMMANDS.name)
    async with KafkaEventLog(settings, client_id="tests") as log:
        await log.append(message(1, 0))
        late = [asyncio.create_task(log.append(message(1, number))) for number in range(1, 50)]
        await asyncio.sleep(0)
    await asyncio.gather(*late)
    partition = kafka_log.partition_of(COMMANDS.name, message(1, 0).key)
    after = await kafka_log.ends(COMMANDS.name)
    assert after[partition] - before[partition] == 50
