"""A pool whose attempts run on RunPod: our worker process, killed and started again, on a whole stack.

RunPod is played by a server of the tests, which counts; the worker is told to ask it next to never, so that whatever
happens soon happens because RunPod called our gateway.
"""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from repo.kafka import KafkaEventLog
from schemas.requests import GenerationRequest
from tests.end_to_end.stack import WEBHOOK_SECRET, Stack, until
from tests.inference_worker.remote.fake_runpod import ENDPOINT, KEY, FakeRunPod, fake_runpod
from tests.inference_worker.remote.remote_world import a_video
from tests.servers import settings_of
from tests.streams.submissions import new_id, send, submission

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]

SELDOM = {"OPENV_RUNPOD_POLL_S": "600", "OPENV_RUNPOD_POLL_MOST_S": "600"}


class Engine:
    """``python -m inference_worker`` with the engine ``runpod``, under one name however often it is started."""

    def __init__(self, stack: Stack, folder: Path, told: dict[str, str]) -> None:
        self.pool = new_id("remote-")
        self.output = folder / "engine.log"
        self._process: asyncio.subprocess.Process | None = None
        self._told = {
            **os.environ,
            **stack.about()["environment"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OPENV_ENGINE": "runpod",
            "OPENV_POOL": self.pool,
            "OPENV_WORKER_ID": new_id("engine-"),
            "OPENV_WORK_DIR": str(folder / "work"),
            "OPENV_RUNPOD_SLOTS": "2",
            "OPENV_RUNPOD_RESULT_ALLOW_HTTP": "true",
            "OPENV_RUNPOD_RESULT_NETWORKS": "127.0.0.0/8",
            **told,
        }

    async def start(self) -> None:
        with self.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "inference_worker", env=self._told, stdout=output, stderr=output
            )

    async def end(self, number: signal.Signals) -> int:
        assert self._process
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self._process.wait()


@asynccontextmanager
async def engine(stack: Stack, folder: Path, **told: str) -> AsyncIterator[Engine]:
    made = Engine(stack, folder, told)
    await made.start()
    try:
        yield made
    finally:
        await made.end(signal.SIGKILL)


@pytest.fixture
async def fake() -> AsyncIterator[FakeRunPod]:
    async with fake_runpod() as made:
        yield made


async def submitted(stack: Stack, pool: str, user: str) -> str:
    """A video of that pool, asked for as a gateway does. Its id."""
    command = submission(user, pool, request=GenerationRequest(prompt="a corgi", num_frames=7, width=384, height=384))
    async with KafkaEventLog(settings_of(stack.about()["environment"]), client_id="tests") as log:
        await send(log, command)
    return command.job_id


async def files_of(http: httpx.AsyncClient, row: dict[str, Any]) -> list[bytes]:
    found = []
    for name in ("url", "posterUrl", "thumbnailUrl"):
        answer = await http.get(row[name], follow_redirects=True)
        assert answer.status_code == 200, (name, answer.text)
        found.append(answer.content)
    return found


async def test_a_killed_engine_takes_up_what_runs_there_and_a_call_ends_it(
    stack: Stack, fake: FakeRunPod, tmp_path: Path
) -> None:
    video = a_video(tmp_path / "video")
    user = new_id("rita-")
    http = await stack.new_user(user)
    told = {
        "OPENV_RUNPOD_URL": fake.url,
        "OPENV_RUNPOD_ENDPOINT": ENDPOINT,
        "OPENV_RUNPOD_API_KEY": KEY,
        "OPENV_RUNPOD_WEBHOOK_URL": stack.url,
        "OPENV_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    async with engine(stack, tmp_path, **told, **SELDOM) as worker:
        killed_mid_run = await submitted(stack, worker.pool, user)
        await stack.processing(http, killed_mid_run)
        there = await until(newest_of(fake), "submitted")
        there.status = "IN_PROGRESS"
        assert await worker.end(signal.SIGKILL) == -signal.SIGKILL
        await worker.start()
        looks = there.looks

        async def looked_again() -> bool:
            return there.looks > looks

        await until(looked_again, "taken up again")
        await fake.end(there, output={"result": fake.video(video), "status": "DONE"})
        assert fake.posted == [200]
        row = await stack.state(http, killed_mid_run, "completed", "failed")
        assert row["state"] == "completed", row
        assert len(fake.jobs) == 1
        stored, poster, thumbnail = await files_of(http, row)
        assert stored == video
        with av.open(io.BytesIO(stored)) as container:
            assert len(list(container.decode(video=0))) == 7
        assert poster.startswith(b"\xff\xd8")
        assert thumbnail[8:12] == b"WEBP"

        cancelled = await submitted(stack, worker.pool, user)
        await stack.processing(http, cancelled)

        async def second() -> bool:
            return len(fake.jobs) == 2

        await until(second, "submitted")
        assert (await http.post(f"/api/runpod/{cancelled}/cancel")).status_code == 200

        async def cancelled_there() -> bool:
            return fake.cancelled == [fake.newest().remote_id]

        await until(cancelled_there, "cancelled there")
        assert await worker.end(signal.SIGTERM) == 0
        log = worker.output.read_text()
        assert KEY not in log
        assert WEBHOOK_SECRET not in log
        assert "signature=" not in log


def newest_of(fake: FakeRunPod) -> Any:
    async def look() -> Any:
        return fake.newest() if fake.jobs else None

    return look
