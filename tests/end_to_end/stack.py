"""One real stack, as ``openv up`` makes it, and the few things that tests do to it: ask, watch, kill, wait."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import connect

T = TypeVar("T")

SMALL = {"width": 384, "height": 384, "num_frames": 7, "steps": 10}
LONG = {"width": 848, "height": 480, "num_frames": 31, "steps": 65}
WAIT_S = 150.0
READY_S = 400.0  # where nothing is in the disk's cache yet, torch alone takes minutes on a busy machine
WEBHOOK_SECRET = "signs-what-runpod-is-told-to-call-us-at"


async def until(look: Callable[[], Awaitable[T | None]], what: str, within_s: float = WAIT_S) -> T:
    """The first answer that is not None or False; fails with words when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = await look()
        if found is not None and found is not False:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"not seen within {within_s:g} s: {what}")


class Stack:
    """A running stack. ``parts()`` and pids come from the file that ``openv status`` reads."""

    def __init__(self, data_dir: Path, process: asyncio.subprocess.Process, log: Path) -> None:
        self.data_dir = data_dir
        self.process = process
        self.log = log
        self.url = ""
        self._clients: list[httpx.AsyncClient] = []

    @property
    def http(self) -> httpx.AsyncClient:
        """The local user's client."""
        return self._clients[0]

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    def about(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.data_dir / "stack.json").read_text())
        except FileNotFoundError:
            return {}
        return content

    def credential(self) -> str:
        return str(json.loads((self.data_dir / "credentials.json").read_text())["apiKey"])

    async def ready(self) -> None:
        """Wait until the whole stack says so, or fail with what it printed."""

        async def look() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            about = self.about()
            return bool(about.get("ready")) and about.get("pid") == self.process.pid  # not of one that was killed

        await until(look, f"the stack ready; it printed: {self.log.read_text()}", READY_S)
        self.url = self.about()["url"]
        self.client(self.credential())

    def client(self, key: str) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
        )
        self._clients.append(client)
        return client

    def pid(self, part: str) -> int | None:
        one = self.about().get("parts", {}).get(part, {})
        return one.get("pid") if one.get("state") == "ready" else None

    async def kill(self, part: str) -> int:
        """kill -9 one part; returns its pid."""

        async def look() -> int | None:
            return self.pid(part)

        pid = await until(look, f"{part} running")
        os.kill(pid, signal.SIGKILL)
        return pid

    @asynccontextmanager
    async def suspended(self, part: str) -> AsyncIterator[None]:
        """One part stands still, as on a laptop that sleeps."""

        async def look() -> int | None:
            return self.pid(part)

        pid = await until(look, f"{part} running")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def back(self, part: str, old_pid: int) -> None:
        """Wait until the supervisor has started it again."""

        async def look() -> bool:
            return self.pid(part) not in (None, old_pid)

        await until(look, f"{part} started again")

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run ``openv`` with the arguments against this stack's data directory; exit code and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "operations",
            *arguments,
            env={**os.environ, "OPENV_DATA_DIR": str(self.data_dir)},
            cwd=self.data_dir.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def new_user(self, name: str) -> httpx.AsyncClient:
        """A client of a user of its own, so that tests do not share quotas."""
        code, output = await self.command("keys", "create", "--user", name)
        assert code == 0, output
        return self.client(output.strip().splitlines()[-1])

    async def submit(self, http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
        answer = await http.post("/api/runpod", json={"prompt": "a corgi surfing at sunset", **SMALL, **fields})
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    async def state(
        self, http: httpx.AsyncClient, job_id: str, *states: str, within_s: float = WAIT_S
    ) -> dict[str, Any]:
        """The row once it is in one of the states."""
        seen: list[str] = []

        async def look() -> dict[str, Any] | None:
            try:
                answer = await http.get(f"/api/runpod/{job_id}")
            except httpx.TransportError:
                return None
            if answer.status_code != 200:
                return None
            row: dict[str, Any] = answer.json()
            if not seen or seen[-1] != row["state"]:
                seen.append(row["state"])
            return row if row["state"] in states else None

        try:
            return await until(look, f"{job_id} in {states}", within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen {seen}; {self.tails()}") from None

    async def processing(self, http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
        return await self.state(http, job_id, "processing")

    def tails(self) -> str:
        """The ends of all logs, for a failing test."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in (self.data_dir / "logs").glob("*.log"))

    @asynccontextmanager
    async def socket(self, http: httpx.AsyncClient, **subscribe: Any) -> AsyncIterator["Frames"]:
        """An authenticated, subscribed live socket."""
        async with connect("ws" + self.url.removeprefix("http") + "/ws", proxy=None) as socket:
            key = http.headers["Authorization"].removeprefix("Bearer ")
            await socket.send(json.dumps({"type": "auth", "token": key}))
            await socket.send(json.dumps({"type": "subscribe", **subscribe}))
            yield Frames(socket)


class Frames:
    """What a socket has received, and waiting for what it has not."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.seen: list[dict[str, Any]] = []

    async def next(self, wanted: Callable[[dict[str, Any]], bool], within_s: float = WAIT_S) -> dict[str, Any]:
        """Read on until a frame is the wanted one."""
        async with asyncio.timeout(within_s):
            while True:
                frame: dict[str, Any] = json.loads(await self._socket.recv())
                if frame["type"] == "ping":
                    await self._socket.send('{"type":"pong"}')
                self.seen.append(frame)
                if wanted(frame):
                    return frame


@asynccontextmanager
async def started(data_dir: Path, *arguments: str, environ: dict[str, str] | None = None) -> AsyncIterator[Stack]:
    """``openv up`` on a data directory, ready; stopped by SIGTERM at the end, with nothing left behind."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{data_dir.name}.up.log"
    names = ("KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "S3_ENDPOINT_URL", "OPENV_URL", "OPENV_API_KEY")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "operations",
            "up",
            "--data-dir",
            str(data_dir),
            "--port",
            "0",
            *arguments,
            cwd=data_dir.parent,  # where ``--prompt`` leaves its video
            env={**clean, "OPENV_ENGINE": "tiny", **(environ or {})},
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
    stack = Stack(data_dir, process, log)
    try:
        await stack.ready()
        yield stack
    finally:
        await stack.close()
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)
