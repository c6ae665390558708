"""A fetched result is looked at: the looker's own word makes it useless, a fault of this machine does not."""

import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from inference_worker.messages import Media, MediaFile
from inference_worker.remote import fetching, pictures
from inference_worker.remote.fetching import NotFetched
from schemas.failures import FailureCode
from tests.inference_worker.remote.remote_world import a_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    (tmp_path / pictures.VIDEO).write_bytes(a_video(tmp_path / "made"))
    return tmp_path


def the_video(folder: Path) -> MediaFile:
    path = folder / pictures.VIDEO
    return MediaFile(path=path, bytes=path.stat().st_size, sha256="0" * 64, media_type="video/mp4")


def instead(monkeypatch: pytest.MonkeyPatch, folder: Path, *programs: str) -> Path:
    """These look at it, in order, and then nobody else; each writes a line into the file that is returned."""
    told = folder / "looks"
    told.write_text("")
    left = [f"open({str(told)!r}, 'a').write('x')\n{program}" for program in programs]
    real = fetching.asyncio.create_subprocess_exec

    async def start(*command: str, **how: Any) -> Any:
        if not left:
            return await real(*command, **how)
        return await real(sys.executable, "-c", left.pop(0), **how)

    monkeypatch.setattr(fetching.asyncio, "create_subprocess_exec", start)
    return told


KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
FAULT = "raise RuntimeError"
FULL = "print('its pictures could not be written: No space left on device', end=''); raise SystemExit(4)"


@pytest.mark.parametrize("program", [KILLED, FAULT, FULL], ids=["killed", "fault", "disk full"])
async def test_a_fault_of_this_machine_is_looked_at_again_and_is_not_final(
    folder: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    instead(monkeypatch, folder, program)
    assert isinstance(await fetching._looked_at(folder, the_video(folder)), Media)
    looks = instead(monkeypatch, folder, *[program] * 9)
    got = await fetching._looked_at(folder, the_video(folder))
    assert isinstance(got, NotFetched)
    assert (got.code, got.spent) == (FailureCode.TRANSIENT_ERROR, False)
    assert got.words.startswith("RunPod's result could not be looked at here: ")
    assert ("No space left on device" in got.words) == (program == FULL)
    assert len(looks.read_text()) == fetching.LOOKS_MOST


async def test_what_takes_too_long_is_not_looked_at_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = f"import os; os.kill(os.getpid(), {int(signal.SIGXCPU)})"
    looks = instead(monkeypatch, folder, too_long, too_long)
    got = await fetching._looked_at(folder, the_video(folder))
    assert isinstance(got, NotFetched)
    assert (got.code, got.spent, looks.read_text()) == (FailureCode.TRANSIENT_ERROR, False, "x")
    monkeypatch.setattr(fetching, "LOOK_WITHIN_S", 0.01)
    instead(monkeypatch, folder, "import time; time.sleep(600)", "raise AssertionError")
    got = await fetching._looked_at(folder, the_video(folder))
    assert isinstance(got, NotFetched)
    assert (got.code, got.spent) == (FailureCode.TRANSIENT_ERROR, False)


async def test_no_video_is_final(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = instead(monkeypatch, folder, "print('it has no frames', end=''); raise SystemExit(3)")
    got = await fetching._looked_at(folder, the_video(folder))
    assert got == NotFetched(FailureCode.ENGINE_ERROR, "RunPod's result is no video: it has no frames.", spent=True)
    assert looks.read_text() == "x"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OSError(28, "No space left on device"), "its pictures could not be written: No space left on device"),
        (OSError(), "its pictures could not be written: OSError"),
        (MemoryError(), "there was not enough memory"),
    ],
    ids=["disk full", "no words", "memory"],
)
def test_the_looker_tells_its_own_faults_from_the_videos(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: Exception, words: str
) -> None:
    limits: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)  # those of the tests' own process stay

    def fails(*_: Any) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr("inference_worker.encode.save_pictures", fails)
        assert (pictures.main(str(folder)), capsys.readouterr().out) == (pictures.NOT_LOOKED_AT, words)
    assert pictures.main(str(folder)) == 0
    soft, hard = limits[resource.RLIMIT_CPU]
    assert soft < hard, "the kernel kills at the second"
    (folder / pictures.VIDEO).write_bytes(b"\0" * 5_000)
    capsys.readouterr()
    assert (pictures.main(str(folder)), capsys.readouterr().out) == (pictures.NO_VIDEO, "it can't be read as a video")


def test_memory_that_ffmpeg_wants_in_vain_is_no_fault_of_the_video(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    def fails(*_: Any) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(pictures, "_counted", fails)
    with pytest.raises(MemoryError):
        pictures.look(folder)
