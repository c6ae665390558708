"""Tails ``openv.events`` and ``openv.progress`` from a few minutes ago, for ever, and passes on what it sees.

Events go into the window, to waiting decisions and to watchers; progress goes to watchers only. All is routed by key
and headers; values are passed on as the bytes that were stored. Each record is handled in one go, without a pause
between the window and the watchers, so that a watcher never sees them disagree.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast

import orjson
import structlog

from gateway.core.frame import Frame, PreviewFrame
from gateway.core.hub import Hub
from gateway.core.inputs import Ended, Event, Input, Progress
from gateway.core.recent import Recent
from gateway.core.subscription import event_frame
from gateway.core.tally import Tally
from gateway.core.window import Arrival, Cursor, Entry, Happened, Window, check_of
from gateway.decisions import Decisions
from gateway.tracing import pushing
from repo.ports import EventLog, Unavailable
from schemas.api import live
from schemas.api.live import CloseCode
from schemas.codec import Record, decode
from schemas.events import AccountEvent, CommandAnswered, JobEvent
from schemas.lifecycle import State
from schemas.progress import PoolShown, WorkerUpdate
from schemas.replays import REPLAY_ID
from schemas.topics import EVENTS, PROGRESS

RETRY_S = 1.0
_NUMBER = re.compile(r"[0-9]{1,18}")  # Python refuses to read numbers of thousands of digits
PROGRESS_BACK_MS = 60_000
HIDDEN_MAX = 100_000  # jobs of external workers, whose places in a queue no socket is shown
_TOLD_TO_LISTENERS = frozenset({WorkerUpdate.TYPE, PoolShown.TYPE})
STATE_OF = dict(zip(JobEvent.TYPES, State, strict=True))
logger = structlog.get_logger()


class Watcher(Protocol):
    """What the feed needs of a socket."""

    def receive(self, happened: Input) -> None:
        """Take an input, at once and without waiting."""
        ...


class Listener(Protocol):
    """Who else wants to know, besides sockets and waiting decisions. Each is told at once, and may not wait."""

    def happened(self, event: Happened, state: State) -> None:
        """A job moved."""
        ...

    def progressed(self, message: WorkerUpdate | PoolShown) -> None:
        """What is no watcher's: a word of an external worker, or how the workers of a pool are."""
        ...

    def missed(self) -> None:
        """Events were lost here: look again."""
        ...


class Feed:
    """One a process; ``run`` it as a task. ``window`` and ``hub`` are written by nobody else."""

    def __init__(
        self,
        log: EventLog,
        window: Window,
        hub: Hub[Watcher],
        decisions: Decisions,
        now: Callable[[], int],
        back_ms: int,
        account_changed: Callable[[str], None],
        listeners: Sequence[Listener] = (),
        tally: Tally | None = None,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``told`` hears of each event that was handed to somebody how old it was (ms)."""
        self.window = window
        self.hub = hub
        self._log = log
        self._decisions = decisions
        self._now = now
        self._back_ms = back_ms
        self._account_changed = account_changed
        self._listeners = listeners
        self._tally = tally or Tally()
        self._told = told
        self._hidden: Recent[str, None] = Recent(HIDDEN_MAX)
        self._targets: dict[int, int] | None = None
        self._moved = asyncio.Event()
        self.caught_up = False

    async def run(self) -> None:
        """For ever: both topics; what fails is logged and begun again where it stopped."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_on(self._follow_events), name="feed.events")
            group.create_task(self._keep_on(self._follow_progress), name="feed.progress")

    def partition_of(self, user_id: str) -> int:
        """Where the user's events are. Raises ``Unavailable`` while the topic is not known."""
        return self._log.partition_of(EVENTS.name, user_id.encode())

    async def reached(self, partition: int, offset: int, timeout_s: float) -> bool:
        """Wait until this gateway has caught up and has read that offset; False after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (self.caught_up and self.window.next_offsets().get(partition, 0) > offset):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def _keep_on(self, follow: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await follow()
            except Unavailable as error:
                logger.warning("feed_waits", server=error.server, reason=error.reason)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                logger.warning("feed_failed", reason="cancelled by nobody of ours")  # a client's own, leaking out
            except Exception:  # a feed that stops in silence would freeze every socket: say so and go on
                logger.exception("feed_failed")
            await asyncio.sleep(RETRY_S)

    async def _follow_events(self) -> None:
        if self._targets is None:
            ends = await self._log.ends(EVENTS.name)
            starts = await self._log.starts(EVENTS.name)
            since = await self._log.offsets_at(EVENTS.name, self._now() - self._back_ms)
            # One record more than asked: its id makes a position out of "nothing since then".
            self.window.begin({p: max(starts.get(p, 0), offset - 1) for p, offset in since.items()})
            self._targets = ends
            self._look_around()
        tail = self._log.tail(EVENTS.name, self.window.next_offsets())
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            async for batch in batches:
                for record in batch:
                    self._on_event(record)
                self.window.evict(self._now())
                self._look_around()
                await asyncio.sleep(0)

    def _look_around(self) -> None:
        """Note whether the feed has read all that was there when it began, and wake who waits for it to move."""
        if not self.caught_up and self._targets is not None:
            read = self.window.next_offsets()
            if all(read.get(partition, end) >= end for partition, end in self._targets.items()):
                self.caught_up = True
                logger.info("feed_caught_up", bytes=self.window.bytes)
        self._moved.set()
        self._moved = asyncio.Event()

    def _on_event(self, record: Record) -> None:
        event_type = record.header("ce_type") or ""
        event_id = record.header("ce_id") or ""
        user_id = record.key.decode("utf-8", "replace")
        cursor = Cursor(record.partition, record.offset, check_of(event_id))
        # What an operator has written again is no news: before everybody's eyes a job would be what it was then.
        again = record.header(REPLAY_ID) is not None
        happened = None if again else _job_event(record, event_type, event_id)
        entry = Entry(cursor, user_id, record.timestamp, happened)
        arrival = self.window.append(entry, self._now())
        if arrival is Arrival.KNOWN:
            return
        if arrival is Arrival.GAP:
            self._tell_of_gap(record)
        if again:
            return
        if event_type == CommandAnswered.TYPE:
            self._decisions.resolve(record)
        elif event_type in AccountEvent.TYPES:
            self._account_changed(user_id)
            if _is_locked_out(record.value, user_id):
                self._tell(user_id, Ended(CloseCode.ACCOUNT))
        elif happened is not None:
            with pushing(record, happened.job_id, lambda: len(self.hub.watchers(user_id))):
                self._on_job_event(entry, happened, STATE_OF[event_type])

    def _on_job_event(self, entry: Entry, happened: Happened, state: State) -> None:
        if happened.external:
            self._hidden[happened.job_id] = None
        else:
            self.hub.moved(happened.job_id, state)
            if self.hub.watchers(entry.user_id):  # most events are nobody's here: no frame is made of them
                self._tell(entry.user_id, Event(entry, event_frame(entry)))
                self._told(self._now() - entry.at)
        for listener in self._listeners:
            listener.happened(happened, state)

    def _tell(self, user_id: str, happened: Input) -> None:
        for watcher in self.hub.watchers(user_id):
            watcher.receive(happened)

    def _tell_of_gap(self, record: Record) -> None:
        logger.warning("feed_gap", partition=record.partition, offset=record.offset)
        self._tally.gaps += 1
        for listener in self._listeners:
            listener.missed()
        for user_id, watchers in self.hub.everyone():
            if self.partition_of(user_id) == record.partition:
                for watcher in watchers:
                    watcher.receive(Ended(CloseCode.GAP))

    async def _follow_progress(self) -> None:
        start = await self._log.offsets_at(PROGRESS.name, self._now() - PROGRESS_BACK_MS)
        tail = self._log.tail(PROGRESS.name, start)
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            async for batch in batches:
                for record in batch:
                    self._on_progress(record)
                await asyncio.sleep(0)

    def _on_progress(self, record: Record) -> None:
        event_type = record.header("ce_type") or ""
        if event_type in _TOLD_TO_LISTENERS:
            self._pass_on(record)
            return
        kind = live.PROGRESS_FRAMES.get(event_type)
        attempt = _attempt_of(record.header("ce_id") or "")
        job_id = record.header("ce_subject")
        user_id = record.key.decode("utf-8", "replace")
        if kind is None or attempt is None or not job_id or job_id in self._hidden:
            return
        if _read(record.value, jobId=job_id, userId=user_id, attempt=attempt) is None:
            return
        text = live.progress(event_type, record.value)
        frame = PreviewFrame(text) if kind == live.PREVIEW else Frame(kind, text)
        progress = Progress(job_id, kind, frame)
        if self.hub.progressed(user_id, attempt, progress):
            self._tell(user_id, progress)

    def _pass_on(self, record: Record) -> None:
        message = decode(record)
        if isinstance(message, WorkerUpdate | PoolShown):
            for listener in self._listeners:
                listener.progressed(message)


def _job_event(record: Record, event_type: str, event_id: str) -> Happened | None:
    """What a socket is shown of a record; None for what is no job event or can't be read."""
    job_id, _, version = event_id.rpartition(":")
    if event_type not in STATE_OF:
        return None
    user_id = record.key.decode("utf-8", "replace")
    body = None
    if job_id and _NUMBER.fullmatch(version):
        body = _read(record.value, jobId=job_id, userId=user_id, version=int(version))
    if body is None:
        logger.warning("event_unreadable", partition=record.partition, offset=record.offset)
        return None
    return Happened(
        event_type,
        job_id,
        int(version),
        record.value,
        external=body.get("external") is True,
        endpoint=body.get("endpoint"),
        again=body.get("tries") != 1 or body.get("run") != 1,
    )


def _attempt_of(event_id: str) -> int | None:
    """The attempt in a progress message's id, ``job:attempt:…``."""
    parts = event_id.split(":", 2)
    return int(parts[1]) if len(parts) == 3 and _NUMBER.fullmatch(parts[1]) else None


def _is_locked_out(value: bytes, user_id: str) -> bool:
    """Whether an account event says that this user may not come in any more."""
    account = _read(value, userId=user_id)
    return account is not None and (account.get("blocked") is True or account.get("deletedAt") is not None)


def _read(value: bytes, **members: str | int) -> dict[str, Any] | None:
    """Stored bytes that may be spliced into a frame: one JSON object, of which nothing can end the frame early, and
    about the job and the user by which it is routed. The other members are the writer's business: a newer one may know
    more. What is no message at all is put to the dead letters by the streams' janitor, once, and not by each gateway.
    """
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict) or any(body.get(name) != member for name, member in members.items()):
        return None
    return body
