"""Workers on RunPod's own SDK, unmodified, each in a process of its own: they run our jobs, and what they do is told.

The worker that is killed in the middle of its job is killed at the beginning, because its lease takes its time.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.end_to_end.stack import Stack, until
from tests.sdks import where

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]
HANDLERS = Path(where.__file__).parent / "handlers" / "deeds.py"


class Crew:
    """Endpoints, their workers, and a client of them. ``folder`` is shared with the workers."""

    def __init__(self, stack: Stack, folder: Path, http: httpx.AsyncClient) -> None:
        self.stack = stack
        self.folder = folder
        self.http = http
        self._workers: list[asyncio.subprocess.Process] = []
        self._environments: dict[str, dict[str, str]] = {}

    async def endpoint(self, name: str) -> None:
        """A new one, and what its workers must know."""
        for arguments in (("create", name, "--external"), ("key", name)):
            code, said = await self.stack.command("endpoints", *arguments)
            assert code == 0, said
        lines = [line.partition("=") for line in said.splitlines() if line.startswith("RUNPOD_")]
        self._environments[name] = {name: value for name, _, value in lines}

    async def worker(self, endpoint: str, pod: str, kind: str) -> asyncio.subprocess.Process:
        with (self.folder / f"{pod}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                where.python(),
                str(HANDLERS),
                cwd=self.folder,
                env={
                    **os.environ,
                    **self._environments[endpoint],
                    "RUNPOD_POD_ID": pod,
                    "WORKER_KIND": kind,
                    "FOLDER": str(self.folder),
                    "RUNPOD_PING_INTERVAL": "1000",
                    "NO_PROXY": "*",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,  # it pings in a process of its own, which has to end with it
            )
        self._workers.append(process)
        return process

    async def end(self) -> None:
        for process in self._workers:
            kill(process)
            await process.wait()

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in self.folder.glob("*.log"))

    async def run(self, endpoint: str, **given: Any) -> str:
        answer = await self.http.post(f"/v2/{endpoint}/run", json={"input": given})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def status(self, endpoint: str, job_id: str) -> dict[str, Any] | None:
        with suppress(httpx.TransportError):
            answer = await self.http.get(f"/v2/{endpoint}/status/{job_id}")
            if answer.status_code == 200:
                told: dict[str, Any] = answer.json()
                return told
        return None

    async def in_state(self, endpoint: str, job_id: str, *states: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            told = await self.status(endpoint, job_id)
            return told if told is not None and told["status"] in states else None

        try:
            return await until(look, f"{job_id} in {states}")
        except AssertionError as error:
            now = await self.status(endpoint, job_id)
            raise AssertionError(f"{error}; it is {now}; {self.logs()}; {self.stack.tails()}") from None

    async def result(self, endpoint: str, **given: Any) -> dict[str, Any]:
        job_id = await self.run(endpoint, **given)
        return await self.in_state(endpoint, job_id, "COMPLETED", "FAILED")

    async def seen(self, name: str) -> None:
        """Until a worker has made this file."""

        async def look() -> bool:
            return (self.folder / name).exists()

        await until(look, f"{name}; {self.logs()}")

    def make(self, name: str) -> None:
        (self.folder / name).touch()


def kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crew(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crew]:
    folder = tmp_path_factory.mktemp("sdk_workers")
    http = await stack.new_user("sdk-workers")
    made = Crew(stack, folder, http)
    try:
        await asyncio.gather(*(made.endpoint(name) for name in ("mortal", "deeds", "streams")))
        await made.worker("deeds", "deeds-1", "deeds")
        await made.worker("streams", "streams-1", "stream")
        yield made
    finally:
        await made.end()


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def killed(crew: Crew) -> str:
    """A job whose worker was killed with everything in it while it ran, and another worker, which asks for jobs now."""
    victim = await crew.worker("mortal", "victim-1", "deeds")
    job_id = await crew.run("mortal", do="wait", file="mortal")
    await crew.seen("mortal.begun")
    kill(victim)
    await victim.wait()
    (crew.folder / "mortal.begun").unlink()
    crew.make("mortal")
    await crew.worker("mortal", "heir-1", "deeds")
    return job_id


async def test_a_handler_is_given_the_input_and_its_output_is_the_jobs(crew: Crew) -> None:
    told = await crew.result("deeds", do="echo", text="hällo 你好")
    assert told["status"] == "COMPLETED"
    assert told["output"] == {"said": "hällo 你好", "by": "deeds-1"}
    assert told["workerId"] == "deeds-1"
    assert told["delayTime"] >= 0
    assert told["executionTime"] >= 0
    number = await crew.result("deeds", do="number")
    assert number["output"] == 42
    nothing = await crew.result("deeds", do="nothing")
    assert (nothing["status"], nothing.get("output")) == ("COMPLETED", None)


async def test_a_handler_that_is_no_coroutine(crew: Crew) -> None:
    told = await crew.result("deeds", do="double", number=21)
    assert told["output"] == 42


async def test_a_handler_that_blocks_its_worker_delivers_on_the_connection_it_had(crew: Crew) -> None:
    """The SDK's pool keeps a connection for 15 s, sees nothing while it blocks, and posts a result once."""
    told = await crew.result("deeds", do="block", seconds=12)
    assert (told["status"], told["output"]) == ("COMPLETED", "unblocked")


async def test_errors_are_the_handlers_own_words(crew: Crew) -> None:
    returned = await crew.result("deeds", do="fail")
    assert (returned["status"], returned["error"]) == ("FAILED", "out of luck")
    raised = await crew.result("deeds", do="raise")
    assert raised["status"] == "FAILED"
    assert "out of sorts" in raised["error"]
    assert "deeds-1" in raised["error"], "as the SDK writes it, with the worker's id"
    assert raised.get("retries", 0) == 0


async def test_progress_is_seen_while_it_runs_and_the_result_after(crew: Crew) -> None:
    job_id = await crew.run("deeds", do="report", file="reported")

    async def look() -> bool:
        told = await crew.status("deeds", job_id)
        return told is not None and told["status"] == "IN_PROGRESS" and told.get("output") == {"step": 1, "of": 2}

    await until(look, f"the update; {crew.logs()}")
    crew.make("reported")
    assert (await crew.in_state("deeds", job_id, "COMPLETED"))["output"] == "done"


async def test_a_generator_streams_while_it_runs_and_its_chunks_are_the_output(crew: Crew) -> None:
    job_id = await crew.run("streams", words=["one", "two", "three"], file="streamed")
    seen: list[Any] = []

    async def look() -> bool:
        answer = await crew.http.get(f"/v2/streams/stream/{job_id}")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        seen.extend(chunk["output"] for chunk in told["stream"])
        if len(seen) == 2 and told["status"] == "IN_PROGRESS":
            crew.make("streamed")
        return len(seen) == 3

    await until(look, f"three chunks; {crew.logs()}")
    assert seen == [{"word": "one"}, {"word": "two"}, {"word": "three"}]
    told = await crew.in_state("streams", job_id, "COMPLETED")
    assert told["output"] == seen


async def test_a_cancelled_job_is_stopped_in_its_worker_which_takes_the_next(crew: Crew) -> None:
    job_id = await crew.run("deeds", do="wait", file="cancelled")
    await crew.seen("cancelled.begun")
    answer = await crew.http.post(f"/v2/deeds/cancel/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    await crew.seen("cancelled.stopped")
    told = await crew.result("deeds", do="echo", text="next")
    assert told["output"]["said"] == "next"
    assert (await crew.in_state("deeds", job_id, "CANCELLED"))["status"] == "CANCELLED"


async def test_megabytes_come_and_go(crew: Crew) -> None:
    told = await crew.result("deeds", do="grow", text="x" * 8_000_000, bytes=15_000_000)
    assert told["status"] == "COMPLETED"
    assert told["output"]["length"] == 8_000_000
    assert len(told["output"]["text"]) == 15_000_000


async def test_an_answer_that_is_too_large_fails_the_job_with_words(crew: Crew) -> None:
    told = await crew.result("deeds", do="grow", text="", bytes=30_000_000)
    assert told["status"] == "FAILED"
    assert "20 MB" in told["error"]


async def test_a_worker_takes_as_many_jobs_at_a_time_as_it_wants(crew: Crew) -> None:
    jobs = [await crew.run("streams", file="together") for _ in range(3)]
    ends = [await crew.in_state("streams", job_id, "COMPLETED", "FAILED") for job_id in jobs]
    assert [end["output"] for end in ends] == [[{"word": "alone"}]] * 3, "none ends before all three have begun"
    assert {end["workerId"] for end in ends} == {"streams-1"}


async def test_a_gateway_that_is_killed_costs_no_job_that_runs(crew: Crew) -> None:
    job_id = await crew.run("deeds", do="wait", file="bereaved")
    await crew.seen("bereaved.begun")
    old = await crew.stack.kill("gateway")
    await crew.stack.back("gateway", old)
    crew.make("bereaved")
    told = await crew.in_state("deeds", job_id, "COMPLETED", "FAILED")
    assert (told["status"], told["output"]) == ("COMPLETED", {"by": "deeds-1"})
    assert told.get("retries", 0) == 0
    assert (await crew.result("deeds", do="echo", text="on"))["output"]["said"] == "on"


async def test_a_worker_that_wants_to_be_made_anew_has_its_result_counted(crew: Crew) -> None:
    told = await crew.result("deeds", do="refresh")
    assert (told["status"], told["output"]) == ("COMPLETED", {"said": "bye"})


async def test_the_job_of_a_worker_that_was_killed_is_done_by_another(crew: Crew, killed: str) -> None:
    told = await crew.in_state("mortal", killed, "COMPLETED", "FAILED")
    assert (told["status"], told["output"]) == ("COMPLETED", {"by": "heir-1"})
    assert told["workerId"] == "heir-1"
