"""A real worker process on the real servers, and a test that plays the scheduler to it."""

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from inference_worker.core.limits import Identity
from repo.kafka import KafkaEventLog
from schemas.codec import Message, Unreadable, decode, encode
from schemas.dispatch import RunAttempt, WorkerBeat, WorkerState
from tests.inference_worker.parent_world import order

T = TypeVar("T")
M = TypeVar("M")
WAIT_S = 90.0
HERE = Path(__file__).parent


class Topic:
    """What was written to a topic since the begin of the test, about one worker or one job."""

    def __init__(self, log: KafkaEventLog, name: str, starts: Mapping[int, int]) -> None:
        self._log = log
        self._name = name
        self._at = dict(starts)
        self.messages: list[Message] = []

    async def look(self) -> list[Message]:
        """All of it so far, in order within each partition."""
        ends = await self._log.ends(self._name)
        for partition, end in ends.items():
            if end > self._at[partition]:
                records = await self._log.read(self._name, partition, self._at[partition], end)
                messages = [decode(record) for record in records]
                assert not [one for one in messages if isinstance(one, Unreadable)]
                self.messages += [one for one in messages if not isinstance(one, Unreadable)]
                self._at[partition] = end
        return self.messages


class Process:
    """``python -m inference_worker`` with the scripted or the tiny engine."""

    def __init__(
        self, process: asyncio.subprocess.Process, identity: Identity, log: KafkaEventLog, output: Path
    ) -> None:
        self.process = process
        self.identity = identity
        self.log = log
        self.output = output
        self.dispatch: Topic
        self.commands: Topic
        self.progress: Topic

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str) -> T:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = await look()
            if found:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(
            f"not seen within {WAIT_S:g} s: {what}; the worker said:\n{self.output.read_text()[-4000:]}"
        )

    async def beats(self) -> list[WorkerBeat]:
        mine = [one for one in await self.dispatch.look() if getattr(one, "worker_id", "") == self.identity.worker_id]
        return [one for one in mine if isinstance(one, WorkerBeat)]

    async def ready(self, after: int = 0) -> WorkerBeat:
        """A READY beat with a higher number; from it the session is known."""

        async def look() -> WorkerBeat | None:
            beats = [one for one in await self.beats() if one.sequence > after and one.state is WorkerState.READY]
            return beats[-1] if beats else None

        beat = await self.until(look, "a READY beat")
        self.identity = replace(self.identity, session=beat.session)
        return beat

    async def run(self, prompt: str, **members: Any) -> RunAttempt:
        """Order an attempt of a small video of a new job of a new user."""
        known: dict[str, Any] = {"width": 96, "height": 64, "num_frames": 7, "steps": 2} | members
        request = replace(order().request, prompt=prompt, **known)
        made = order(
            str(uuid.uuid4()),
            worker_id=self.identity.worker_id,
            session=self.identity.session,
            user_id=f"u-{uuid.uuid4().hex[:8]}",
            request=request,
        )
        await self.send(made)
        return made

    async def send(self, message: Message) -> None:
        await self.log.append(encode(message, source="/scheduler", at=0))

    async def reports(self, job_id: str) -> list[str]:
        commands = [one for one in await self.commands.look() if getattr(one, "job_id", "") == job_id]
        return [one.message_id.rsplit(":", 1)[1] for one in commands]

    async def reported(self, job_id: str, what: str) -> None:
        async def look() -> bool:
            return what in await self.reports(job_id)

        await self.until(look, f"report {what}")

    async def shown(self, job_id: str, kind: type[M]) -> list[M]:
        """Wait for at least one message of that type about the job."""

        async def look() -> list[M]:
            mine = [one for one in await self.progress.look() if getattr(one, "job_id", "") == job_id]
            return [one for one in mine if isinstance(one, kind)]

        return await self.until(look, kind.__name__)

    def child(self) -> int:
        """The pid of the child process."""
        [pid] = children_of(self.process.pid)
        return pid

    async def ended(self) -> int:
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()


def children_of(pid: int) -> list[int]:
    """Living child processes."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "status").read_text() if entry.name.isdigit() else ""
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in status and "\nState:\tZ" not in status:
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@asynccontextmanager
async def worker(
    servers: Mapping[str, str], log: KafkaEventLog, root: Path, engine: str, **environ: str
) -> AsyncIterator[Process]:
    """A worker process; killed at the end if it still lives."""
    identity = Identity(pool=f"pool-{uuid.uuid4().hex[:8]}", worker_id=f"w-{uuid.uuid4().hex[:8]}", session="")
    names = ("dispatch", "commands", "progress")
    topics = {name: Topic(log, f"openv.{name}", await log.ends(f"openv.{name}")) for name in names}
    output = root / "worker.log"
    told = {
        **os.environ,
        **servers,
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "OPENV_WORKER_ID": identity.worker_id,
        "OPENV_POOL": identity.pool,
        "OPENV_ENGINE": engine,
        "OPENV_WORK_DIR": str(root / "work"),
        **environ,
    }
    with output.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "inference_worker", env=told, stdout=log_file, stderr=log_file
        )
    made = Process(process, identity, log, output)
    made.dispatch, made.commands, made.progress = (topics[name] for name in names)
    try:
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
