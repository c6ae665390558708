"""The printed environment, held against the unmodified worker SDK: it asks the addresses that it says, with its key."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from aiohttp import web

from operations.stack.errors import StackError
from operations.worker_environment import as_env_file, is_loopback, require_base, worker_environment
from tests.repo.test_outgoing import serving
from tests.sdks import where

DEADLINE_S = 60.0
PROGRAM = """
import runpod
runpod.serverless.start({"handler": lambda job: {"echo": job["input"]}})
"""


class Server:
    """Has one job for whoever asks first, and writes down what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []  # method, path, what Authorization said
        self.answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.pinged = asyncio.Event()
        self._given = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, request.headers.get("Authorization", "")))
        operation = request.path.split("/")[3]
        if operation == "job-take" and not self._given:
            self._given = True
            return web.json_response({"id": "job-1", "input": {"words": "a corgi"}})
        if operation == "job-done" and not self.answer.done():
            self.answer.set_result(json.loads(await request.read()))
        if operation == "ping":
            self.pinged.set()
        if operation in ("job-take", "job-stop"):
            await asyncio.sleep(0.1)  # a poll that found nothing
            return web.Response(status=204)
        return web.json_response({})


async def test_an_unmodified_worker_attaches_with_what_is_printed(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(PROGRAM)
    server = Server()
    async with serving(server.handle) as port:
        printed = as_env_file(worker_environment(f"http://127.0.0.1:{port}", "upscale", "ov_key", "pod-1"))
        variables = dict(line.split("=", 1) for line in printed.splitlines())
        worker = await asyncio.create_subprocess_exec(
            where.python(),
            str(program),
            env={**variables, "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                assert await server.answer == {"output": {"echo": {"words": "a corgi"}}}
                await server.pinged.wait()
        finally:
            os.killpg(worker.pid, signal.SIGKILL)  # the SDK pings from a process of its own
            await worker.wait()
    assert {(method, path) for method, path, _ in server.asked} >= {
        ("GET", "/v2/upscale/job-take/pod-1"),
        ("POST", "/v2/upscale/job-done/pod-1/job-1"),
        ("GET", "/v2/upscale/ping/pod-1"),
    }
    assert {key for *_, key in server.asked} == {"ov_key"}, "raw, in every request"


@pytest.mark.parametrize(
    ("said", "base"),
    [
        ("https://openv.example.org", "https://openv.example.org"),
        ("https://openv.example.org/", "https://openv.example.org"),
        ("http://10.0.0.7:8000/v2", "http://10.0.0.7:8000"),
        ("http://10.0.0.7:8000/v2/", "http://10.0.0.7:8000"),
        ("https://example.org/openv/", "https://example.org/openv"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_in_whichever_form(said: str, base: str) -> None:
    assert require_base(said) == base


@pytest.mark.parametrize(
    "said", ["", "openv.example.org", "ftp://a.example", "https://", "https://a.example/?a=1", "https://a.example/#a",
             "https://a b.example", "https://a.example/\n", "https://a.example:0", "https://a.example:x", "https://[::1"]
)  # fmt: skip
def test_what_is_no_address(said: str) -> None:
    with pytest.raises(StackError, match="The gateway's address is like"):
        require_base(said)


def test_which_addresses_a_container_does_not_reach() -> None:
    assert all(is_loopback(f"http://{host}:8000") for host in ("127.0.0.1", "localhost", "[::1]"))
    assert not any(is_loopback(f"http://{host}") for host in ("10.0.0.7", "openv.example.org", "[2001:db8::1]"))
