"""Whether the parts of a stack live: over real sockets, of processes that are paused, hang, are stuck or well."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from operations import local
from operations.stack.alive import SUPERVISOR, Life, is_paused, lives
from tests.operations.stack.programs import until
from tests.servers import closed_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HUNG_S = 0.5  # as long as a hung one is waited for
MINE = os.getpid()


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[int]:
    """The port of a server that gives this answer to whatever it is asked; None: none, as one that hangs."""
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        if answer is not None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def metrics(text: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.0 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


async def told(name: str, **part: Any) -> Life:
    """What is found of one part, in a stack of its own."""
    stack = {"pid": MINE, "parts": {name: {"state": "ready", "pid": MINE, **part}}}
    supervisor, life = await lives(stack, Path("logs"), within_s=HUNG_S if part.pop("hangs", False) else 30.0)
    assert (supervisor.part, supervisor.is_well) == (SUPERVISOR, True)
    return life


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (metrics("openv_loop_beat_age_seconds 0.2\n"), ""),
        (metrics("openv_loop_beat_age_seconds 34.4\n"), "is stuck: its event loop has had no turn for 34 s"),
        (metrics("other 1\n"), "does not tell its metrics"),
        (metrics("openv_loop_beat_age_seconds 0.2\n", "500 Oh"), "does not tell its metrics"),
    ],
)
async def test_a_part_is_asked_for_the_age_of_its_beat(answer: bytes, words: str) -> None:
    async with serving(answer) as port:
        life = await told("streams", metrics=f"http://127.0.0.1:{port}/metrics")
    expected = Life("streams", f"process {MINE} {words}", f"kill -9 {MINE}") if words else Life("streams")
    assert life == expected


@pytest.mark.parametrize("name", ["streams", "kafka", "mongo", "s3"])
async def test_who_takes_connections_and_says_nothing_does_not_answer(name: str) -> None:
    async with serving(None) as port:
        where = {"streams": ("metrics", "http://{}/metrics"), "kafka": ("detail", "{}")}
        where |= {"mongo": ("detail", "mongodb://{}/"), "s3": ("detail", "http://{}")}
        member, form = where[name]
        life = await told(name, hangs=True, **{member: form.format(f"127.0.0.1:{port}")})
    assert (life.words, life.mend) == (f"process {MINE} does not answer in {HUNG_S:g} s", f"kill -9 {MINE}")


async def test_who_refuses_connections_does_not_answer() -> None:
    port = closed_port()
    assert not (await told("gateway", metrics=f"http://127.0.0.1:{port}/metrics")).is_well
    assert "no broker" in (await told("kafka", detail=f"127.0.0.1:{port}")).words
    assert "no database" in (await told("mongo", detail=f"mongodb://127.0.0.1:{port}/")).words


async def test_a_part_that_is_not_ready_names_its_log() -> None:
    died = await told("streams", state="died", pid=None, detail="ended with exit code 70")
    assert died.words == "it is not ready: died: it ended with exit code 70"
    assert died.mend == "tail -n 50 logs/streams.log"
    assert not died.starts
    starting = await told("worker-1", state="starting", pid=None)
    assert (starting.words, starting.starts) == ("it is not ready: starting", True)


@pytest.mark.skipif(sys.platform != "linux", reason="nothing tells of it elsewhere")
async def test_a_paused_process_is_told_with_what_wakes_it() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    try:
        os.kill(process.pid, signal.SIGSTOP)
        await until(lambda: is_paused(process.pid))
        life = await told("worker-1", pid=process.pid, metrics="http://127.0.0.1:1/metrics")
        assert life == Life("worker-1", f"process {process.pid} is paused (SIGSTOP)", f"kill -CONT {process.pid}")
        (supervisor,) = await lives({"pid": process.pid}, Path("logs"))
        assert supervisor.mend == life.mend
        os.kill(process.pid, signal.SIGCONT)
        await until(lambda: not is_paused(process.pid))
    finally:
        process.kill()
        await process.wait()
    assert not is_paused(process.pid), "a process that is gone"


def test_a_stack_whose_part_does_not_answer_is_not_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = {"mongo": {"state": "ready", "pid": MINE}, "streams": {"state": "ready", "pid": 7, "metrics": "http://m"}}
    stack = {"pid": 1, "url": "http://u", "parts": parts}
    found = [Life(SUPERVISOR), Life("mongo"), Life("streams", "process 7 hangs", "kill -9 7")]

    async def lived(*_: Any) -> list[Life]:
        return found

    monkeypatch.setattr(local, "running_stack", lambda _: stack)
    monkeypatch.setattr(local, "lives", lived)
    monkeypatch.setattr(local, "_gateway_ready", lambda _: (True, []))
    text, ready = local.show_status(tmp_path, as_json=False)
    assert not ready
    assert "streams      UNWELL     http://m" in text
    assert "streams: process 7 hangs. → kill -9 7" in text
    assert text.endswith("Not ready: streams.")
    said, _ = local.show_status(tmp_path, as_json=True)
    assert '"problem": "process 7 hangs"' in said
    assert '"ready": false' in said
    found[2:] = [Life("streams")]
    assert local.show_status(tmp_path, as_json=False)[1]
    monkeypatch.setattr(local, "_gateway_ready", lambda _: (False, ["mongodb"]))
    assert local.show_status(tmp_path, as_json=False)[0].endswith("Not ready: mongo.")
