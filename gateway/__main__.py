"""Runs one gateway: ``python -m gateway``. Stops in under five seconds on SIGTERM or SIGINT."""

import asyncio
import errno
import socket
import sys
from contextlib import AsyncExitStack, suppress

import structlog

from gateway.app import create_app
from gateway.http.health import missing
from gateway.metrics import GatewayMetrics
from gateway.parts import Parts
from gateway.server import Server, listen
from gateway.settings import GatewaySettings
from repo import logs, notify, tracing
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
READY_POLL_S = 0.1
TRACES_S = 0.7  # for the last spans, after everything else
logger = structlog.get_logger()


async def serve(
    settings: GatewaySettings,
    servers: ServerSettings,
    fallback: FallbackSettings,
    listener: socket.socket,
    metrics: GatewayMetrics,
) -> None:
    """Serve until a signal. Kafka, MongoDB and S3 may come later, and may go and come back."""
    settings = settings.on_port(listener.getsockname()[1])
    _warn(settings)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(KafkaEventLog(servers, client_id="openv-gateway"))
        database = await stack.enter_async_context(MongoDatabase(servers))
        objects = await stack.enter_async_context(open_stores(servers, fallback))
        app = create_app(log, database, objects, settings, metrics=metrics)
        helpers = [asyncio.create_task(_prepare(database)), asyncio.create_task(_tell_when_ready(app.state.parts))]
        try:
            await Server(app, settings).serve(sockets=[listener])
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)


def _warn(settings: GatewaySettings) -> None:
    """Say what an operator may not have meant."""
    if settings.test_mode:
        logger.warning(
            "test_mode",
            meaning="whoever shows no credential is let in",
            user=settings.test_user,
            unset="OPENV_TEST_MODE",
        )
    if settings.clerk_issuer is not None and not settings.clerk_webhook_secret:
        logger.warning(
            "clerk_webhooks_off",
            meaning="users deleted at Clerk are not deleted here",
            set="OPENV_CLERK_WEBHOOK_SECRET",
        )


async def _prepare(database: MongoDatabase) -> None:
    while True:
        with suppress(Unavailable):
            await database.prepare()
            return
        await asyncio.sleep(PREPARE_RETRY_S)


async def _tell_when_ready(parts: Parts) -> None:
    """Tell the supervisor what is waited for, and once, when all is there, the address."""
    told = None
    while lacks := missing(parts):
        if lacks != told:
            notify.waiting(f"waiting for {', '.join(lacks)}")
            told = lacks
        await asyncio.sleep(READY_POLL_S)
    notify.ready(parts.settings.origin)
    logger.info("gateway_ready", address=parts.settings.origin)


def main() -> int:
    """The exit code: 0 after a signal, 1 with one sentence on stderr when it can't start."""
    try:
        logs.set_up("gateway")
        tracing.set_up("gateway")
        settings, servers, fallback = GatewaySettings(), ServerSettings(), FallbackSettings()
        served = MetricsSettings()
    except (SettingsError, logs.LogSettingsError) as error:
        return _complain(str(error))
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _complain(
                f"Port {settings.port} on {settings.host} is taken: stop the program that has it, or choose another "
                "with OPENV_PORT."
            )
        return _complain(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Check OPENV_HOST.")
    metrics = GatewayMetrics(new_registry("gateway"))
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
