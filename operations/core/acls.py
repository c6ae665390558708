"""What each part may do at Kafka, the least that it needs: one table, printed by ``openv topics acls``.

It says which topics a part may read and write, not which messages: a worker that may report attempts may write any
command. Writing brings the right to be idempotent; reading and writing bring *describe*.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from schemas.topics import (
    ASSIGNMENTS,
    AUDIT,
    COMMANDS,
    DEADLETTER,
    DISPATCH,
    EVENTS,
    PROGRESS,
    QUARANTINE,
    TOPICS,
    Topic,
)

PREFIX = "openv-"
GROUPS = ("openv-ledger", "openv-scheduler", "openv-janitor", "openv-notifier")
ALL_TOPICS = tuple(TOPICS.values())


@dataclass(frozen=True, slots=True)
class Rights:
    """What one part needs. ``manages``: it makes topics and changes their settings, and sees all groups."""

    part: str
    reads: tuple[Topic, ...]
    writes: tuple[Topic, ...]
    groups: tuple[str, ...] = ()
    manages: bool = False


TABLE = (
    Rights("gateway", reads=(EVENTS, PROGRESS, ASSIGNMENTS), writes=(COMMANDS, DISPATCH, PROGRESS, ASSIGNMENTS)),
    Rights(
        "streams",
        reads=(COMMANDS, EVENTS, DISPATCH, ASSIGNMENTS, PROGRESS),
        writes=(COMMANDS, EVENTS, DISPATCH, ASSIGNMENTS, PROGRESS, DEADLETTER),
        groups=GROUPS,
    ),
    Rights("worker", reads=(ASSIGNMENTS,), writes=(COMMANDS, DISPATCH, PROGRESS)),
    # `openv` and the admin API: they look at everything, and write what replays and orders are appended to.
    Rights(
        "operator",
        reads=ALL_TOPICS,
        writes=(COMMANDS, EVENTS, DISPATCH, AUDIT, QUARANTINE),
        manages=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Acl:
    """One line of Kafka's: this principal may do that. ``resource``: topic, group or cluster."""

    principal: str
    resource: str
    name: str
    operation: str
    prefixed: bool = False


def acls(prefix: str = PREFIX, table: Iterable[Rights] = TABLE) -> Iterator[Acl]:
    """Every line, for principals ``User:<prefix><part>``."""
    for rights in table:
        who = f"User:{prefix}{rights.part}"
        # Every part looks whether all topics are there before it says that it is ready.
        for topic in ALL_TOPICS:
            yield Acl(who, "topic", topic.name, "Describe")
        yield from (Acl(who, "topic", topic.name, "Read") for topic in rights.reads)
        yield from (Acl(who, "topic", topic.name, "Write") for topic in rights.writes)
        yield from (Acl(who, "group", group, "Read") for group in rights.groups)
        if rights.manages:
            for operation in ("Create", "DescribeConfigs", "AlterConfigs"):
                yield from (Acl(who, "topic", topic.name, operation) for topic in ALL_TOPICS)
            yield Acl(who, "group", PREFIX, "Describe", prefixed=True)
            yield Acl(who, "cluster", "kafka-cluster", "Describe")


def commands(prefix: str = PREFIX, server: str = "localhost:9092", config: str = "admin.properties") -> list[str]:
    """The table as ``kafka-acls.sh`` takes it: few lines, each adds what is missing and leaves the rest as it is."""
    grouped: dict[tuple[str, str, bool, tuple[str, ...]], list[str]] = {}
    for (who, resource, prefixed, operation), names in _by_operation(prefix).items():
        grouped.setdefault((who, resource, prefixed, names), []).append(operation)
    return [
        shlex.join(
            [
                *("kafka-acls.sh", "--bootstrap-server", server, "--command-config", config, "--add"),
                *("--allow-principal", who),
                *(word for operation in operations for word in ("--operation", operation)),
                *(word for name in names for word in _resource(resource, name)),
                *(("--resource-pattern-type", "prefixed") if prefixed else ()),
            ]
        )
        for (who, resource, prefixed, names), operations in grouped.items()
    ]


def _by_operation(prefix: str) -> dict[tuple[str, str, bool, str], tuple[str, ...]]:
    found: dict[tuple[str, str, bool, str], list[str]] = {}
    for acl in acls(prefix):
        found.setdefault((acl.principal, acl.resource, acl.prefixed, acl.operation), []).append(acl.name)
    return {key: tuple(names) for key, names in found.items()}


def _resource(resource: str, name: str) -> tuple[str, ...]:
    return ("--cluster",) if resource == "cluster" else (f"--{resource}", name)
