"""What a request handler may use: made once at start, found on ``request.app.state.parts``."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from gateway.core.allowance import Allowance
from gateway.core.hub import Hub
from gateway.core.recent import Recent
from gateway.core.window import Window
from gateway.decisions import Decisions
from gateway.identity.accounts import Accounts
from gateway.identity.auth import Authenticator
from gateway.identity.clerk import Clerk, clerk_of
from gateway.identity.terms import Terms
from gateway.live.feed import Feed, Watcher
from gateway.metrics import GatewayMetrics
from gateway.notifications import Notifications, notifications_of
from gateway.probes import Probes
from gateway.runpod.serverless import Serverless, serverless_of
from gateway.settings import GatewaySettings
from gateway.standings import Standings
from gateway.workers.wiring import Workers, workers_of
from repo.access import AccessStore
from repo.database import Database
from repo.ports import EventLog, JobStore
from repo.stores import ObjectStores
from schemas.api.openai import Video

MINUTE_MS = 60_000
LONG_LISTS_MAX = 4
UNDECIDED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Parts:
    """The gateway's rooms. ``now`` is the clock, milliseconds since the epoch.

    ``undecided``, by job id: whose a video of ``/v1/videos`` is that was recorded and not decided in time, and the
    video; its poller would otherwise take it for none.
    """

    settings: GatewaySettings
    now: Callable[[], int]
    store: JobStore
    access: AccessStore
    objects: ObjectStores
    accounts: Accounts
    clerk: Clerk | None
    auth: Authenticator
    decisions: Decisions
    feed: Feed
    probes: Probes
    allowance: Allowance
    questions: Allowance
    guesses: Allowance
    tickets: Allowance
    terms: Terms
    webhook_calls: Allowance
    notifications: Notifications
    standings: Standings
    long_lists: asyncio.Semaphore
    serverless: Serverless
    workers: Workers
    metrics: GatewayMetrics
    undecided: Recent[str, tuple[str, Video]] = field(default_factory=lambda: Recent(UNDECIDED_MAX))

    def append_by(self) -> int:
        """When a command sent now must be in the log at the latest (ms); later, the ledger refuses it."""
        seconds = self.settings.decision_timeout_seconds + self.settings.append_margin_seconds
        return self.now() + int(seconds * 1000)


def build(
    log: EventLog,
    database: Database,
    objects: ObjectStores,
    settings: GatewaySettings,
    now: Callable[[], int],
    metrics: GatewayMetrics | None = None,
) -> Parts:
    """Wire the rooms together; starts nothing. ``metrics`` None: they are counted, and shown to nobody."""
    metrics = metrics or GatewayMetrics()
    pings = {"kafka": log.ping, "mongodb": database.jobs.ping, "s3": objects.main.ping}
    if objects.fallback is not None:
        pings["s3_fallback"] = objects.fallback.ping
    probes = Probes(pings)
    metrics.watch_servers(tuple(pings), probes.missing)
    decisions = Decisions(log, now, lambda: probes.answers("kafka"), settings.decision_timeout_seconds, metrics)
    window_ms = int(settings.window_seconds * 1000)
    window = Window(settings.window_bytes, window_ms)
    hub: Hub[Watcher] = Hub(settings.progress_bytes)
    accounts = Accounts(database.jobs, now, settings.default_role)
    terms = Terms(database.access, settings.terms_version, settings.terms_required)

    def account_changed(user_id: str) -> None:
        accounts.forget(user_id)
        terms.forget(user_id)
        standings.forget(user_id)

    serverless = serverless_of(database, settings, now)
    workers = workers_of(log, database, objects, decisions, settings, now)
    listeners = (serverless, workers.room)
    feed = Feed(log, window, hub, decisions, now, window_ms, account_changed, listeners, metrics.tally, metrics.told)
    metrics.watch_feed(window, lambda: feed.caught_up)
    standings = Standings(decisions, feed, now)
    clerk = clerk_of(settings, accounts, now)
    return Parts(
        settings=settings,
        now=now,
        store=database.jobs,
        access=database.access,
        objects=objects,
        accounts=accounts,
        clerk=clerk,
        auth=Authenticator(database.access, accounts, settings, now, clerk),
        decisions=decisions,
        feed=feed,
        probes=probes,
        allowance=Allowance(settings.shed_requests, int(settings.shed_window_seconds * 1000)),
        questions=Allowance(settings.usage_requests, int(settings.shed_window_seconds * 1000)),
        guesses=Allowance(settings.voucher_tries, MINUTE_MS),
        tickets=Allowance(settings.ticket_requests, MINUTE_MS),
        terms=terms,
        webhook_calls=Allowance(settings.webhook_requests, int(settings.shed_window_seconds * 1000)),
        notifications=notifications_of(database.deliveries, settings),
        standings=standings,
        long_lists=asyncio.Semaphore(LONG_LISTS_MAX),
        serverless=serverless,
        workers=workers,
        metrics=metrics,
    )


def parts_of(connection: HTTPConnection) -> Parts:
    """The rooms of the app that serves this request."""
    return cast("Parts", connection.app.state.parts)
