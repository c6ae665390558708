"""``python -m streams``: runs the ledger, the scheduler and the janitor, or one of them (``--role``)."""

import argparse
import asyncio
import os
import signal
import sys
import threading
from types import FrameType

from repo import logs
from repo.kafka import KafkaEventLog
from repo.mongo import MongoJobStore
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings, SettingsError
from streams.service import Ports, Service
from streams.settings import Role, StreamsSettings

LEAVE_S = 1.0  # after the grace: to store offsets and leave the consumer groups


def main() -> int:
    """The exit code: 0 after a stop, 2 for settings that are missing or wrong, 70 when stuck (by the watchdog)."""
    arguments = _parser().parse_args()
    given = {} if arguments.role is None else {"openv_streams_role": arguments.role}
    try:
        logs.set_up("streams")
        servers, settings = ServerSettings(), StreamsSettings(**given)
    except (SettingsError, logs.LogSettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        asyncio.run(_run(servers, settings))
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


async def _run(servers: ServerSettings, settings: StreamsSettings) -> None:
    async with (
        KafkaEventLog(servers, client_id="openv-streams") as event_log,
        MongoJobStore(servers) as store,
        S3ObjectStore(servers) as objects,
    ):
        service = Service(servers, settings, Ports(event_log, store, objects))
        _stop_on_signals(service, settings.openv_streams_grace_seconds + LEAVE_S)
        await service.run()
        # At once: Faust's threads may still be on their way out, and what was begun and not acked is read again.
        sys.stderr.flush()
        os._exit(0)


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
