"""What a request handler may use: made once at start, found on ``request.app.state.parts``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from gateway.auth import Authenticator
from gateway.core.allowance import Allowance
from gateway.core.hub import Hub
from gateway.core.window import Window
from gateway.decisions import Decisions
from gateway.feed import Feed, Watcher
from gateway.probes import Probes
from gateway.settings import GatewaySettings
from repo.access import AccessStore
from repo.database import Database
from repo.ports import EventLog, JobStore
from repo.stores import ObjectStores


@dataclass(frozen=True, slots=True)
class Parts:
    """The gateway's rooms. ``now`` is the clock, milliseconds since the epoch."""

    settings: GatewaySettings
    now: Callable[[], int]
    store: JobStore
    access: AccessStore
    objects: ObjectStores
    auth: Authenticator
    decisions: Decisions
    feed: Feed
    probes: Probes
    allowance: Allowance
    questions: Allowance


def build(
    log: EventLog, database: Database, objects: ObjectStores, settings: GatewaySettings, now: Callable[[], int]
) -> Parts:
    """Wire the rooms together; starts nothing."""
    pings = {"kafka": log.ping, "mongodb": database.jobs.ping, "s3": objects.main.ping}
    if objects.fallback is not None:
        pings["s3_fallback"] = objects.fallback.ping
    probes = Probes(pings)
    decisions = Decisions(log, now, lambda: probes.answers("kafka"), settings.decision_timeout_seconds)
    window_ms = int(settings.window_seconds * 1000)
    window = Window(settings.window_bytes, window_ms)
    hub: Hub[Watcher] = Hub(settings.progress_bytes)
    return Parts(
        settings=settings,
        now=now,
        store=database.jobs,
        access=database.access,
        objects=objects,
        auth=Authenticator(database.access, settings, now),
        decisions=decisions,
        feed=Feed(log, window, hub, decisions, now, window_ms),
        probes=probes,
        allowance=Allowance(settings.shed_requests, int(settings.shed_window_seconds * 1000)),
        questions=Allowance(settings.usage_requests, int(settings.shed_window_seconds * 1000)),
    )


def parts_of(connection: HTTPConnection) -> Parts:
    """The rooms of the app that serves this request."""
    return cast("Parts", connection.app.state.parts)
