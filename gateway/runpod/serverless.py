"""The rooms that serverless endpoints need in a gateway, and what the feed tells them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from gateway.core.allowance import Allowance
from gateway.core.recent import Recent
from gateway.core.updates import Updates
from gateway.core.window import Happened
from gateway.runpod.byte_room import ByteRoom
from gateway.runpod.endings import Endings
from gateway.runpod.known_endpoints import KnownEndpoints
from gateway.runpod.purge import Purge
from gateway.settings import GatewaySettings
from repo.database import Database
from repo.endpoints import EndpointStore
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.lifecycle import State
from schemas.progress import PoolShown, WorkerUpdate

COUNTS_MAX = 1_000
PATIENCE_S = 10.0
PURGES_MAX = 4
logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Serverless:
    """One a process. ``endpoints`` remembers what ``store`` says. ``room`` bounds large bodies, whichever way they go;
    ``purging``: how many queues are purged at a time; ``purges``: those, by endpoint and user (None: everybody's).
    ``counts``: the newest count of each endpoint's jobs, and when it was taken. ``beside``: what goes on after its
    answer."""

    store: EndpointStore
    endpoints: KnownEndpoints
    endings: Endings
    updates: Updates
    room: ByteRoom
    requests: Allowance
    purging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PURGES_MAX))
    purges: dict[tuple[str, str | None], Purge] = field(default_factory=dict)
    counts: Recent[str, tuple[Mapping[State, int], int]] = field(default_factory=lambda: Recent(COUNTS_MAX))
    counting: dict[str, "asyncio.Task[Mapping[State, int]]"] = field(default_factory=dict)
    beside: set["asyncio.Task[None]"] = field(default_factory=set)

    def happened(self, event: Happened, state: State) -> None:
        """See ``gateway.live.feed.Listener``."""
        self.updates.moved(event, state)
        self.endings.wake(event.job_id)

    def progressed(self, message: WorkerUpdate | PoolShown) -> None:
        """See ``gateway.live.feed.Listener``."""
        if isinstance(message, PoolShown):
            self.updates.shown(message)
        else:
            self.updates.updated(message)

    def missed(self) -> None:
        """See ``gateway.live.feed.Listener``."""
        self.endings.wake_all()

    def ended_beside(self, task: "asyncio.Task[None]") -> None:
        """Nobody waits for it any more: what became of it is logged."""
        self.beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("beside_failed", error=type(error).__name__)


def serverless_of(database: Database, settings: GatewaySettings, now: Callable[[], int]) -> Serverless:
    """Wire the rooms together."""
    return Serverless(
        store=database.endpoints,
        endpoints=KnownEndpoints(database.endpoints, now),
        endings=Endings(settings.serverless_waits_per_user),
        updates=Updates(settings.progress_bytes),
        room=ByteRoom(settings.serverless_body_bytes, RUNSYNC_BYTES, PATIENCE_S),
        requests=Allowance(settings.serverless_requests, int(settings.shed_window_seconds * 1000)),
    )
