"""Runs the admin API: ``python -m operations.admin``. Stops in under five seconds on SIGTERM or SIGINT."""

import asyncio
import errno
import socket
import sys
from contextlib import AsyncExitStack, suppress

import structlog

from gateway.server import listen
from operations.admin.app import create_app
from operations.admin.metrics import AdminMetrics
from operations.admin.server import AdminServer
from operations.admin.settings import AdminSettings
from operations.admin.table import KINDS
from repo import logs, notify, tracing
from repo.database import Database
from repo.environment import SettingsError
from repo.kafka import KafkaEventLog
from repo.last_resort import attended
from repo.metrics import new_registry
from repo.metrics_server import MetricsSettings, serve_metrics
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from repo.s3 import open_stores
from repo.settings import FallbackSettings, ServerSettings

PREPARE_RETRY_S = 2.0
TRACES_S = 0.5  # for the last spans, after everything else
logger = structlog.get_logger()


async def serve(
    settings: AdminSettings,
    servers: ServerSettings,
    fallback: FallbackSettings,
    listener: socket.socket,
    metrics: AdminMetrics,
) -> None:
    """Serve until a signal. Kafka, MongoDB and S3 may come later, and may go and come back."""
    address = settings.address(listener.getsockname()[1])
    if settings.admin_expose:
        logger.warning("admin_exposed", address=address, meaning="other machines reach it; it speaks no TLS itself")
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(KafkaEventLog(servers, client_id="openv-admin"))
        database = await stack.enter_async_context(MongoDatabase(servers))
        objects = await stack.enter_async_context(open_stores(servers, fallback))
        app = create_app(log, database, objects, settings, servers, metrics=metrics)
        tasks = [asyncio.create_task(_prepare(database, address)), asyncio.create_task(metrics.beat.run())]
        try:
            await AdminServer(app, settings).serve(sockets=[listener])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _prepare(database: Database, address: str) -> None:
    """Make the indexes once MongoDB answers. It is ready before: what needs MongoDB says that itself."""
    notify.ready(address)
    logger.info("admin_ready", address=address)
    while True:
        with suppress(Unavailable):
            await database.prepare()
            return
        await asyncio.sleep(PREPARE_RETRY_S)


def main() -> int:
    """The exit code: 0 after a signal, 1 with one sentence on stderr when it can't start."""
    try:
        logs.set_up("admin")
        tracing.set_up("admin")
        settings, servers, fallback = AdminSettings(), ServerSettings(), FallbackSettings()
        served = MetricsSettings()
    except (SettingsError, logs.LogSettingsError) as error:
        return _complain(str(error))
    try:
        listener = listen(settings.admin_host, settings.admin_port)
    except OSError as error:
        host, port = settings.admin_host, settings.admin_port
        if error.errno == errno.EADDRINUSE:
            return _complain(
                f"Port {port} on {host} is taken: stop the program that has it, or choose another with "
                "OPENV_ADMIN_PORT."
            )
        return _complain(f"Cannot listen on {host}:{port}: {error.strerror}. Check OPENV_ADMIN_HOST.")
    metrics = AdminMetrics(new_registry("admin"), KINDS)
    serve_metrics(metrics.registry, served)
    with suppress(KeyboardInterrupt):
        asyncio.run(attended(serve(settings, servers, fallback, listener, metrics)))
    tracing.close(TRACES_S)
    return 0


def _complain(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
