"""Faust apps as we run them: one a role, without tables, web server or producer, reading raw bytes.

Every setting here answers a fault that was seen in runs of faust-streaming 0.15.3 (``docs/architecture.md``). Several
apps live in one event loop; each has its own consumer thread, so that heartbeats go on while the loop is busy.
"""

import logging

import faust
from faust.app.base import BootStrategy
from faust.auth import SASLCredentials, SSLCredentials
from yarl import URL

from repo.kafka_clients import connection_options
from repo.settings import ServerSettings
from streams.settings import Role, StreamsSettings

DAY_S = 86_400.0
KAFKA_PORT = 9092


class _Boot(BootStrategy):
    """All that we produce goes through ``repo``'s idempotent producer; the web server would serve what it holds."""

    enable_web = False
    enable_kafka_producer = False


class App(faust.App):
    """A Faust app that leaves nothing on the disk."""

    BootStrategy = _Boot
    logger = logging.getLogger("faust.app")  # else Faust would speak in this module's name

    async def on_first_start(self) -> None:
        """Faust would make a folder for tables here; there are none."""


def make_app(role: Role, servers: ServerSettings, settings: StreamsSettings) -> App:
    """The app of a role; its id is the consumer group. Not started."""
    session_s = settings.openv_streams_session_timeout_seconds
    return App(
        f"openv-{role}",
        broker=_broker_urls(servers),
        broker_client_id=f"openv-{role}",
        broker_credentials=_credentials(servers),
        processing_guarantee="at_least_once",
        consumer_auto_offset_reset="earliest",
        # Nothing is declared: partition counts and retention are the topic table's.
        topic_allow_declare=False,
        topic_disable_leader=True,
        autodiscover=False,
        web_enabled=False,
        store="memory://",
        # A handler may wait for hours for a server that is away. Past this interval it would leave the group for good.
        broker_max_poll_interval=7 * DAY_S,
        # 64 records of at most 1 MiB; Faust's 4096 would be gigabytes.
        stream_buffer_maxsize=64,
        # A revocation must not wait for a handler that waits for a server. What it still does is fenced by versions.
        stream_wait_empty=False,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=settings.openv_streams_heartbeat_seconds,
        broker_rebalance_timeout=max(session_s, 10.0),
        broker_request_timeout=max(session_s + 5.0, 30.0),
        broker_commit_interval=settings.openv_streams_commit_seconds,
        # Faust's own watchdogs only write log lines, and about the waiting that we want.
        stream_processing_timeout=DAY_S,
        broker_commit_livelock_soft_timeout=DAY_S,
    )


def _broker_urls(servers: ServerSettings) -> list[URL]:
    urls = []
    for address in servers.kafka_bootstrap_servers.split(","):
        parsed = URL(f"kafka://{address.strip()}")
        urls.append(parsed if parsed.port else parsed.with_port(KAFKA_PORT))
    return urls


def _credentials(servers: ServerSettings) -> SASLCredentials | SSLCredentials | None:
    """What ``KafkaEventLog`` connects with, in Faust's words. Raises OSError for a CA file that can't be read."""
    options = connection_options(servers)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)


def is_member(app: App) -> bool:
    """Whether the app's consumer belongs to its group, as far as it knows itself.

    After an error that aiokafka deems fatal, the coordinator parks it until somebody asks; Faust never does, and the
    app would stay alive, unassigned and silent. No public interface tells, hence the private members (pinned versions).
    """
    consumer = getattr(getattr(app.consumer, "_thread", None), "_consumer", None)
    coordinator = getattr(consumer, "_coordinator", None)
    if coordinator is None:
        return False
    parked = coordinator._pending_exception is not None or coordinator._coordination_task.done()  # noqa: SLF001
    return not parked and coordinator.generation >= 0
