"""A real child process under the parent's side: what it says, how it stops, and how it dies."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from inference_worker.child import EXIT_FATAL, EXIT_UNLOADABLE
from inference_worker.child_process import Child, ChildDied
from inference_worker.messages import (
    AttemptStopped,
    Done,
    Failed,
    FromChild,
    Heartbeat,
    Loading,
    Preview,
    Progress,
    Ready,
    Unloadable,
)
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest

HERE = Path(__file__).parent
DEADLINE = 60.0
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OPENV_TORCH_THREADS": "1"}
ENDS = (Done, Failed, AttemptStopped)


class Watched:
    """A child and what it has said."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.said: list[FromChild] = []
        self._messages = child.messages()

    async def until(self, seen: Callable[[FromChild], bool]) -> FromChild:
        """Read on until a message that ``seen`` accepts; raises ``ChildDied`` if none comes."""
        async with asyncio.timeout(DEADLINE):
            async for message in self._messages:
                self.said.append(message)
                if seen(message):
                    return message
        raise AssertionError("the child ended in order")

    async def ended(self) -> FromChild:
        return await self.until(lambda message: isinstance(message, ENDS))

    async def drained(self) -> None:
        """Read to the end. Raises ``ChildDied`` if it is not an orderly one."""
        async with asyncio.timeout(DEADLINE):
            async for message in self._messages:
                self.said.append(message)

    async def make(self, prompt: str, directory: Path, job: str = "job", attempt: int = 1, **asked: int) -> FromChild:
        """Ask for a small video and wait for its end."""
        await self.ask(prompt, directory, job, attempt, **asked)
        return await self.ended()

    async def ask(self, prompt: str, directory: Path, job: str = "job", attempt: int = 1, **asked: int) -> None:
        sizes = {"width": 96, "height": 64, "num_frames": 13, "steps": 4} | asked
        await asyncio.to_thread(directory.mkdir, exist_ok=True)
        await self.child.generate(job, attempt, GenerationRequest(prompt=prompt, **sizes), directory)


async def start(engine: str) -> Watched:
    return Watched(await Child.start(engine, preview_ms=0, environment=ENVIRONMENT))


@pytest.fixture
async def scripted() -> AsyncIterator[Watched]:
    watched = await start("scripted_engine:Scripted")
    async with watched.child:
        await watched.until(lambda message: isinstance(message, Ready))
        yield watched


def is_step(message: FromChild) -> bool:
    return isinstance(message, Progress)


async def test_a_video_from_request_to_files(scripted: Watched, tmp_path: Path) -> None:
    done = await scripted.make("film", tmp_path)
    assert isinstance(done, Done)
    assert (done.media.width, done.media.height, done.media.frames) == (96, 64, 13)
    assert done.media.video.path.stat().st_size == done.media.video.bytes
    assert isinstance(scripted.said[0], Loading)
    steps = [message for message in scripted.said if isinstance(message, Progress)]
    phases = [step.phase for step in steps]
    assert list(dict.fromkeys(phases)) == [Phase.DENOISE, Phase.DECODE, Phase.ENCODE]
    assert phases == sorted(phases, key=list(Phase).index)
    assert [step.step for step in steps if step.phase is Phase.DENOISE] == [0, 1, 2, 3, 4]
    assert (steps[-1].step, steps[-1].steps) == (13, 13)
    assert [step.elapsed_ms for step in steps] == sorted(step.elapsed_ms for step in steps)
    previews = [message for message in scripted.said if isinstance(message, Preview)]
    assert previews
    assert all(preview.jpeg.startswith(b"\xff\xd8") for preview in previews)


async def test_what_libraries_print_does_not_reach_the_channel(scripted: Watched, tmp_path: Path) -> None:
    assert isinstance(await scripted.make("noisy", tmp_path), Done)


async def test_stop_ends_this_attempt_and_not_the_next(scripted: Watched, tmp_path: Path) -> None:
    await scripted.ask("endless", tmp_path / "1", attempt=1)
    await scripted.until(is_step)
    await scripted.child.stop("job", 1)
    assert await scripted.ended() == AttemptStopped(job_id="job", attempt=1)
    await scripted.child.stop("job", 1)  # too late: means nothing
    await scripted.child.stop("job", 2)  # too early: means nothing either
    assert isinstance(await scripted.make("film", tmp_path / "2", attempt=2), Done)


async def test_stop_sent_right_behind_generate_is_not_lost(scripted: Watched, tmp_path: Path) -> None:
    await scripted.ask("endless", tmp_path)
    await scripted.child.stop("job", 1)
    assert isinstance(await scripted.ended(), AttemptStopped)


async def test_a_failure_is_told_without_the_prompt_and_the_child_goes_on(
    scripted: Watched, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failed = await scripted.make("boom unspeakable words", tmp_path / "1", attempt=1)
    assert isinstance(failed, Failed)
    assert failed.code is FailureCode.ENGINE_ERROR
    assert "ValueError" in failed.message
    assert "unspeakable" not in failed.message
    assert isinstance(await scripted.make("film", tmp_path / "2", attempt=2), Done)
    printed = "".join(capfd.readouterr())
    assert "unspeakable" not in printed


async def test_a_known_failure_keeps_its_code(scripted: Watched, tmp_path: Path) -> None:
    failed = await scripted.make("memory", tmp_path)
    assert failed == Failed(
        job_id="job", attempt=1, code=FailureCode.OUT_OF_MEMORY, message="Memory ran out while testing."
    )


async def test_a_disk_that_refuses_is_worth_another_try(scripted: Watched, tmp_path: Path) -> None:
    await scripted.child.generate("job", 1, GenerationRequest(prompt="film", width=64, height=64), tmp_path / "absent")
    failed = await scripted.ended()
    assert isinstance(failed, Failed)
    assert failed.code is FailureCode.TRANSIENT_ERROR
    assert "No such file" in failed.message


async def test_a_fatal_failure_is_told_before_the_child_ends(scripted: Watched, tmp_path: Path) -> None:
    failed = await scripted.make("fatal", tmp_path)
    assert isinstance(failed, Failed)
    assert failed.code is FailureCode.WORKER_CRASHED
    with pytest.raises(ChildDied) as died:
        await scripted.drained()
    assert died.value.returncode == EXIT_FATAL


async def test_hearts_beat_while_nothing_moves_on(scripted: Watched, tmp_path: Path) -> None:
    await scripted.ask("stuck", tmp_path)
    await scripted.until(is_step)
    beats = [await scripted.until(lambda message: isinstance(message, Heartbeat)) for _ in range(2)]
    assert beats[0] == beats[1]
    assert isinstance(beats[0], Heartbeat)
    assert beats[0].progress > 0


async def test_kill_is_noticed_with_its_signal(scripted: Watched, tmp_path: Path) -> None:
    await scripted.ask("stuck", tmp_path)
    await scripted.until(is_step)
    scripted.child.kill()
    with pytest.raises(ChildDied, match="killed by SIGKILL") as died:
        await scripted.drained()
    assert died.value.returncode == -signal.SIGKILL
    assert not scripted.child.alive
    with pytest.raises(ChildDied):
        await scripted.child.stop("job", 1)


async def test_a_crash_in_native_code_is_noticed(scripted: Watched, tmp_path: Path) -> None:
    with pytest.raises(ChildDied, match="SIGSEGV"):
        await scripted.make("die", tmp_path)


async def test_a_child_that_talks_garbage_is_killed(scripted: Watched, tmp_path: Path) -> None:
    with pytest.raises(ChildDied) as died:
        await scripted.make("garbage", tmp_path)
    assert died.value.returncode == -signal.SIGKILL


async def test_exit_stops_what_runs_and_ends_in_order(scripted: Watched, tmp_path: Path) -> None:
    await scripted.ask("endless", tmp_path)
    await scripted.until(is_step)
    await scripted.child.exit()
    await scripted.drained()
    assert isinstance([message for message in scripted.said if not isinstance(message, Heartbeat)][-1], AttemptStopped)
    assert await scripted.child.wait() == 0


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("nonsense", "no engine 'nonsense'"),
        ("no_such_module:Engine", "cannot be imported"),
        ("scripted_engine:Broken", "RuntimeError"),
    ],
)
async def test_an_engine_that_cannot_be_loaded_says_why(engine: str, words: str) -> None:
    watched = await start(engine)
    async with watched.child:
        told = await watched.until(lambda message: isinstance(message, Unloadable))
        assert isinstance(told, Unloadable)
        assert told.code is FailureCode.MODEL_UNAVAILABLE
        assert words in told.message
        with pytest.raises(ChildDied) as died:
            await watched.drained()
        assert died.value.returncode == EXIT_UNLOADABLE


ORPHAN = """
import asyncio, pathlib, sys
from inference_worker.child_process import Child
from inference_worker.messages import Progress, Ready
from schemas.requests import GenerationRequest

async def main():
    child = await Child.start("scripted_engine:Scripted")
    async for message in child.messages():
        if isinstance(message, Ready):
            await child.generate("job", 1, GenerationRequest(prompt="stuck"), pathlib.Path(sys.argv[1]))
        if isinstance(message, Progress):
            print(child.pid, flush=True)

asyncio.run(main())
"""


async def test_nothing_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ORPHAN, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
    )
    assert parent.stdout is not None
    async with asyncio.timeout(DEADLINE):
        pid = int(await parent.stdout.readline())
        assert running(pid)
        parent.kill()
        await parent.communicate()
        while running(pid):  # noqa: ASYNC110 - nothing tells of the end of a process that is not ours
            await asyncio.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process exists and is more than an entry nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pictures(done: FromChild) -> tuple[str, str]:
    """Digests of the pictures, which are a function of the engine's frames; x264 itself is not reproducible."""
    assert isinstance(done, Done)
    return done.media.poster.sha256, done.media.thumbnail.sha256


@pytest.mark.model
async def test_the_tiny_engine_in_a_child_start_to_end(tmp_path: Path) -> None:
    watched = await start("tiny")
    async with watched.child:
        ready = await watched.until(lambda message: isinstance(message, Ready))
        assert isinstance(ready, Ready)
        assert ready.engine == "tiny"
        first = await watched.make("a red cat", tmp_path / "1", job="one")
        await watched.ask("a red cat", tmp_path / "2", job="two", width=384, height=384, steps=65)
        await watched.until(lambda message: isinstance(message, Progress) and message.step == 2)
        await watched.child.stop("two", 1)
        stopped = await watched.ended()
        assert isinstance(stopped, AttemptStopped)
        steps = [message.step for message in watched.said if isinstance(message, Progress) and message.job_id == "two"]
        assert max(steps) < 65
        again = await watched.make("a red cat", tmp_path / "3", job="three")
        assert pictures(again) == pictures(first)
        other = await watched.make("a blue dog", tmp_path / "4", job="four")
        assert pictures(other) != pictures(first)
        refused = await watched.make("a red cat", tmp_path / "5", job="five", width=100)
        assert isinstance(refused, Failed)
        assert refused.code is FailureCode.INVALID_INPUT
