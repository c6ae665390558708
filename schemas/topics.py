"""The topic table: what is kept how long, in how many partitions, and which messages each topic may carry.

Partition counts never change after creation: keys would move between writers. Sizes are bytes, times milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas import audit, commands, dispatch, events, progress

HOUR = 3_600_000
DAY = 24 * HOUR
VALUE_MAX = 512 * 1024  # larger values go to the object store and are passed by reference
RECORD_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """One row of the table. ``log_append_time``: the broker's clock stamps records, and that is *now* for decisions."""

    name: str
    partitions: int
    retention_ms: int
    messages: tuple[type, ...]
    log_append_time: bool = False

    def config(self) -> dict[str, str]:
        """The topic's settings as Kafka names them."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(max(HOUR // 6, self.retention_ms // 7)),
            "max.message.bytes": str(RECORD_MAX),
            # Else whoever writes chooses a codec, and readers that lack it would stand before that record for ever.
            "compression.type": "uncompressed",
            "message.timestamp.type": "LogAppendTime" if self.log_append_time else "CreateTime",
        }


COMMANDS = Topic("openv.commands", 8, 7 * DAY, commands.COMMANDS, log_append_time=True)
EVENTS = Topic(
    "openv.events",
    8,
    30 * DAY,
    (events.JobEvent, events.CommandAnswered, events.FilesDiscarded, events.AccountEvent),
)
DISPATCH = Topic(
    "openv.dispatch",
    4,
    7 * DAY,
    (
        dispatch.JobMoved,
        dispatch.WorkerBeat,
        dispatch.WorkerGone,
        dispatch.AssignmentDeclined,
        dispatch.DrainWorker,
        dispatch.Tick,
    ),
    log_append_time=True,
)
ASSIGNMENTS = Topic(
    "openv.assignments",
    16,
    DAY,
    (dispatch.RunAttempt, dispatch.StopAttempt, dispatch.DrainSession, dispatch.RemoteMoved),
    log_append_time=True,
)
_PROGRESS = (
    progress.AttemptProgress,
    progress.AttemptPreview,
    progress.QueuePlace,
    progress.WorkerUpdate,
    progress.PoolShown,
)
PROGRESS = Topic("openv.progress", 8, HOUR, _PROGRESS)
DEADLETTER = Topic("openv.deadletter", 2, 30 * DAY, ())
# Records that were replayed too often: nothing reads them but operators.
QUARANTINE = Topic("openv.quarantine", 1, 90 * DAY, ())
# One partition: who did what is one sequence.
AUDIT = Topic("openv.audit", 1, 400 * DAY, (audit.AuditEntry,))

TOPICS: Mapping[str, Topic] = MappingProxyType(
    {topic.name: topic for topic in (COMMANDS, EVENTS, DISPATCH, ASSIGNMENTS, PROGRESS, DEADLETTER, QUARANTINE, AUDIT)}
)
TOPIC_OF: Mapping[type, Topic] = MappingProxyType(
    {message: topic for topic in TOPICS.values() for message in topic.messages}
)
