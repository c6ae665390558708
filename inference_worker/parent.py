"""The worker's parent process: feeds the core with what happens and performs what it decides.

One loop, one ``take``: every input is decided and its effects begun before the next one is looked at. Nothing here
waits inside ``take``; what takes time runs as a task and comes back as an input. Any fault of a task ends the process:
its supervisor starts another, and the scheduler gives the attempt to somebody.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from inference_worker.assignments import Order, end_of_orders, follow_orders
from inference_worker.attempt_trace import AttemptTrace
from inference_worker.core.effects import (
    Clean,
    DropUpload,
    Effect,
    Exit,
    Generate,
    KillChild,
    Report,
    Say,
    Show,
    StartChild,
    StopChild,
    Upload,
)
from inference_worker.core.inputs import (
    Acked,
    Heard,
    Input,
    Leave,
    NotStored,
    StoreAway,
    Stored,
    StoredSome,
    Tick,
)
from inference_worker.core.limits import Identity, Limits
from inference_worker.core.step import step
from inference_worker.core.worker import Worker, new_worker
from inference_worker.files import FileStore, StorageFailed
from inference_worker.keeper import ChildPort, Keeper
from inference_worker.messages import Failed, Media, Unloadable
from inference_worker.metrics import WorkerMetrics
from inference_worker.outbox import Outbox
from inference_worker.work_dir import WorkDir
from repo import notify, tracing
from repo.ports import EventLog, Unavailable
from schemas.dispatch import RemoteMoved, RunAttempt, WorkerBeat, WorkerState
from schemas.failures import FailureCode
from schemas.progress import AttemptProgress

TICK_S = 0.25
WAIT_S = 0.5
CANCEL_AGAIN_S = 0.3
LAST_WORDS_S = 0.7  # after the decision to end: for the farewell, and for what is still being deleted

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker needs of the world. ``needs``: what to wait for at the start; each raises ``Unavailable``.

    ``first`` is taken before the first tick. ``remote_moved`` hears that a foreign service called.
    """

    event_log: EventLog
    files: FileStore
    work: WorkDir
    start_child: Callable[[], Awaitable[ChildPort]]
    needs: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = ()
    first: Sequence[Input] = ()
    remote_moved: Callable[[RemoteMoved], None] = lambda _: None
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)


class Parent:
    """``await run()`` returns the exit code. ``leave()`` is what a signal calls."""

    def __init__(self, identity: Identity, around: Surroundings, limits: Limits | None = None) -> None:
        self._around = around
        self._worker: Worker = new_worker(identity, limits or Limits(), _now())
        self._metrics = around.metrics
        self._metrics.watch(lambda: self._worker)
        source = f"/workers/{identity.worker_id}"
        self._trace = AttemptTrace()
        acked, came_from = (lambda command_id: self.take(Acked(command_id))), self._trace.traceparent
        retried = self._metrics.retried
        self._reports = Outbox("reports", around.event_log, source, acked, came_from=came_from, retried=retried)
        self._dispatch = Outbox("dispatch", around.event_log, source, came_from=came_from, retried=retried)
        self._progress = Outbox("progress", around.event_log, source, retried=retried)
        self._keeper = Keeper(around.start_child, self.take)
        self._uploads: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._directories: dict[tuple[str, int], Path] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._errands: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._exit_code: int | None = None
        self._leaving = asyncio.Event()
        self._told_ready = False

    @property
    def worker(self) -> Worker:
        """The state as it is now."""
        return self._worker

    async def run(self) -> int:
        """Work until told to leave. Returns the exit code; the child is gone by then. Raises what any task raised."""
        try:
            for outbox in (self._reports, self._dispatch, self._progress):
                self._spawn_for_life(outbox.run())
            self._spawn_for_life(self._serve())
            await self._leaving.wait()
            if self._exit_code == 0:
                await self._last_words()
        finally:
            await self._end_tasks()
        if self._fault:
            raise self._fault
        return self._exit_code or 0

    def leave(self) -> None:
        """SIGTERM or SIGINT."""
        log.info("told_to_leave", state=self._worker.state)
        self.take(Leave())

    def take(self, given: Input) -> None:
        """Decide on one input and begin what follows from it."""
        before = self._worker
        self._worker, effects = step(before, given, _now())
        self._notice(given, before)
        self._trace.heard(given)
        self._metrics.heard(given)
        self._trace.decided(effects, self._worker)
        for effect in effects:
            self._perform(effect)
            self._metrics.performed(effect)
            self._trace.reported(effect)
        self._trace.after(self._worker)

    async def _serve(self) -> None:
        """Wait for the servers, learn where orders will be, then begin: only now can a READY beat be said."""
        for name, need in self._around.needs:
            await self._wait_for(name, need)
        identity = self._worker.identity
        start = await self._wait_for("Kafka", lambda: end_of_orders(self._around.event_log, identity.worker_id))
        orders = follow_orders(self._around.event_log, start, identity.worker_id, self._hear, self._trace.ordered)
        self._spawn_for_life(orders)
        for given in self._around.first:
            self.take(given)
        while True:
            self.take(Tick())
            await asyncio.sleep(TICK_S)

    def _hear(self, order: Order) -> None:
        if isinstance(order, RemoteMoved):
            self._around.remote_moved(order)
        else:
            self.take(order)

    async def _wait_for(self, name: str, need: Callable[[], Awaitable[Any]]) -> Any:
        said = False
        while True:
            try:
                return await need()
            except Unavailable as failure:
                if not said:
                    notify.waiting(f"waiting for {name}")
                    log.warning("waiting", server=name, reason=failure.reason)
                    said = True
                await asyncio.sleep(WAIT_S)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Say():
                self._dispatch.put(effect.message, slot="beat" if isinstance(effect.message, WorkerBeat) else None)
            case Report():
                self._reports.put(effect.command)
            case Show():
                # A slot a phase: in a hurry steps are skipped, never a phase or the last step of one.
                slot = effect.message.phase if isinstance(effect.message, AttemptProgress) else "preview"
                self._progress.put(effect.message, slot=slot)
            case StartChild() | Generate() | StopChild() | KillChild():
                self._tell_child(effect)
            case Upload():
                key = effect.order.job_id, effect.order.attempt
                self._uploads[key] = self._spawn(self._upload(effect.order, effect.media))
            case DropUpload():
                self._errand(self._drop(effect.order))
            case Clean():
                self._errand(self._clean((effect.job_id, effect.attempt)))
            case Exit():
                self._exit_code = effect.code
                self._leaving.set()

    def _tell_child(self, effect: StartChild | Generate | StopChild | KillChild) -> None:
        match effect:
            case StartChild():
                if not self._told_ready:
                    notify.waiting("waiting for the model to load")
                self._spawn(self._keeper.keep(effect.child))
            case Generate():
                self._generate(effect)
            case StopChild():
                self._keeper.stop(effect.child, effect.job_id, effect.attempt)
            case KillChild():
                log.warning("child_killed", reason=effect.words)
                self._keeper.kill(effect.child)

    def _generate(self, effect: Generate) -> None:
        order = effect.order
        try:
            directory = self._around.work.attempt_dir()
        except OSError as error:
            words = f"The worker could not make a directory for the video: {error.strerror}."
            failed = Failed(job_id=order.job_id, attempt=order.attempt, code=FailureCode.TRANSIENT_ERROR, message=words)
            asyncio.get_running_loop().call_soon(self.take, Heard(effect.child, failed))
            return
        self._directories[order.job_id, order.attempt] = directory
        self._keeper.generate(effect.child, order.job_id, order.attempt, order.request, directory)

    async def _upload(self, order: RunAttempt, media: Media) -> None:
        key = order.job_id, order.attempt
        began = time.monotonic()
        try:
            with tracing.within(self._trace.working(order)):
                output = await self._around.files.store(
                    order, media, lambda n, of: self.take(StoredSome(*key, n, of)), lambda: self.take(StoreAway(*key))
                )
        except StorageFailed as failure:
            self._metrics.not_uploaded(time.monotonic() - began)
            self.take(NotStored(*key, failure.code, str(failure)))
        except OSError as error:
            words = f"The worker lost the finished video: {error.strerror}."
            self.take(NotStored(*key, FailureCode.TRANSIENT_ERROR, words))
        else:
            size = sum(file.bytes for file in (media.video, media.poster, media.thumbnail))
            self._metrics.uploaded(size, time.monotonic() - began)
            self.take(Stored(*key, output))
        finally:
            self._uploads.pop(key, None)

    async def _drop(self, order: RunAttempt) -> None:
        """End an upload, then delete what it stored: nobody is told of these files, so nobody else would."""
        upload = self._uploads.pop((order.job_id, order.attempt), None)
        if upload:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
        try:
            await self._around.files.discard(order)
        except Unavailable as failure:
            log.warning("files_left_behind", job_id=order.job_id, attempt=order.attempt, reason=str(failure))

    async def _clean(self, key: tuple[str, int]) -> None:
        directory = self._directories.pop(key, None)
        if directory:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _last_words(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._reports.empty()
                await self._dispatch.empty()
                await asyncio.gather(*self._errands, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _spawn_for_life(self, work: Coroutine[Any, Any, None]) -> None:
        """One that ends before the worker does is a fault, however it ends: a deaf worker must not stay READY."""
        self._spawn(work).add_done_callback(self._ended_early)

    def _ended_early(self, task: asyncio.Task[None]) -> None:
        if not self._leaving.is_set():
            self._fail(RuntimeError(f"{task.get_coro()} ended before the worker"))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault:
            self._fail(fault)

    def _fail(self, fault: BaseException) -> None:
        self._fault = self._fault or fault
        self._leaving.set()

    async def _end_tasks(self) -> None:
        """Cancel all, again if need be: ``asyncio.wait_for`` of Python 3.11 loses a cancellation now and then."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=CANCEL_AGAIN_S)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._spawn(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def _notice(self, given: Input, before: Worker) -> None:
        """Log what an operator should know, and tell the supervisor."""
        worker = self._worker
        if isinstance(given, Heard) and isinstance(given.message, Unloadable):
            log.error("model_unloadable", reason=given.message.message)
        if worker.state is before.state:
            return
        attempt = worker.attempt or before.attempt
        about = {"job_id": attempt.order.job_id, "attempt": attempt.order.attempt} if attempt else {}
        log.info("worker_state", state=worker.state, before=before.state, **about)
        status = f"engine {worker.engine} on {worker.device}, pool {worker.identity.pool}"
        if worker.state is WorkerState.READY and not self._told_ready:
            self._told_ready = True
            notify.ready(status)
        elif worker.state is WorkerState.READY and before.state in (WorkerState.DEFUNCT, WorkerState.STARTING):
            notify.waiting(status)
        elif worker.state is WorkerState.DEFUNCT:
            pause_s = worker.limits.defunct_ms // 1000
            log.error("worker_defunct", next_try_s=pause_s)
            notify.waiting(f"the model does not run here (the log says why); tried again every {pause_s} s")


def _now() -> int:
    """Milliseconds of a clock that never goes back."""
    return time.monotonic_ns() // 1_000_000
