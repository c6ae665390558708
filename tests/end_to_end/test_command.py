"""The ``openv`` command itself: up, generate, a second start with yesterday's videos, and a clean end."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.stack import Stack, started

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]


def processes_of(data_dir: Path) -> list[str]:
    """Command lines of running processes that were told about this data directory or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environ = (entry / "environ").read_bytes()
                line = (entry / "cmdline").read_bytes()
                folder = os.readlink(entry / "cwd").encode()  # noqa: PTH115 -- a string is compared
            except OSError:
                continue
            if str(data_dir).encode() in environ + line + folder:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


async def test_generate_writes_the_file_and_prints_the_job_as_json(stack: Stack, tmp_path: Path) -> None:
    target = tmp_path / "corgi.mp4"
    size = ("--frames", "7", "--steps", "10", "--width", "384", "--height", "384")
    code, output = await stack.command("generate", "a corgi", "-o", str(target), *size, "--seed", "3", "--json")
    assert code == 0, output
    job = json.loads(output)
    assert job["path"] == str(target)
    assert target.stat().st_size == job["output"]["video"]["bytes"]
    assert oct((stack.data_dir / "credentials.json").stat().st_mode & 0o777) == "0o600"


@pytest.mark.beside  # two stacks of its own
async def test_a_quota_refusal_says_exactly_what_is_left_and_what_would_fit(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with started(data_dir, "--prompt", "first light", environ={"MONTHLY_LIMIT_SECONDS": "2"}) as one:
        first = (await one.http.get("/api/videos")).json()
        while not first or first[0]["state"] != "completed":
            first = (
                [await one.state(one.http, first[0]["jobId"], "completed")]
                if first
                else (await one.http.get("/api/videos")).json()
            )
        refused = await one.http.post("/api/runpod", json={"prompt": "too long", "num_frames": 127})
        assert refused.status_code == 403
        left = 2 - 31 / 24
        assert refused.json()["error"] == "Monthly limit exceeded"
        assert f"{left:.2f} seconds" in refused.json()["message"]
        assert refused.json()["suggestedFrames"] == 13
        code, again = await one.command("up", "--data-dir", str(data_dir))
        assert code == 1
        assert "openv down" in again
        os.kill(one.process.pid, signal.SIGINT)
        await one.process.wait()
        assert one.process.returncode == 0, one.log.read_text()
        assert processes_of(data_dir) == []

    async with started(data_dir, "--no-worker") as two:
        rows = (await two.http.get("/api/videos")).json()
        assert [row["jobId"] for row in rows] == [first[0]["jobId"]]
        assert (await two.http.get(rows[0]["url"], follow_redirects=True)).status_code == 200
        code, output = await two.command("down")
        assert code == 0, output
        await two.process.wait()
    assert processes_of(data_dir) == []
