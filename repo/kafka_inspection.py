"""What a Kafka cluster says of itself: brokers, how topics are replicated, where consumer groups stand. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError

from repo.kafka_admin import KafkaAdmin
from repo.kafka_clients import within
from repo.ports import Unavailable
from repo.settings import ServerSettings

_NO_ERROR = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """``brokers``: their addresses; ``controller``: the id of the broker that leads, None where none does."""

    cluster_id: str
    brokers: tuple[str, ...]
    controller: int | None


@dataclass(frozen=True, slots=True)
class Replication:
    """Of one topic: the fewest replicas and replicas in sync that a partition of it has, and the least that must be in
    sync for a write."""

    topic: str
    replicas: int
    in_sync: int
    least_in_sync: int


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state in Kafka's words ("Stable", "Empty", "Dead": there is none), how many members, and
    the offsets it has stored, by topic and partition."""

    name: str
    state: str
    members: int
    committed: Mapping[tuple[str, int], int]


class KafkaInspection(KafkaAdmin):
    """``async with KafkaInspection(settings) as kafka``. Everything raises ``Unavailable``, also entering."""

    def __init__(self, settings: ServerSettings, *, timeout_s: float = 10.0) -> None:
        super().__init__(settings, "openv-inspection", timeout_s)

    async def cluster(self) -> Cluster:
        """The brokers."""
        said = await within(self._timeout_s, self._client.describe_cluster())
        brokers = tuple(f"{one['host']}:{one['port']}" for one in said["brokers"])
        leader = said["controller_id"]
        return Cluster(str(said["cluster_id"]), brokers, leader if leader is not None and leader >= 0 else None)

    async def topic_names(self) -> list[str]:
        """Every topic that these credentials may see."""
        return sorted(await within(self._timeout_s, self._client.list_topics()))

    async def replication(self, topics: Sequence[str]) -> list[Replication]:
        """Of those of these topics that exist."""
        described = await within(self._timeout_s, self._client.describe_topics(list(topics)))
        found = [one for one in described if one["error_code"] == _NO_ERROR and one["partitions"]]
        least = await self._least_in_sync([one["topic"] for one in found])
        return [_replication(one, least.get(one["topic"], 1)) for one in found]

    async def _least_in_sync(self, topics: Sequence[str]) -> dict[str, int]:
        if not topics:
            return {}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        answers = await within(self._timeout_s, self._client.describe_configs(wanted))
        found: dict[str, int] = {}
        for answer in answers:
            for code, words, _, name, entries in answer.resources:
                if code != _NO_ERROR:
                    raise Unavailable("kafka", f"it does not show the settings of {name}: {words or code}")
                settings = {entry[0]: entry[1] for entry in entries}
                found[name] = int(settings.get("min.insync.replicas") or 1)
        return found

    async def group(self, name: str) -> Group:
        """A consumer group as it stands. Before any group was used, Kafka has no coordinator: then there is none."""
        try:
            (answer,) = await self._asked(self._client.describe_consumer_groups([name]))
            stored = await self._asked(self._client.list_consumer_group_offsets(name))
        except _NoCoordinator:
            return Group(name, "Dead", 0, {})
        (described,) = answer.groups
        committed = {(at.topic, at.partition): known.offset for at, known in stored.items() if known.offset >= 0}
        return Group(name, described[2], len(described[5]), committed)

    async def _asked(self, asking: Any) -> Any:
        async def ask() -> Any:
            try:
                return await asking
            except GroupCoordinatorNotAvailableError as error:
                raise _NoCoordinator from error

        return await within(self._timeout_s, ask())


class _NoCoordinator(Exception):
    """Kafka has made no coordinator for groups yet."""


def _replication(described: Mapping[str, Any], least: int) -> Replication:
    partitions = described["partitions"]
    return Replication(
        described["topic"],
        min(len(one["replicas"]) for one in partitions),
        min(len(one["isr"]) for one in partitions),
        least,
    )
