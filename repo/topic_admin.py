"""Makes Kafka's topics as the table in ``schemas/topics.py`` says, and says where they differ.

Nothing is ever deleted, and a partition count is never changed: keys would move between writers.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from repo.kafka_admin import KafkaAdmin
from repo.kafka_clients import RETRY_S, describe, within
from repo.ports import Unavailable
from repo.settings import ServerSettings
from schemas.topics import DAY, HOUR, TOPICS, Topic

REPLICAS_MAX = 3
_NO_ERROR, _UNKNOWN_TOPIC, _ALREADY_EXISTS = 0, 3, 36
_DYNAMIC_TOPIC_CONFIG = 1  # the source of a setting that was made for this topic, not inherited


class TopicError(Exception):
    """Kafka's topics can't be made as the table says; one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic as it is. ``partitions`` is None where it does not exist; ``differs`` is empty where all is well."""

    name: str
    partitions: int | None
    kept: str
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Actual:
    """What the broker says: partitions with their leaders (-1: none yet), all settings, and the topic's own."""

    leaders: Mapping[int, int]
    config: Mapping[str, str]
    own_config: Mapping[str, str]


class TopicAdmin(KafkaAdmin):
    """``async with TopicAdmin(settings) as admin``. Entering raises ``Unavailable`` where Kafka does not answer."""

    def __init__(self, settings: ServerSettings, *, timeout_s: float = 30.0) -> None:
        super().__init__(settings, "openv-topics", timeout_s)

    async def apply(self, table: Mapping[str, Topic] = TOPICS, *, replication_factor: int | None = None) -> list[str]:
        """Create what is missing, set what differs, wait until every partition has a leader. A line for each topic.

        ``replication_factor``: of new topics; by default one on each broker, three at most. Raises ``TopicError``
        before anything is changed where a partition count differs, and for what the broker refuses.
        """
        return await within(self._timeout_s, self._apply(table, replication_factor))

    async def describe(self, table: Mapping[str, Topic] = TOPICS) -> list[TopicState]:
        """Every topic of the table as it is."""
        actual = await within(self._timeout_s, self._actual(table))
        return [_state(topic, actual.get(name)) for name, topic in table.items()]

    async def _apply(self, table: Mapping[str, Topic], replication_factor: int | None) -> list[str]:
        actual = await self._actual(table)
        for name, is_ in actual.items():
            if len(is_.leaders) != table[name].partitions:
                raise TopicError(_mismatch(table[name], len(is_.leaders)))
        missing = [topic for name, topic in table.items() if name not in actual]
        if missing:
            await self._create(missing, replication_factor)
        lines = []
        for name, topic in table.items():
            if name not in actual:
                lines.append(f"{name}: made, {topic.partitions} partitions, kept {_duration(topic.retention_ms)}")
                continue
            changes = _changes(topic, actual[name])
            if changes:
                await self._set(topic, actual[name])
            lines.append(f"{name}: {'; '.join(changes) if changes else 'as it should be'}")
        await self._wait_for_leaders(table)
        return lines

    async def _create(self, topics: list[Topic], replication_factor: int | None) -> None:
        if replication_factor is None:
            replication_factor = min(REPLICAS_MAX, len((await self._client.describe_cluster())["brokers"]))
        # With acks=all a record is safe once two replicas have it; the broker's default would be content with one.
        durable = {"min.insync.replicas": "2"} if replication_factor >= REPLICAS_MAX else {}
        new = [
            NewTopic(topic.name, topic.partitions, replication_factor, topic_configs={**topic.config(), **durable})
            for topic in topics
        ]
        answer = await self._client.create_topics(new)
        for name, code, words in answer.topic_errors:
            if code not in (_NO_ERROR, _ALREADY_EXISTS):  # somebody else may just have made it
                raise TopicError(f"Kafka refuses to make {name}: {for_code(code).__name__} {words or ''}".rstrip())

    async def _set(self, topic: Topic, actual: _Actual) -> None:
        """Kafka's AlterConfigs replaces all of a topic's own settings, so those that an operator made go along."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, {**actual.own_config, **topic.config()})
        for answer in await self._client.alter_configs([resource]):
            for code, words, *_ in answer.resources:
                if code != _NO_ERROR:
                    reason = f"{for_code(code).__name__} {words or ''}".rstrip()
                    raise TopicError(f"Kafka refuses the settings of {topic.name}: {reason}")

    async def _wait_for_leaders(self, table: Mapping[str, Topic]) -> None:
        while True:
            actual = await self._partitions(table)
            for name, leaders in actual.items():
                if len(leaders) != table[name].partitions:
                    raise TopicError(_mismatch(table[name], len(leaders)))
            if set(actual) == set(table) and all(
                leader >= 0 for leaders in actual.values() for leader in leaders.values()
            ):
                return
            await asyncio.sleep(RETRY_S)

    async def _actual(self, table: Mapping[str, Topic]) -> dict[str, _Actual]:
        partitions = await self._partitions(table)
        if not partitions:
            return {}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
        found: dict[str, _Actual] = {}
        for answer in await self._client.describe_configs(wanted):
            for code, words, _, name, entries in answer.resources:
                if code != _NO_ERROR:
                    raise TopicError(f"Kafka does not show the settings of {name}: {words or for_code(code).__name__}")
                config = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
                own = {entry[0]: entry[1] for entry in entries if entry[1] is not None and _is_own(entry)}
                found[name] = _Actual(partitions[name], config, own)
        return found

    async def _partitions(self, table: Mapping[str, Topic]) -> dict[str, dict[int, int]]:
        """The leader of every partition of those topics of the table that exist."""
        found: dict[str, dict[int, int]] = {}
        for topic in await self._client.describe_topics(list(table)):
            if topic["error_code"] == _NO_ERROR:
                found[topic["topic"]] = {one["partition"]: one["leader"] for one in topic["partitions"]}
            elif topic["error_code"] != _UNKNOWN_TOPIC:
                error: KafkaError = for_code(topic["error_code"])()
                if not error.retriable:
                    raise TopicError(f"Kafka does not show {topic['topic']}: {describe(error)}")
                raise Unavailable("kafka", describe(error))
        return found


def _is_own(entry: tuple[Any, ...]) -> bool:
    return bool(entry[3] == _DYNAMIC_TOPIC_CONFIG)


def _changes(topic: Topic, actual: _Actual) -> list[str]:
    return [
        f"{name} was {actual.config.get(name, 'not set')}, now {value}"
        for name, value in topic.config().items()
        if actual.config.get(name) != value
    ]


def _state(topic: Topic, actual: _Actual | None) -> TopicState:
    if actual is None:
        return TopicState(topic.name, None, "–", ("it does not exist",))
    count = len(actual.leaders)
    differs = [
        f"{name} is {actual.config.get(name, 'not set')} instead of {value}"
        for name, value in topic.config().items()
        if actual.config.get(name) != value
    ]
    if count != topic.partitions:
        differs.insert(0, f"it has {count} partitions instead of {topic.partitions}")
    leaderless = sum(leader < 0 for leader in actual.leaders.values())
    if leaderless:
        differs.append(f"{leaderless} partitions have no leader")
    return TopicState(topic.name, count, _duration(int(actual.config.get("retention.ms", "-1"))), tuple(differs))


def _duration(milliseconds: int) -> str:
    if milliseconds < 0:
        return "for ever"
    if milliseconds % DAY == 0:
        return f"{milliseconds // DAY} d"
    return f"{milliseconds // HOUR} h" if milliseconds % HOUR == 0 else f"{milliseconds} ms"


def _mismatch(topic: Topic, count: int) -> str:
    return (
        f"{topic.name} has {count} partitions, but OpenV needs {topic.partitions}: partition counts can't be changed "
        f"without moving keys between writers, so use another Kafka cluster or delete the topic and its records first."
    )
