"""A real stack whose two S3 servers each lie behind a wire, and workers with a patience of their choice."""

import asyncio
import hashlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from operations.stack import tether
from operations.stack.servers import EmbeddedServers
from operations.stack.supervisor import Change
from repo.core.object_keys import job_prefixes
from repo.s3 import S3ObjectStore
from repo.settings import ServerSettings
from tests.end_to_end.stack import Stack, started, until
from tests.servers import Wire, settings_of

ENGINES = Path(__file__).parents[1] / "inference_worker"
ELSEWHERE = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MONGODB_URI": "mongodb://127.0.0.1:1"}  # only S3 is started
FILES = ("video", "poster", "thumbnail")
# Whoever is killed takes its processes with it: an interrupted run leaves none behind.
TETHERED = (sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), sys.executable, "-m")


class S3Wire(Wire):
    """``answers = False`` as ever: requests are carried out and not answered. But a client that sends a file waits for
    the word to go on (100 Continue), which is no answer yet."""

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if back and not self.answers and not data.startswith(b"HTTP/1.1 100 "):
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


class S3:
    """One S3 server: its settings, a client that reaches it directly, and the wire that everybody else uses."""

    def __init__(self, settings: ServerSettings, pid: int) -> None:
        target = urlsplit(settings.s3_endpoint_url)
        self.settings = settings
        self.objects = S3ObjectStore(settings)
        self.wire = S3Wire(target.hostname or "", target.port or 0)
        self._pid = pid

    def told(self, prefix: str) -> dict[str, str]:
        """The environment that names this server, reached over the wire by us and directly by browsers."""
        return {
            f"{prefix}ENDPOINT_URL": f"http://127.0.0.1:{self.wire.port}",
            f"{prefix}PUBLIC_ENDPOINT_URL": self.settings.s3_endpoint_url,
            f"{prefix}ACCESS_KEY_ID": self.settings.s3_access_key_id,
            f"{prefix}SECRET_ACCESS_KEY": self.settings.s3_secret_access_key.get_secret_value(),
            f"{prefix}BUCKET": self.settings.s3_bucket,
        }

    async def keys(self, row: Mapping[str, Any]) -> list[str]:
        """What it holds of a job."""
        return [
            key for prefix in job_prefixes(row["userId"], row["jobId"]) for key in await self.objects.list_keys(prefix)
        ]

    @contextmanager
    def full(self) -> Iterator[None]:
        """Its disk takes nothing more: no file of its process may grow."""
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    @asynccontextmanager
    async def replaced_by(self, answer: bytes) -> AsyncIterator[None]:
        """In its place something else listens and answers so, whatever it is asked; b"": never."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                writer.write(answer)
            writer.close()

        impostor = await asyncio.start_server(serve, "127.0.0.1", 0)
        real, self.wire._target = self.wire._target, impostor.sockets[0].getsockname()[:2]
        self.wire.hang_up()
        try:
            yield
        finally:
            self.wire._target = real
            self.wire.hang_up()
            impostor.close()


class World:
    """``main`` and ``fallback`` as the stack knows them. Jobs are those of users that each test makes itself."""

    def __init__(self, stack: Stack, main: S3, fallback: S3, folder: Path) -> None:
        self.stack = stack
        self.main = main
        self.fallback = fallback
        self._folder = folder
        self._workers = 0

    @asynccontextmanager
    async def worker(self, **environ: str) -> AsyncIterator["Worker"]:
        """A worker that is ready; killed at the end."""
        self._workers += 1
        log = self._folder / f"worker-{self._workers}.log"
        told = {
            **os.environ,
            **self.stack.about()["environment"],
            "PYTHONPATH": os.pathsep.join([str(ENGINES), *sys.path]),
            "OPENV_ENGINE": "scripted_engine:Scripted",
            "OPENV_WORK_DIR": str(self._folder / f"work-{self._workers}"),
            "OPENV_LOG_FORMAT": "json",
            **environ,
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *TETHERED, "inference_worker", env=told, stdout=output, stderr=output
            )
        made = Worker(process, log)
        try:
            await made.says('"state": "ready"')
            yield made
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(30):
                    await process.wait()

    async def submit(self, http: httpx.AsyncClient) -> dict[str, Any]:
        """A small video, done as soon as it is begun."""
        return await self.stack.submit(http, prompt="film")

    async def completed(self, http: httpx.AsyncClient, row: Mapping[str, Any]) -> dict[str, Any]:
        return await self.stack.state(http, row["jobId"], "completed", "failed", "timed_out")

    async def served(self, http: httpx.AsyncClient, row: Mapping[str, Any]) -> dict[str, str]:
        """Follow the redirect of every file as a browser does; where its bytes, which must be right, came from."""
        assert row["state"] == "completed", (row, self.stack.tails())
        found = {}
        for kind in FILES:
            answer = await http.get(f"/api/videos/{row['jobId']}/{kind}", follow_redirects=True)
            assert answer.status_code == 200, (kind, answer.url, answer.text)
            stored = row["output"][kind]
            assert (len(answer.content), hashlib.sha256(answer.content).hexdigest()) == (
                stored["bytes"],
                stored["sha256"],
            )
            assert answer.headers["content-type"] == stored["mediaType"]
            found[kind] = f"{answer.url.scheme}://{answer.url.netloc.decode()}"
        return found

    async def emptied(self, s3: S3, row: Mapping[str, Any]) -> None:
        """Wait until it holds nothing of the job."""

        async def look() -> bool:
            return not await s3.keys(row)

        await until(look, f"no file of {row['jobId']} left; {self.stack.tails()}", 60)


class Worker:
    """A worker process and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until its log holds the words."""

        async def look() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            return self.log.read_text().count(words) >= times

        await until(look, f"{words} in the worker's log: {self.log.read_text()}", 60)


@asynccontextmanager
async def s3_world(folder: Path, **environ: str) -> AsyncIterator[World]:
    """Two S3 servers behind wires and, around them, all of the stack but its workers."""
    async with AsyncExitStack() as stack:
        both = []
        for name in ("main", "fallback"):
            changes = list[Change]()
            told = await stack.enter_async_context(EmbeddedServers(folder / name, ELSEWHERE, changes.append))
            [pid] = {change.pid for change in changes if change.pid is not None}
            one = S3(settings_of(told), pid)
            await stack.enter_async_context(one.objects)
            await stack.enter_async_context(one.wire)
            both.append(one)
        main, fallback = both
        told = {**main.told("S3_"), **fallback.told("S3_FALLBACK_"), **environ}
        running = await stack.enter_async_context(started(folder / "stack", "--no-worker", environ=told))
        yield World(running, main, fallback, folder)
