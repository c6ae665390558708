"""The rooms that RunPod's worker protocol needs in a gateway, wired together."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.decisions import Decisions
from gateway.settings import GatewaySettings
from gateway.workers.fencing import Fencing
from gateway.workers.results import Results
from gateway.workers.room import Room
from gateway.workers.streaming import Streams
from repo.database import Database
from repo.ports import EventLog
from repo.stores import ObjectStores


@dataclass(frozen=True, slots=True)
class Workers:
    """One a process."""

    room: Room
    fencing: Fencing
    results: Results
    streams: Streams


def workers_of(
    log: EventLog,
    database: Database,
    objects: ObjectStores,
    decisions: Decisions,
    settings: GatewaySettings,
    now: Callable[[], int],
) -> Workers:
    """Wire the rooms together; starts nothing."""
    limits = {"polls_max": settings.worker_polls, "slots_max": settings.worker_slots}
    room = Room(log, now, poll_s=settings.worker_poll_seconds, **limits)
    fencing = Fencing(room.handed, database.jobs, now)
    return Workers(room, fencing, Results(room, fencing, objects, decisions), Streams(database.endpoints))
