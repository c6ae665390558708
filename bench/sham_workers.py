"""Workers without a model: real parents (``inference_worker/parent.py``) on real servers, whose children only wait.

A job lasts as many milliseconds as its seed says, then has files of ordinary size, which go into S3. Driven:
``do="start"`` with a count; ``do="wait"`` until so many jobs were made since the last ``wait``, and the gaps between
them: from a child's last word on one job to its first on the next.
"""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.driver import Answer, serve
from inference_worker.child_process import ChildDied
from inference_worker.core.limits import Identity
from inference_worker.files import FileStore
from inference_worker.messages import AttemptStopped, Done, FromChild, Heartbeat, Media, MediaFile, Ready
from inference_worker.parent import Parent, Surroundings
from inference_worker.work_dir import WorkDir
from repo import logs
from repo.kafka import KafkaEventLog
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings
from repo.stores import ObjectStores
from schemas.requests import FPS, MODEL, GenerationRequest

HEARTBEAT_S = 1.0
VIDEO, PICTURE = b"v" * 500_000, b"p" * 20_000


class Made:
    """What all children have done so far."""

    def __init__(self) -> None:
        self.gaps_ms: list[float] = []
        self.jobs = asyncio.Semaphore(0)


class ShamChild:
    """Implements ``ChildPort``."""

    def __init__(self, made: Made) -> None:
        self._made = made
        self._said: asyncio.Queue[FromChild | ChildDied] = asyncio.Queue()
        self._said.put_nowait(Ready(engine="sham", device="nothing"))
        self._beating = asyncio.create_task(self._beat())
        self._task: asyncio.Task[None] | None = None
        self._idle_since: float | None = None
        self._steps = 0

    async def messages(self) -> AsyncIterator[FromChild]:
        while True:
            message = await self._said.get()
            if isinstance(message, ChildDied):
                raise message
            yield message

    async def generate(self, job_id: str, attempt: int, request: GenerationRequest, directory: Path) -> None:
        if self._idle_since is not None:
            self._made.gaps_ms.append((time.perf_counter() - self._idle_since) * 1000)
        self._task = asyncio.create_task(self._make(job_id, attempt, request, directory))

    async def stop(self, job_id: str, attempt: int) -> None:
        if self._task is not None:
            self._task.cancel()
        self._said.put_nowait(AttemptStopped(job_id=job_id, attempt=attempt))

    def kill(self) -> None:
        self._beating.cancel()
        self._said.put_nowait(ChildDied(-9))

    async def close(self) -> None:
        self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._said.put_nowait(Heartbeat(progress=self._steps))
            await asyncio.sleep(HEARTBEAT_S)

    async def _make(self, job_id: str, attempt: int, request: GenerationRequest, directory: Path) -> None:
        await asyncio.sleep(request.seed / 1000)
        media = await asyncio.to_thread(_media, directory, request)
        self._steps += 1
        self._idle_since = time.perf_counter()
        self._said.put_nowait(Done(job_id=job_id, attempt=attempt, media=media))
        self._made.jobs.release()


def _media(directory: Path, request: GenerationRequest) -> Media:
    def one(name: str, media_type: str, data: bytes) -> MediaFile:
        path = directory / name
        path.write_bytes(data)
        return MediaFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type=media_type)

    return Media(
        video=one("video.mp4", "video/mp4", VIDEO),
        poster=one("poster.jpg", "image/jpeg", PICTURE),
        thumbnail=one("thumbnail.webp", "image/webp", PICTURE),
        width=request.width,
        height=request.height,
        frames=request.num_frames,
        fps=FPS,
        duration=request.seconds,
    )


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the servers of the environment."""
    logs.set_up("sham")  # standard output is the driver's
    settings = ServerSettings()
    made = Made()
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openv-sham-")))
        objects = await stack.enter_async_context(S3ObjectStore(settings))

        async def begin(number: int) -> None:
            async def child() -> ShamChild:
                return ShamChild(made)

            log = await stack.enter_async_context(KafkaEventLog(settings, client_id=f"sham-{number}"))
            work = stack.enter_context(WorkDir(root / str(number)))
            around = Surroundings(log, FileStore(ObjectStores(objects)), work, child)
            parent = Parent(Identity(MODEL, f"sham-{number}", uuid4().hex), around)
            running = asyncio.create_task(parent.run())
            stack.push_async_callback(_leave, parent, running)

        async def answer(do: str, count: int) -> dict[str, Any]:
            if do == "start":
                for number in range(count):
                    await begin(number)
                return {}
            for _ in range(count):
                await made.jobs.acquire()
            gaps, made.gaps_ms = made.gaps_ms, []
            return {"gaps_ms": gaps}

        yield answer


async def _leave(parent: Parent, running: "asyncio.Task[int]") -> None:
    parent.leave()
    await running


if __name__ == "__main__":
    serve(answering)
