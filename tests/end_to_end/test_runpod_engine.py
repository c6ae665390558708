"""A pool whose attempts run on RunPod: our worker process, killed and started again, on a whole stack.

RunPod is played by a server of the tests, which counts, and by our own ``/v2`` with a worker on RunPod's SDK behind it.
Our worker is told to ask next to never, so that whatever happens soon happens because RunPod called our gateway.
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
from repo.mongo import MongoDatabase
from schemas.remote_runs import RemoteState
from schemas.requests import GenerationRequest
from tests.end_to_end.stack import WEBHOOK_SECRET, Stack, until
from tests.inference_worker.remote.fake_runpod import ENDPOINT, KEY, FakeRunPod, fake_runpod
from tests.inference_worker.remote.remote_world import a_video
from tests.sdks.programs import key_of, python, working
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
        # Killed before it has noted that, it submits once more: RunPod knows no Idempotency-Key.
        await until(noted(stack, killed_mid_run), "noted")
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


@asynccontextmanager
async def sdk_worker(stack: Stack, folder: Path, endpoint: str, video_url: str) -> AsyncIterator[Path]:
    """An endpoint of ours with a worker on RunPod's SDK, which answers as worker-mochi does. Its log."""
    for arguments in (("create", endpoint, "--external"), ("key", endpoint)):
        code, said = await stack.command("endpoints", *arguments)
        assert code == 0, said
    lines = [line.partition("=") for line in said.splitlines() if line.startswith("RUNPOD_")]
    told = {name: value for name, _, value in lines} | {"VIDEO_URL": video_url}
    log = folder / "sdk-worker.log"
    async with working(python("handlers/mochi.py"), folder, told, log):
        yield log


async def test_a_runpod_of_ours_with_its_sdks_worker_behind_it(stack: Stack, fake: FakeRunPod, tmp_path: Path) -> None:
    """Client → our ``/v2`` with worker-mochi's input → the engine → our ``/v2`` again, as RunPod → the SDK's worker."""
    there, ours, user = new_id("there-"), new_id("ours-"), new_id("rosa-")
    video = a_video(tmp_path / "video")
    http = await stack.new_user(user)
    key = key_of(await stack.new_user(new_id("engine-")))
    told = {
        "OPENV_RUNPOD_URL": f"{stack.url}/v2",
        "OPENV_RUNPOD_ENDPOINT": there,
        "OPENV_RUNPOD_API_KEY": key,
        "OPENV_RUNPOD_WEBHOOK_URL": stack.url,
        "OPENV_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    async with (
        sdk_worker(stack, tmp_path, there, fake.video(video)) as log,
        engine(stack, tmp_path, **told, **SELDOM) as worker,
    ):
        code, said = await stack.command("endpoints", "create", ours, "--pool", worker.pool)
        assert code == 0, said

        async def ended(prompt: str) -> dict[str, Any]:
            given = {"input": {"positive_prompt": prompt, "num_frames": 7, "width": 384, "height": 384, "steps": 10}}
            asked = await http.post(f"/v2/{ours}/run", json=given)
            assert asked.status_code == 200, asked.text

            async def look() -> dict[str, Any] | None:
                told: dict[str, Any] = (await http.get(f"/v2/{ours}/status/{asked.json()['id']}")).json()
                return told if told["status"] not in ("IN_QUEUE", "IN_PROGRESS") else None

            try:
                return await until(look, "an end")
            except AssertionError as error:
                logs = (log.read_text()[-2000:], worker.output.read_text()[-3000:])
                raise AssertionError(f"{error}; {logs}") from None

        done = await ended("a corgi")
        assert done["status"] == "COMPLETED", done
        assert (await http.get(done["output"]["result"], follow_redirects=True)).content == video
        failed = await ended("a corgi that shall fail")
        assert (failed["status"], failed["error"]) == ("FAILED", "FAILED: out of corgis")
        assert await worker.end(signal.SIGTERM) == 0


def noted(stack: Stack, job_id: str) -> Any:
    async def look() -> bool:
        async with MongoDatabase(settings_of(stack.about()["environment"])) as database:
            runs = database.connection.collection("remote_runs")
            return await runs.find_one({"jobId": job_id, "state": RemoteState.SUBMITTED}) is not None

    return look


def newest_of(fake: FakeRunPod) -> Any:
    async def look() -> Any:
        return fake.newest() if fake.jobs else None

    return look
