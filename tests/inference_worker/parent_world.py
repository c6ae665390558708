"""A worker's parent over memory twins and a child that a test plays; waiting by looking, never by time."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from inference_worker.child_process import ChildDied
from inference_worker.core.limits import Identity, Limits
from inference_worker.files import FileStore, Patience
from inference_worker.messages import Done, FromChild, Media, MediaFile, Ready
from inference_worker.parent import Parent, Surroundings
from inference_worker.work_dir import WorkDir
from repo.memory import MemoryEventLog, MemoryObjectStore
from repo.ports import EventLog
from repo.stores import ObjectStores
from schemas.codec import Message, Record, Unreadable, decode, encode
from schemas.dispatch import RunAttempt, WorkerBeat, WorkerState
from schemas.requests import GenerationRequest

T = TypeVar("T")
DEADLINE_S = 20.0
ME = Identity(pool="mochi-1", worker_id="w1", session="s1")


async def until(look: Callable[[], T | None], what: str, within_s: float = DEADLINE_S) -> T:
    """The first answer that is true; fails with words when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"not seen within {within_s:g} s: {what}")


def read(records: list[Record]) -> list[Message]:
    messages = [decode(record) for record in records]
    assert not [one for one in messages if isinstance(one, Unreadable)]
    return [one for one in messages if not isinstance(one, Unreadable)]


class PlayedChild:
    """Implements ``ChildPort``: says what the test tells it to, and remembers what it was told."""

    def __init__(self, *, loads: bool = True) -> None:
        self.asked: list[tuple[str, int, Path]] = []
        self.stops: list[tuple[str, int]] = []
        self.killed = self.closed = False
        self._said: asyncio.Queue[FromChild | ChildDied] = asyncio.Queue()
        if loads:
            self.say(Ready(engine="played", device="nothing"))

    def say(self, message: FromChild) -> None:
        self._said.put_nowait(message)

    def die(self, code: int = -11) -> None:
        self._said.put_nowait(ChildDied(code))

    def finish(self) -> Media:
        """The files of the newest attempt, and word of them."""
        job_id, attempt, directory = self.asked[-1]
        media = write_media(directory)
        self.say(Done(job_id=job_id, attempt=attempt, media=media))
        return media

    async def messages(self) -> AsyncIterator[FromChild]:
        while True:
            message = await self._said.get()
            if isinstance(message, ChildDied):
                raise message
            yield message

    async def generate(self, job_id: str, attempt: int, _: GenerationRequest, directory: Path) -> None:
        self.asked.append((job_id, attempt, directory))

    async def stop(self, job_id: str, attempt: int) -> None:
        self.stops.append((job_id, attempt))

    def kill(self) -> None:
        if not self.killed:
            self.killed = True
            self.die(-9)

    async def close(self) -> None:
        self.closed = True


def write_media(directory: Path) -> Media:
    def one(name: str, media_type: str) -> MediaFile:
        data = name.encode() * 10
        (directory / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return MediaFile(path=directory / name, bytes=len(data), sha256=digest, media_type=media_type)

    return Media(
        video=one("video.mp4", "video/mp4"),
        poster=one("poster.jpg", "image/jpeg"),
        thumbnail=one("thumbnail.webp", "image/webp"),
        width=96,
        height=64,
        frames=7,
        fps=24,
        duration=7 / 24,
    )


def order(job_id: str = "j1", attempt: int = 1, **members: Any) -> RunAttempt:
    known: dict[str, Any] = {
        "worker_id": ME.worker_id,
        "session": ME.session,
        "pool": ME.pool,
        "job_id": job_id,
        "user_id": "u1",
        "run": 1,
        "attempt": attempt,
        "request": GenerationRequest(prompt="a corgi", width=96, height=64, num_frames=7, steps=2),
        "execution_timeout_ms": 600_000,
        "assigned_at": 0,
    }
    return RunAttempt(**{**known, **members})


async def send(log: EventLog, message: Message) -> None:
    await log.append(encode(message, source="/scheduler", at=0))


class World:
    """One parent and all around it."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.log = MemoryEventLog()
        self.objects = MemoryObjectStore()
        self.children: list[PlayedChild] = []
        self.loads = True
        self.work = WorkDir(root)
        patience = Patience(main_s=0.5, fallback_s=0.5, first_pause_s=0.01, last_pause_s=0.02)
        self.files = FileStore(ObjectStores(self.objects), patience)
        around = Surroundings(
            event_log=self.log,
            files=self.files,
            work=self.work,
            start_child=self.start_child,
            needs=[("Kafka", self.log.ping), ("S3", self.objects.ping)],
        )
        self.parent = Parent(ME, around, limits)
        self.running: asyncio.Task[int] | None = None

    async def start_child(self) -> PlayedChild:
        self.children.append(PlayedChild(loads=self.loads))
        return self.children[-1]

    @property
    def child(self) -> PlayedChild:
        return self.children[-1]

    @property
    def state(self) -> WorkerState:
        return self.parent.worker.state

    def said(self, topic: str) -> list[Message]:
        return read(self.log.records(f"openv.{topic}"))

    def reports(self) -> list[str]:
        return [one.message_id.rsplit(":", 1)[1] for one in self.said("commands")]

    def beats(self) -> list[WorkerBeat]:
        return [one for one in self.said("dispatch") if isinstance(one, WorkerBeat)]

    async def ready(self) -> None:
        """Until the READY beat is in the log: only then would a scheduler send an order."""
        await until(lambda: self.beats() and self.beats()[-1].state is WorkerState.READY, "a READY beat")

    async def busy(self, *orders: RunAttempt) -> None:
        await self.ready()
        for one in orders or (order(),):
            await send(self.log, one)
        await until(lambda: self.child.asked, "the child asked")

    async def ended(self) -> int:
        assert self.running
        async with asyncio.timeout(DEADLINE_S):
            return await self.running


@asynccontextmanager
async def running(root: Path, limits: Limits | None = None, *, start: bool = True) -> AsyncIterator[World]:
    """A parent that runs; stopped at the end if it still does."""
    quick = replace(limits or Limits(), restart_ms=10, defunct_ms=50)
    world = World(root, quick)
    with world.work:
        if start:
            world.running = asyncio.create_task(world.parent.run())
        try:
            yield world
        finally:
            if world.running and not world.running.done():
                world.parent.leave()
                world.parent.leave()
                with suppress(TimeoutError):
                    await world.ended()
