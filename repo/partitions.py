"""Which partition a key lives in: Kafka's murmur2, over all partitions of the topic's row in the table.

The count comes from the table, not from the broker's metadata, so that no stale answer can ever move a key.
"""

from aiokafka.partitioner import DefaultPartitioner

from schemas.topics import TOPICS

_partitioner = DefaultPartitioner()


def partitions_of(topic: str) -> list[int]:
    """All partitions of a topic of the table. Raises ValueError for another topic."""
    row = TOPICS.get(topic)
    if row is None:
        raise ValueError(f"{topic} is not in the topic table")
    return list(range(row.partitions))


def partition_of(topic: str, key: bytes) -> int:
    """As the producers of Kafka's own clients choose it. Raises ValueError for a topic outside the table."""
    partitions = partitions_of(topic)
    return int(_partitioner(key, partitions, partitions))
