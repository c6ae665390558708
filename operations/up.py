"""``openv up``: the whole system on one machine, supervised until a signal ends it.

Order: the data directory's lock → embedded servers, side by side → topics, indexes, bucket, the local key → gateway,
streams, admin API, workers. Stopped in reverse. Everything runs in the main thread's loop, to which children are tied.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.settings import GatewaySettings
from operations.admin.settings import AdminSettings
from operations.client import Endpoint, OpenVClient, RefusedError
from operations.generate import generate
from operations.local import STACK_FILE, running_stack
from operations.parts import our_parts, sockets_of
from operations.preflight import require_prompt, require_settings
from operations.prepare import one_time_token, prepare
from operations.running import DEFAULT_DATA_DIR
from operations.stack.data_dir import DataDir
from operations.stack.errors import StackError, last_words, sentence_in
from operations.stack.listening import require_address
from operations.stack.log_files import keep_small, open_log
from operations.stack.ports import RememberedPorts
from operations.stack.readiness import NotifySocket
from operations.stack.servers import embedded_servers
from operations.stack.settings import child_environment, read_settings
from operations.stack.space import out_of_room, unwritable, watch_room
from operations.stack.supervisor import Change, PartState, Supervisor
from repo.metrics_server import PATH as METRICS_PATH
from repo.metrics_server import MetricsSettings

PARTS_STOP_WITHIN_S = 5.0
SERVERS_STOP_WITHIN_S = 4.5
DETACH_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Options:
    """What ``openv up`` was asked for. ``port`` 0: a free one, remembered in the data directory."""

    data_dir: Path
    host: str
    port: int
    workers: int
    prompt: str | None = None


class Stack:
    """One running stack: what it is told, what it prints, what it writes about itself."""

    def __init__(self, options: Options, console: Console) -> None:
        self._options = options
        self._console = console
        self._data_dir = DataDir(options.data_dir)
        self._parts: dict[str, dict[str, object]] = {}
        self._about: dict[str, object] = {"pid": os.getpid(), "parts": self._parts}
        self._sockets: dict[str, NotifySocket] = {}
        self._metrics: Mapping[str, int] = {}
        self._metrics_host = ""
        self._addresses: Mapping[str, Callable[[], str]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Start everything, make the prompt's video if there is one, serve until ``stopping``."""
        with self._data_dir.lock():
            self._data_dir.remove(STACK_FILE)  # of one that was killed: it names an address where nobody answers now
            require_settings()
            if self._options.prompt is not None:
                require_prompt(self._options.prompt)
            require_address(self._options.host, self._options.port)
            try:
                async with AsyncExitStack() as stack:
                    await self._until(self._serve(stack), stopping)
            finally:
                self._data_dir.remove(STACK_FILE)
                self._say("Stopped. The data stays in", str(self._data_dir.path))

    async def _until(self, work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> None:
        serving = asyncio.create_task(work)
        asked = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            for task in (serving, asked):
                task.cancel()
            await asyncio.gather(serving, asked, return_exceptions=True)
            if stopping.is_set():
                self._say("Stopping.")

    async def _serve(self, stack: AsyncExitStack) -> None:
        settings = read_settings(os.environ)
        servers = await embedded_servers(self._data_dir, settings, self._say, os.environ)
        self._addresses = servers.addresses
        no_room = partial(out_of_room, self._data_dir.path)
        server_supervisor = Supervisor(servers.parts, self._data_dir.logs, self._told, no_room)
        stack.push_async_callback(server_supervisor.stop, SERVERS_STOP_WITHIN_S)
        await server_supervisor.start()
        environment = child_environment(settings, servers.environment(), self._data_dir.path, os.environ)
        key = await prepare(self._data_dir, environment)
        port = self._options.port or RememberedPorts(self._data_dir, "gateway", ("http",)).for_start()["http"]
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        url = f"http://{host}:{port}"
        environment |= {"OPENV_HOST": self._options.host, "OPENV_PORT": str(port)}
        admin = self._admin()
        environment |= {"OPENV_ADMIN_PORT": str(admin.admin_port)}
        # The streams need it as well: it is in what users are told.
        environment["OPENV_PUBLIC_URL"] = GatewaySettings(host=self._options.host).on_port(port).origin
        told = {name: environment[name] for name in environment if name.startswith(("KAFKA_", "MONGODB_", "S3_"))}
        self._about |= {"environment": told}
        self._sockets = sockets_of(self._options.workers)
        for notify_socket in self._sockets.values():
            stack.callback(notify_socket.close)
        # One environment variable can't name a port for each, so it is not heeded here.
        self._metrics = RememberedPorts(self._data_dir, "metrics", self._sockets).for_start()
        self._metrics_host = MetricsSettings(port=0).address
        parts = our_parts(self._sockets, environment, url, self._waits, self._metrics)
        # What these say of a full disk may be said of another one: where a worker renders.
        supervisor = Supervisor(parts, self._data_dir.logs, self._told, lambda _said: no_room(""))
        stack.push_async_callback(supervisor.stop, PARTS_STOP_WITHIN_S)
        await supervisor.start()
        token = await one_time_token()
        self._about |= {"url": url, "adminUrl": admin.address(admin.admin_port), "ready": True}
        self._write()
        self._say(f"OpenV is ready: {url}/?token={token}")
        self._say("(the token opens the page once; then a cookie does. Ctrl-C stops everything.)")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(server_supervisor.watch())
                group.create_task(supervisor.watch())
                group.create_task(watch_room(self._data_dir.path, self._say))
                group.create_task(keep_small(self._data_dir.logs))
                if self._options.prompt:
                    await self._make(self._options.prompt, Endpoint(url, key))
        except ExceptionGroup as failures:
            if (failure := sentence_in(failures)) is not None:
                raise failure from None
            raise

    def _admin(self) -> AdminSettings:
        """The admin API's, with its port: the one that was named, else a free one that the data directory remembers."""
        settings = AdminSettings()
        if "admin_port" in settings.model_fields_set and settings.admin_port:
            return settings
        port = RememberedPorts(self._data_dir, "admin", ("http",)).for_start()["http"]
        return settings.model_copy(update={"admin_port": port})

    async def _make(self, prompt: str, endpoint: Endpoint) -> None:
        """The video of ``--prompt``. A refusal is said and the stack serves on; an interrupt leaves the job queued."""
        try:
            async with OpenVClient(endpoint) as client:
                await generate(client, {"prompt": prompt}, None, self._console, cancel_on_leave=False)
        except RefusedError as error:
            self._say(f"openv: {error}")

    def _told(self, change: Change) -> None:
        """One line a change, and the file that other commands read."""
        name, line, where = change.part, "", ""
        if change.state is PartState.WAITING:
            line = f"waiting for {change.detail}"
        elif change.state is PartState.READY:
            where = self._addresses[name]() if name in self._addresses else self._sockets[name].status
            line = f"ready      {where}"
        elif change.state is PartState.DIED:
            line = f"{change.detail}; starting it again in {change.again_in_ms / 1000:g} s"
        self._parts[name] = {"state": change.state.value, "pid": change.pid, "detail": change.detail or where}
        if name in self._metrics:
            self._parts[name]["metrics"] = f"http://{self._metrics_host}:{self._metrics[name]}{METRICS_PATH}"
        self._write()
        if line:
            self._say(f"{name:<10} {line}")

    def _waits(self, part: str, status: str) -> None:
        self._say(f"{part:<10} {status}")

    def _write(self) -> None:
        with suppress(StackError):  # a full disk must not take down what still runs
            self._data_dir.write(STACK_FILE, self._about)

    def _say(self, *words: str) -> None:
        self._console.print(*words, highlight=False, markup=False, soft_wrap=True)


async def up_forever(options: Options, console: Console) -> int:
    """Run until SIGINT or SIGTERM; a second one ends everything at once (children die with us)."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stopping.is_set():
            os.kill(os.getpid(), signal.SIGKILL)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    await Stack(options, console).run(stopping)
    return 0


async def detached(options: Options, console: Console) -> int:
    """Start ``openv up`` in the background and return once it is ready, or with its last words."""
    data_dir = DataDir(options.data_dir)
    log = data_dir.logs / "up.log"
    argv = [sys.executable, "-m", "operations", "up", "--data-dir", str(data_dir.path), "--host", options.host]
    argv += ["--port", str(options.port), "--workers", str(options.workers)]
    argv += ["--prompt", options.prompt] if options.prompt else []
    try:
        with open_log(log, "wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 -- it must outlive this loop
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
    except OSError as error:
        raise unwritable("The log", log, error) from error
    deadline = time.monotonic() + DETACH_WITHIN_S
    while time.monotonic() < deadline:
        stack = running_stack(data_dir.path) or {}
        if stack.get("ready") and stack.get("pid") == process.pid:
            os.environ.update(stack["environment"])
            link = f"{stack['url']}/?token={await one_time_token()}"
            console.print(f"OpenV runs in the background: {link}", highlight=False, markup=False, soft_wrap=True)
            where = "" if options.data_dir == DEFAULT_DATA_DIR else f" --data-dir {options.data_dir}"
            console.print(
                f"(the token opens the page once; then a cookie does. `openv down{where}` stops it.)",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
            return 0
        if process.poll() is not None:
            raise StackError(f"It did not start: {last_words(log.read_text(errors='replace')).removeprefix('openv: ')}")
        await asyncio.sleep(0.1)
    process.terminate()
    raise StackError(f"It was not ready after {DETACH_WITHIN_S:g} s. Its log is {log}.")
