"""Topics become what the table says, and nothing that an operator made is lost on the way."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from repo.ports import Unavailable
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin, TopicError, TopicState
from schemas.topics import DAY, TOPICS, Topic
from tests.servers import closed_port

pytestmark = pytest.mark.servers


@pytest.fixture
async def admin(settings: ServerSettings) -> AsyncIterator[TopicAdmin]:
    async with TopicAdmin(settings) as made:
        yield made


@pytest.fixture
def table() -> dict[str, Topic]:
    names = [f"test.{uuid.uuid4()}" for _ in range(2)]
    return {names[0]: Topic(names[0], 3, DAY, ()), names[1]: Topic(names[1], 1, 2 * DAY, (), log_append_time=True)}


async def set_configs(settings: ServerSettings, name: str, configs: dict[str, str]) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await client.start()
    try:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])
    finally:
        await client.close()


async def config_of(settings: ServerSettings, name: str) -> dict[str, str]:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await client.start()
    try:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    finally:
        await client.close()
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def until_set(settings: ServerSettings, name: str, setting: str, value: str) -> dict[str, str]:
    """The topic's settings, once the broker shows what its controller has accepted."""
    async with asyncio.timeout(20):
        while (config := await config_of(settings, name))[setting] != value:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return config


async def test_openvs_topics_are_as_the_table_says(admin: TopicAdmin, topics: list[str]) -> None:
    states = await admin.describe()
    assert [(state.name, state.partitions, state.differs) for state in states] == [
        (topic.name, topic.partitions, ()) for topic in TOPICS.values()
    ]


async def test_missing_topics_are_made_once(admin: TopicAdmin, table: dict[str, Topic]) -> None:
    before = await admin.describe(table)
    assert before == [TopicState(name, None, "–", ("it does not exist",)) for name in table]
    made = await admin.apply(table)
    assert ["made" in line for line in made] == [True, True]
    assert await admin.apply(table) == [f"{name}: as it should be" for name in table]
    after = await admin.describe(table)
    assert [(state.partitions, state.kept, state.differs) for state in after] == [(3, "1 d", ()), (1, "2 d", ())]


async def test_several_may_apply_at_once(settings: ServerSettings, table: dict[str, Topic]) -> None:
    async def apply() -> None:
        async with TopicAdmin(settings) as one:
            await one.apply(table)

    await asyncio.gather(*(apply() for _ in range(4)))
    async with TopicAdmin(settings) as admin:
        assert all(not state.differs for state in await admin.describe(table))


async def test_settings_that_differ_are_said_and_set_and_the_others_left_alone(
    admin: TopicAdmin, settings: ServerSettings, table: dict[str, Topic]
) -> None:
    await admin.apply(table)
    name = next(iter(table))
    await set_configs(settings, name, {"retention.ms": "3600000", "retention.bytes": "123456789"})
    await until_set(settings, name, "retention.ms", "3600000")
    (state, _) = await admin.describe(table)
    assert state.kept == "1 h"
    assert "retention.ms is 3600000 instead of 86400000" in state.differs
    (line, other) = await admin.apply(table)
    assert "retention.ms was 3600000, now 86400000" in line
    assert "as it should be" in other
    config = await until_set(settings, name, "retention.ms", str(DAY))
    assert config["retention.bytes"] == "123456789"


async def test_another_partition_count_is_an_error_before_anything_changes(
    admin: TopicAdmin, table: dict[str, Topic]
) -> None:
    first, second = table
    await admin.apply({first: table[first]})
    wanted = {first: Topic(first, 4, DAY, ()), second: table[second]}
    with pytest.raises(TopicError, match="has 3 partitions, but OpenV needs 4"):
        await admin.apply(wanted)
    states = await admin.describe(wanted)
    assert "it has 3 partitions instead of 4" in states[0].differs
    assert states[1].differs == ("it does not exist",)


async def test_what_kafka_refuses_is_said(admin: TopicAdmin, table: dict[str, Topic]) -> None:
    with pytest.raises(TopicError, match="Kafka refuses to make"):
        await admin.apply(table, replication_factor=5)


async def test_an_absent_kafka_is_said_in_bounded_time(settings: ServerSettings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{closed_port()}"})
    with pytest.raises(Unavailable, match="kafka"):
        async with asyncio.timeout(30), TopicAdmin(away):
            pass
