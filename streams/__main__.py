"""``python -m streams``: runs ledger, scheduler, janitor and notifier, or one of them (``--role``)."""

import argparse
import asyncio
import os
import signal
import sys
import threading
from types import FrameType

import structlog

from repo import logs, tracing
from repo.environment import SettingsError
from repo.kafka import KafkaEventLog
from repo.last_resort import attended
from repo.metrics import new_registry
from repo.metrics_server import MetricsSettings, serve_metrics
from repo.mongo import MongoDatabase
from repo.s3 import open_stores
from repo.settings import FallbackSettings, ServerSettings
from streams.core.deliveries import SendingPolicy
from streams.deadletters import describe, stack_of
from streams.metrics import StreamsMetrics
from streams.service import Ports, Service
from streams.settings import Role, StreamsSettings
from streams.watchdog import end_process

log = structlog.get_logger()

LEAVE_S = 1.0  # after the grace: to store offsets and leave the consumer groups
TRACES_S = 0.5  # for the last spans


def main(sending: SendingPolicy | None = None) -> int:
    """The exit code: 0 after a stop, 1 for a start that failed, 2 for wrong settings, 70 when stuck (the watchdog).

    ``sending``: how webhooks and mails are sent, other than as it is published; for tests.
    """
    arguments = _parser().parse_args()
    given = {} if arguments.role is None else {"openv_streams_role": arguments.role}
    try:
        logs.set_up("streams")
        tracing.set_up("streams")
        servers, fallback, settings = ServerSettings(), FallbackSettings(), StreamsSettings(**given)
        metrics = StreamsMetrics(new_registry("streams"))
        serve_metrics(metrics.registry, MetricsSettings())
    except (SettingsError, logs.LogSettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        asyncio.run(attended(_run(servers, fallback, settings, sending or SendingPolicy(), metrics)))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streams", description="Run OpenV's stream processors: every decision about every job."
    )
    parser.add_argument(
        "--role",
        choices=[*Role, "all"],
        help="which one to run in this process (default: OPENV_STREAMS_ROLE, else all)",
    )
    return parser


async def _run(
    servers: ServerSettings,
    fallback: FallbackSettings,
    settings: StreamsSettings,
    sending: SendingPolicy,
    metrics: StreamsMetrics,
) -> None:
    async with (
        KafkaEventLog(servers, client_id="openv-streams") as event_log,
        MongoDatabase(servers, adopts=False) as database,
        open_stores(servers, fallback) as objects,
    ):
        ports = Ports(
            event_log,
            database.jobs,
            database.access,
            database.deliveries,
            database.endpoints,
            database.upkeep,
            objects,
            database.prepare,
            {
                "plans of replays": database.replays.forget_replays,
                "dispositions of dead letters": database.dispositions.forget_dispositions,
            },
        )
        service = Service(servers, settings, ports, sending, metrics)
        _stop_on_signals(service, settings.openv_streams_grace_seconds + LEAVE_S)
        replaced = asyncio.create_task(_end_when_replaced(database))
        code = 0
        try:
            await service.run()
        except Exception as error:  # noqa: BLE001 -- whatever it is, Faust's threads must not keep the process alive
            log.error("could not run", cause=describe(error), stack=stack_of(error))
            code = 1
        replaced.cancel()
        tracing.close(TRACES_S)
        # At once: Faust's threads may still be on their way out, and what was begun and not acked is read again.
        sys.stderr.flush()
        os._exit(code)


async def _end_when_replaced(database: MongoDatabase) -> None:
    """A restored database stands where it stood; whoever comes anew reads on from there, and keeps nothing else."""
    await database.until_replaced()
    end_process("the database was restored or rebuilt")


def _stop_on_signals(service: Service, within_s: float) -> None:
    """On SIGTERM or SIGINT stop; whatever still hangs after the time (a server that is away) is left as it stands."""
    loop = asyncio.get_running_loop()

    def stop(_number: int, _frame: FrameType | None) -> None:
        timer = threading.Timer(within_s, os._exit, (0,))
        timer.daemon = True
        timer.start()
        loop.call_soon_threadsafe(service.stop)

    # Not the loop's own handlers: these run even while the loop is busy.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


if __name__ == "__main__":
    sys.exit(main())
