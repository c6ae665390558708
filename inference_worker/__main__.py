"""Runs one worker: ``python -m inference_worker``. SIGTERM or SIGINT hands its job back and ends it in under 5 s."""

import asyncio
import functools
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import structlog

from inference_worker.child_process import Child
from inference_worker.core.limits import Identity
from inference_worker.files import FileStore
from inference_worker.gpu_metrics import GpuMetrics
from inference_worker.metrics import WorkerMetrics
from inference_worker.parent import Parent, Surroundings
from inference_worker.remote.fleet import Fleet, Shape
from inference_worker.remote.settings import RunPodSettings, Signing
from inference_worker.remote.wiring import desk_of
from inference_worker.settings import RUNPOD, WorkerSettings
from inference_worker.work_dir import WorkDir
from repo import logs, tracing
from repo.environment import SettingsError
from repo.kafka import KafkaEventLog
from repo.last_resort import attended
from repo.metrics import new_registry
from repo.metrics_server import MetricsSettings, serve_metrics
from repo.mongo import MongoDatabase
from repo.s3 import open_stores
from repo.settings import FallbackSettings, ServerSettings

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSE_S = 0.6  # for the connections, after the last word
TRACES_S = 0.4  # for the last spans

log = structlog.get_logger()


async def serve(
    settings: WorkerSettings, servers: ServerSettings, fallback: FallbackSettings, metrics: WorkerMetrics
) -> int:
    """Work until a signal or an order to drain. Returns the exit code."""
    engine = settings.chosen_engine()
    remote = RunPodSettings() if engine == RUNPOD else None
    session = uuid4().hex
    log.info("worker_starts", worker_id=settings.worker_id, session=session, engine=engine)
    async with AsyncExitStack() as stack:
        # The work directory goes last: by then the child is gone.
        work = stack.enter_context(WorkDir(settings.work_dir))
        closing = AsyncExitStack()
        stack.push_async_callback(_close, closing)
        event_log = await closing.enter_async_context(KafkaEventLog(servers, client_id=f"openv-{settings.worker_id}"))
        stores = await closing.enter_async_context(open_stores(servers, fallback))
        files = FileStore(stores, settings.patience(), settings.bucket_rules())
        needs: list[tuple[str, Callable[[], Awaitable[None]]]] = [("Kafka", event_log.ping), ("S3", files.prepare)]
        around = Surroundings(
            event_log=event_log,
            files=files,
            work=work,
            start_child=functools.partial(Child.start, engine),
            needs=needs,
            metrics=metrics,
        )
        beating = asyncio.create_task(metrics.beat.run(), name="beat")
        stack.callback(beating.cancel)
        worker: Parent | Fleet
        if remote is None:
            worker = Parent(Identity(settings.pool, settings.worker_id, session), around, settings.limits())
        else:
            database = await closing.enter_async_context(MongoDatabase(servers))
            needs.append(("MongoDB", database.jobs.ping))
            desk = await closing.enter_async_context(desk_of(remote, Signing(), database))
            shape = Shape(settings.pool, settings.worker_id, remote.slots, remote.sweep_s)
            worker = Fleet(shape, desk, around, settings.limits())
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, worker.leave)
        return await worker.run()


async def _close(closing: AsyncExitStack) -> None:
    """Leave Kafka and S3, whether or not they answer."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await closing.aclose()
    except TimeoutError:
        log.warning("connections_left_open")


async def serve_and_end(
    settings: WorkerSettings, servers: ServerSettings, fallback: FallbackSettings, metrics: WorkerMetrics
) -> None:
    """Never returns: asyncio's and the interpreter's own ends wait for threads that may still ask an absent server."""
    try:
        code = await serve(settings, servers, fallback, metrics)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    except Exception as error:  # noqa: BLE001 - whatever it is: said, and ended, so that the supervisor starts another
        _log_fault(error)
        code = 1
    tracing.close(TRACES_S)
    sys.stderr.flush()
    os._exit(code)


def _log_fault(fault: Exception) -> None:
    """Where it happened. Not an error's own words: they may quote a prompt."""
    calls = [f"{call.filename}:{call.lineno} {call.name}" for call in traceback.extract_tb(fault.__traceback__)]
    log.error("worker_fault", error=type(fault).__name__, calls=calls)


def main() -> int:
    """The exit code: 0 after a signal or a drain, 1 with one sentence on stderr when it can't start."""
    try:
        logs.set_up("worker")
        tracing.set_up("worker")
        settings, servers, fallback = WorkerSettings(), ServerSettings(), FallbackSettings()
        served = MetricsSettings()
    except (SettingsError, logs.LogSettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    metrics = WorkerMetrics(new_registry("worker"))
    if settings.chosen_engine() != RUNPOD:
        metrics.registry.register(GpuMetrics())
    serve_metrics(metrics.registry, served)
    asyncio.run(attended(serve_and_end(settings, servers, fallback, metrics)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
